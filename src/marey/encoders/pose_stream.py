"""The stream "pose": two people's skeletons, from keypoint files or from a pose model that the user names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from marey.data.importers.keypoint_files import find_keypoints, keypoints_hash, read_keypoints
from marey.encoders.feature_streams import FeatureStream, Observer, Times
from marey.encoders.pose_features import POSE_DIM, mirror_observed, pose_features
from marey.encoders.pose_model import OnnxPoseModel, open_pose_model
from marey.encoders.pose_tracks import PoseTracks, pack
from marey.encoders.streams import register_stream
from marey.errors import UsageError, VideoError
from marey.video import Limits, frame_times, probe

_VERSION: Final = 1  # raised when the same poses come to give other features
_UNKNOWN: Final = -1  # number of a person whose track is not known
_FILES: Final = ("keypoints", "pose_model", "detector")  # named by their content in keys of the cache
_SHARPEST: Final = 640  # pixels of the longer side of frames in which a detector finds people
_LATE: Final = 1.0  # s after the end of a video at which a file may state a time


@register_stream("pose", meaning="joints of two people, their velocities and distances, from keypoint files")
class Pose(FeatureStream):
    """Skeletons: joints of two people, their velocities, and the distances between them.

    They come from a keypoint file beside each video, or from a pose model. No encoder sees this stream, and of a
    keypoint file no frame is decoded.

    Attributes:
        span: seconds over which velocities are measured, around the timestamp.
        confidence: joints below it count as missing.
        gap: seconds over which joints that are missing in a keypoint file are interpolated.
        keypoints: folder with the keypoint files, in the same tree as the videos; they may lie beside the videos too.
        pose_model: ONNX file of a pose model, which takes the place of keypoint files: RTMPose, or a pose model of
            YOLO.
        detector: ONNX file of a YOLO, whose boxes of people a `pose_model` of one person gets, such as RTMPose;
            without it, that gets the whole frame.
        model_hash: of both files; marey fills it in, and another model is refused later.
    """

    span: Annotated[float, Field(gt=0, le=10)] = 0.2
    confidence: Annotated[float, Field(ge=0, lt=1)] = 0.2
    gap: Annotated[float, Field(ge=0, le=10)] = 0.5
    keypoints: str | None = None
    pose_model: str | None = None
    detector: str | None = None
    model_hash: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.pose_model is not None and self.keypoints is not None:
            raise ValueError("keypoints and pose_model exclude each other: poses come from files, or from a model")
        if self.detector is not None and self.pose_model is None:
            raise ValueError("detector finds people for a pose_model, and none is named")
        return self

    @property
    def offsets(self) -> tuple[float, ...]:
        """The timestamp, and half of the span before and after."""
        return (-self.span / 2, 0.0, self.span / 2)

    @property
    def dim(self) -> int:
        """D: see `pose_features`."""
        return POSE_DIM

    @property
    def looks(self) -> bool:
        """True with a pose model, which needs frames."""
        return self.pose_model is not None

    def observer(self, path: Path | None, *, shape: tuple[int, int] | None, limits: Limits) -> Observer:
        """Return the poses of a source: those of its keypoint file, or what the pose model finds in its frames.

        Raises:
            VideoError: there is no keypoint file, or it cannot be used; the message names it.
            WeightsError: the pose model is missing, or another one.
            UsageError: a source without a file, and no pose model.
        """
        if self.pose_model is not None:
            assert shape is not None  # noqa: S101 - known of every source whose frames are looked at
            return _ModelPoses(*self._models(), shape, self.confidence)
        if path is None:
            raise UsageError(
                "this model reads skeletons from keypoint files, and a live source or frames in memory have none: "
                "train it with pose_model, an ONNX file that finds them in frames"
            )
        return _FilePoses(self._tracks(path, limits))

    def encode(self, observed: Tensor) -> Tensor:
        """Return the features of observations: (T, K, 1 + S) to (T, D)."""
        return pose_features(observed)

    def mirror(self, observed: Tensor) -> Tensor:
        """Return the observations of the mirror image: left and right joints are exchanged too."""
        return mirror_observed(observed)

    def identity(self, path: Path) -> Mapping[str, Any]:
        """Return the options, with the content of the files in place of their names."""
        options = {name: value for name, value in self.model_dump().items() if name not in _FILES}
        if self.pose_model is not None:
            return {**options, "version": _VERSION, "model_hash": self._hash()}
        return {**options, "version": _VERSION, "content": keypoints_hash(find_keypoints(path, self.keypoints))}

    def resolved(self) -> Self:
        """Return the stream with the hash of its models, and with absolute paths."""
        paths = {name: value for name in _FILES if (value := getattr(self, name)) is not None}
        absolute = {name: str(Path(value).expanduser().absolute()) for name, value in paths.items()}
        return self.model_copy(update={**absolute, "model_hash": self._hash()}) if self.looks else self

    def _models(self) -> tuple[OnnxPoseModel, OnnxPoseModel | None]:
        assert self.pose_model is not None  # noqa: S101 - asked before
        expected = (self.model_hash or "").split("+") if self.model_hash else []
        model = open_pose_model(self.pose_model, expected[0] if expected else None)
        if self.detector is None:
            return model, None
        if model.kind != "simcc":
            raise UsageError(f"{self.pose_model} finds people itself: leave the detector out")
        detector = open_pose_model(self.detector, expected[1] if len(expected) > 1 else None)
        if detector.kind == "simcc":
            raise UsageError(f"the detector {self.detector} finds joints and no people: name an ONNX file of a YOLO")
        return model, detector

    def _hash(self) -> str | None:
        if self.pose_model is None:
            return None
        return "+".join(each.hash for each in self._models() if each is not None)

    def _tracks(self, path: Path, limits: Limits) -> PoseTracks:
        """Return the people of a video's keypoint file.

        Raises:
            VideoError: of the video, with the fault of the file in its detail.
        """
        file = find_keypoints(path, self.keypoints)
        times, info = frame_times(path, limits=limits), probe(path, limits=limits)
        try:
            found = read_keypoints(file).require_frames(len(times))
            if found.times is not None and found.times.max(initial=0) > info.duration + _LATE:
                late = f"it has people at {found.times.max():.2f} s, and the video ends at {info.duration:.2f} s"
                raise VideoError(file, "corrupt", f"{late}: is it of another video?")
        except VideoError as error:
            if error.path == path:
                raise
            raise VideoError(path, error.reason, f"its keypoints {error.name}: {error.detail}") from error
        size = (info.height, info.width)
        return PoseTracks(found, times, size=size, confidence=self.confidence, gap=self.gap)


class _FilePoses:
    """The poses of a keypoint file."""

    size = None

    def __init__(self, tracks: PoseTracks) -> None:
        self._tracks = tracks

    def at(self, times: Times, image: Tensor | None) -> Tensor:
        """Return the people at some timestamps, float32 (U, S)."""
        return torch.from_numpy(self._tracks.at(times).reshape(len(times), -1))


class _ModelPoses:
    """The poses that a pose model finds in frames."""

    def __init__(
        self, model: OnnxPoseModel, detector: OnnxPoseModel | None, shape: tuple[int, int], confidence: float
    ) -> None:
        self._model = model
        self._detector = detector
        self._confidence = confidence
        self.size = model.input_size(shape)
        if detector is not None:
            scale = min(1.0, _SHARPEST / max(shape))
            self.size = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
        self._unit = np.array([shape[1] / self.size[1], shape[0] / self.size[0]], dtype=np.float32)

    def at(self, times: Times, image: Tensor | None) -> Tensor:
        """Return the people of a frame, float32 (U, S), in pixels of the frame as it is displayed."""
        assert image is not None  # noqa: S101 - it has a size
        boxes = None if self._detector is None else self._detector.find_boxes(image)
        found = []
        for pose in self._model.find_poses(image, boxes):
            pose[:, :2] *= self._unit
            pose[~np.isfinite(pose).all(1) | (pose[:, 2] < self._confidence)] = np.nan
            if np.isfinite(pose[:, 0]).any():
                found.append((_UNKNOWN, pose))
        return torch.from_numpy(pack(found).reshape(1, -1)).repeat(len(times), 1)
