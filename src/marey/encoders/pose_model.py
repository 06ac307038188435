"""Pose models in ONNX files that users name: RTMPose (SimCC) and YOLO, recognised by the shapes of their outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.data import content_hash
from marey.data.importers.keypoint_formats import JOINTS
from marey.encoders.onnxruntime_engine import open_session
from marey.errors import UsageError, VideoError, WeightsError, first_line

Floats = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels."""

_MEAN: Final = (123.675, 116.28, 103.53)  # of ImageNet, as RTMPose was trained
_STD: Final = (58.395, 57.12, 57.375)
_GREY: Final = 114.0  # around the image, as YOLO was trained
_AROUND: Final = 1.25  # a person's box is enlarged by it for a top-down model
_LEAST: Final = 0.25  # confidence of a person
_OVERLAP: Final = 0.6  # of two boxes, above which the less certain one is the same person
_MOST: Final = 8  # people of a frame
_JOINTS_OF_SIMCC: Final = (17, 26, 133)  # the first 17 are those of COCO in all of them
_YOLO_ROWS: Final = {56: "yolo", 84: "boxes", 5: "boxes"}
_LARGEST_INPUT: Final = 4096

Kind = Literal["simcc", "yolo", "boxes"]


class OnnxPoseModel:
    """A model in an ONNX file that finds people, their joints, or both.

    SimCC models, such as RTMPose, get the image of one person, and give for each joint a distribution over x and one
    over y (Li et al. 2022): "simcc". YOLO's pose models give boxes with joints: "yolo"; its detectors, boxes: "boxes".

    Args:
        path: the file.

    Attributes:
        path: the file.
        hash: of its content.
        kind: of its outputs.
        size: (H, W) in pixels of its input.

    Raises:
        WeightsError: there is no such file, or it is no ONNX model.
        UsageError: ONNX Runtime is missing, or the inputs and outputs are of no known kind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hash = model_hash(path)
        try:
            self._session = open_session(path.read_bytes(), 1)
            (entry, *others) = self._session.get_inputs()
            self.size = self._input_size(entry, others)
            self._input = entry.name
            outputs = self._run(torch.zeros(3, *self.size))
        except UsageError:
            raise
        except Exception as error:  # ONNX Runtime has its own exceptions, which derive from Exception alone
            raise WeightsError(f"{path} cannot be run as an ONNX model: {first_line(error)[:200]}") from error
        self.kind: Kind = self._kind_of([tuple(each.shape) for each in outputs])

    def input_size(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return (H, W) of an image of this shape at the largest scale that fits the input."""
        scale = min(self.size[0] / shape[0], self.size[1] / shape[1])
        return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))

    def find_boxes(self, image: Tensor) -> list[Box]:
        """Return the boxes of the people of an image, uint8 (3, H, W), the most certain first."""
        if self.kind == "simcc":
            raise UsageError(f"{self.path} finds the joints of one person, and no people: a detector has boxes")
        return [box for box, _ in self._detect(image)]

    def find_poses(self, image: Tensor, boxes: Sequence[Box] | None = None) -> list[Floats]:
        """Return the poses of an image, (17, 3) each: x and y in pixels of the image, and confidence.

        Args:
            image: uint8 (3, H, W), RGB.
            boxes: of the people, for a model of one person; None for one person in the whole image.
        """
        if self.kind == "boxes":
            raise UsageError(f"{self.path} finds people and no joints: name it as the detector, and a pose_model")
        if self.kind == "yolo":
            return [pose for _, pose in self._detect(image)]
        if boxes is None:
            height, width = image.shape[1:]
            return [self._one_person(image, (0.0, 0.0, float(width), float(height)), around=1.0)]
        return [self._one_person(image, box, around=_AROUND) for box in boxes[:_MOST]]

    def _one_person(self, image: Tensor, box: Box, *, around: float) -> Floats:
        """Return the pose that SimCC gives for a box, (17, 3)."""
        mean, std = torch.tensor(_MEAN)[:, None, None], torch.tensor(_STD)[:, None, None]
        part, corner, scale = self._cut(image, box, around=around, fill=0.0)
        found = self._run((part - mean) / std)
        across, down = (each[0, :JOINTS] for each in found)
        if found[0].shape[2] * self.size[0] != found[1].shape[2] * self.size[1]:
            across, down = down, across
        split = across.shape[1] / self.size[1]
        places = np.stack([across.argmax(1), down.argmax(1)], axis=1) / split
        certain = np.minimum(across.max(1), down.max(1)).clip(0, 1)
        return np.column_stack([corner + places / scale, certain]).astype(np.float32)

    def _detect(self, image: Tensor) -> list[tuple[Box, Floats]]:
        """Return box and joints of each person, the most certain first; without joints for a detector."""
        height, width = image.shape[1:]
        part, corner, scale = self._cut(image, (0.0, 0.0, float(width), float(height)), around=1.0, fill=_GREY)
        rows = self._run(part / 255)[0][0].T
        rows = rows[np.isfinite(rows).all(1) & (rows[:, 4] >= _LEAST)]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        found: list[tuple[Box, Floats]] = []
        for row in rows:
            (x, y), half = corner + row[:2] / scale, row[2:4] / scale / 2
            box = (float(x - half[0]), float(y - half[1]), float(x + half[0]), float(y + half[1]))
            if len(found) == _MOST:
                break
            if all(_overlap(box, other) < _OVERLAP for other, _ in found):
                pose = row[5:].reshape(-1, 3) if self.kind == "yolo" else np.zeros((0, 3))
                pose = np.column_stack([corner + pose[:, :2] / scale, pose[:, 2].clip(0, 1)])
                found.append((box, pose.astype(np.float32)))
        return found

    def _cut(self, image: Tensor, box: Box, *, around: float, fill: float) -> tuple[Tensor, Floats, float]:
        """Return the part of an image that a box covers at the size of the input, its corner and its scale.

        The box is enlarged to the shape of the input; what lies outside of the image is filled.
        """
        rows, columns = self.size
        left, top, right, bottom = box
        middle = ((left + right) / 2, (top + bottom) / 2)
        scale = min(columns / max(right - left, 1.0), rows / max(bottom - top, 1.0)) / around
        width, height = columns / scale, rows / scale
        corner = np.array([middle[0] - width / 2, middle[1] - height / 2], dtype=np.float32)
        size = image.shape[2], image.shape[1]
        pixels = image[None].float()
        if scale < 1:  # the grid below takes single pixels
            smaller = max(1, round(size[1] * scale)), max(1, round(size[0] * scale))
            pixels = torch.nn.functional.interpolate(pixels, smaller, mode="bilinear", antialias=True)
        theta = torch.tensor(
            [[width / size[0], 0, 2 * middle[0] / size[0] - 1], [0, height / size[1], 2 * middle[1] / size[1] - 1]]
        )
        grid = torch.nn.functional.affine_grid(theta[None], [1, 3, rows, columns], align_corners=False)
        moved = torch.nn.functional.grid_sample(pixels - fill, grid, align_corners=False)[0] + fill
        return moved, corner, scale

    def _run(self, image: Tensor) -> list[npt.NDArray[Any]]:
        values = image[None].contiguous().numpy().astype(np.float32)
        outputs: list[npt.NDArray[Any]] = self._session.run(None, {self._input: values})
        return outputs

    def _input_size(self, entry: Any, others: Sequence[Any]) -> tuple[int, int]:
        shape = tuple(entry.shape)
        fixed = len(shape) == 4 and all(isinstance(side, int) for side in shape[1:])
        if others or not fixed or shape[1] != 3 or entry.type != "tensor(float)":
            raise UsageError(
                f"{self.path} takes {entry.type} {list(shape)}{' and more' if others else ''}, and a pose model takes "
                "one image, tensor(float) [1, 3, height, width] with fixed numbers: export it so"
            )
        if max(shape[2:]) > _LARGEST_INPUT:
            raise UsageError(f"{self.path} takes images of {shape[2]} x {shape[3]} pixels, which is too large")
        return shape[2], shape[3]

    def _kind_of(self, shapes: list[tuple[int, ...]]) -> Kind:
        """Return the kind of a model by the shapes of its outputs."""
        rows, columns = self.size
        if len(shapes) == 2 and all(len(shape) == 3 and shape[1] in _JOINTS_OF_SIMCC for shape in shapes):
            first, second = shapes[0][2], shapes[1][2]
            if first * rows == second * columns or first * columns == second * rows:
                return "simcc"
        if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] in _YOLO_ROWS:
            return "yolo" if shapes[0][1] == 56 else "boxes"
        raise UsageError(
            f"{self.path} gives outputs of the shapes {', '.join(str(list(shape)) for shape in shapes)} for an image "
            f"of {rows} x {columns} pixels. Known are SimCC, [1, 17, width x r] and [1, 17, height x r], as in "
            "RTMPose; YOLO's pose models, [1, 56, n]; and its detectors, [1, 84, n]"
        )


def open_pose_model(path: str, expected: str | None = None) -> OnnxPoseModel:
    """Open a pose model; the last few stay open until their files change.

    Args:
        path: of the file.
        expected: hash of the model that features were made with before; another one is refused.

    Raises:
        WeightsError: it is missing, or another model than the expected one.
        UsageError: it is of no known kind.
    """
    found = _open(Path(path).expanduser().absolute(), model_hash(Path(path).expanduser()))
    if expected is not None and found.hash != expected:
        raise WeightsError(
            f"{path} is another pose model than the one that this model was trained with (its hash is {found.hash}, "
            f"and {expected} is expected): put the old file there, or train again"
        )
    return found


@lru_cache(maxsize=4)
def _open(path: Path, _hash: str) -> OnnxPoseModel:
    return OnnxPoseModel(path)


def model_hash(path: Path) -> str:
    """Return the hash of a model's file.

    Raises:
        WeightsError: there is no such file.
    """
    try:
        return content_hash(path)
    except VideoError as error:
        raise WeightsError(f"there is no pose model {path}: {error.detail}; pose_model names an ONNX file") from error


def _overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)
