"""ONNX pose models whose answers are known by construction: the place of the brightest pixel, whatever the joint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from marey.data import Clip
from marey.encoders import Contract, EncoderSpec, FeatureCache, Stream, View, load_encoder, read_clip, read_frames
from marey.encoders.pose_model import OnnxPoseModel, open_pose_model
from marey.errors import UsageError, WeightsError
from marey.prediction.frame_sampler import FrameSampler
from marey.video import Sampling, play, write_video

onnx = pytest.importorskip("onnx", reason="the extra fast is not installed")
pytest.importorskip("onnxruntime", reason="the extra fast is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

HEIGHT, WIDTH = 64, 48


def save(path: Path, nodes: Sequence[Any], outputs: dict[str, list[int]], constants: Mapping[str, Any]) -> Path:
    """Write a model of an image, 1 x 3 x 64 x 48."""
    graph = helper.make_graph(
        nodes,
        "pose",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_simcc(path: Path, *, swapped: bool = False) -> Path:
    """Write a model of SimCC: each joint lies at the column and the row of the brightest pixel, two bins a pixel."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["grey"], axes=[1], keepdims=0),
        helper.make_node("ReduceMax", ["grey"], ["columns"], axes=[1], keepdims=1),
        helper.make_node("ReduceMax", ["grey"], ["rows"], axes=[2], keepdims=0),
        helper.make_node("Unsqueeze", ["rows", "one"], ["down"]),
        helper.make_node("Resize", ["columns", "", "twice"], ["wide"], mode="nearest", nearest_mode="floor"),
        helper.make_node("Resize", ["down", "", "twice"], ["high"], mode="nearest", nearest_mode="floor"),
        helper.make_node("Tile", ["wide", "joints"], ["simcc_x"]),
        helper.make_node("Tile", ["high", "joints"], ["simcc_y"]),
    ]
    outputs = {"simcc_x": [1, 17, 2 * WIDTH], "simcc_y": [1, 17, 2 * HEIGHT]}
    constants = {
        "one": np.array([1], np.int64),
        "twice": np.array([1, 1, 2], np.float32),
        "joints": np.array([1, 17, 1], np.int64),
    }
    return save(path, nodes, dict(reversed(outputs.items())) if swapped else outputs, constants)


def write_yolo(path: Path, people: list[tuple[float, float, float]], *, rows: int = 56) -> Path:
    """Write a model that finds people at x, y with a confidence, whatever the image: joint j lies j pixels below."""
    found = np.zeros((1, rows, len(people)), np.float32)
    for number, (x, y, confidence) in enumerate(people):
        found[0, :5, number] = x, y, 10, 20, confidence
        if rows == 56:
            found[0, 5:, number] = np.array([(x, y + joint, 0.9) for joint in range(17)]).ravel()
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "nothing"], ["zero"]),
        helper.make_node("Add", ["found", "zero"], ["output0"]),
    ]
    constants = {"found": found, "nothing": np.zeros((), np.float32)}
    return save(path, nodes, {"output0": [1, rows, len(people)]}, constants)


def spot(x: int, y: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    """Return a black image with a white square of 3 pixels around a point."""
    image = torch.zeros(3, *size, dtype=torch.uint8)
    image[:, y - 1 : y + 2, x - 1 : x + 2] = 255
    return image


@pytest.mark.parametrize("swapped", [False, True])
def test_simcc_gives_the_place_of_the_largest_value_of_each_joint(swapped: bool, tmp_path: Path) -> None:
    model = OnnxPoseModel(write_simcc(tmp_path / "rtmpose.onnx", swapped=swapped))
    assert (model.kind, model.size) == ("simcc", (HEIGHT, WIDTH))
    (pose,) = model.find_poses(spot(30, 40))
    np.testing.assert_allclose(pose[:, :2], [(30, 40)] * 17, atol=1.6)
    assert (pose[:, 2] == 1).all()


def test_a_frame_of_another_shape_keeps_its_proportions(tmp_path: Path) -> None:
    model = OnnxPoseModel(write_simcc(tmp_path / "rtmpose.onnx"))
    assert model.input_size((240, 480)) == (24, 48)
    (pose,) = model.find_poses(spot(200, 100, (240, 480)))
    np.testing.assert_allclose(pose[:, :2], [(200, 100)] * 17, atol=16)  # a pixel of the input is ten of the frame


def test_simcc_looks_at_the_boxes_that_are_given(tmp_path: Path) -> None:
    model = OnnxPoseModel(write_simcc(tmp_path / "rtmpose.onnx"))
    image = torch.maximum(spot(40, 50, (120, 160)), spot(120, 60, (120, 160)))
    left, right = model.find_poses(image, [(30, 40, 50, 60), (110, 45, 130, 75)])
    np.testing.assert_allclose(left[:, :2], [(40, 50)] * 17, atol=1.6)
    np.testing.assert_allclose(right[:, :2], [(120, 60)] * 17, atol=1.6)


def test_yolo_gives_each_person_once_the_most_certain_first(tmp_path: Path) -> None:
    people = [(10.0, 20.0, 0.5), (30.0, 20.0, 0.9), (31.0, 20.0, 0.8), (20.0, 20.0, 0.1)]
    model = OnnxPoseModel(write_yolo(tmp_path / "yolo.onnx", people))
    assert model.kind == "yolo"
    first, second = model.find_poses(spot(30, 40, (2 * HEIGHT, 2 * WIDTH)))
    np.testing.assert_allclose(first[:, :2], [(60, 2 * (20 + joint)) for joint in range(17)], atol=0.1)
    np.testing.assert_allclose(second[0], (20, 40, 0.9), atol=0.1)
    assert model.find_boxes(spot(30, 40))[0] == pytest.approx((25, 10, 35, 30), abs=0.1)


def test_a_detector_finds_the_people_for_a_model_of_one_person(tmp_path: Path) -> None:
    detector = write_yolo(tmp_path / "detector.onnx", [(12.0, 21.0, 0.8), (36.0, 20.0, 0.9)], rows=84)
    write_simcc(tmp_path / "rtmpose.onnx")
    stream = Stream(kind="pose", pose_model=str(tmp_path / "rtmpose.onnx"), detector=str(detector))
    frames = torch.stack([torch.maximum(spot(12, 20), spot(36, 20))] * 10)
    path = tmp_path / "clip.mp4"
    write_video(path, frames, frame_rate=10.0)
    observed = read_clip(Clip(path), contract(stream))["pose"].view(2, 3, -1)
    people = observed[0, 1, 1:].view(4, 52)
    np.testing.assert_allclose(sorted(people[:2, 1].tolist()), [12, 36], atol=1.6)
    assert people[2:].isnan().all()


def contract(stream: Stream, count: int = 2) -> Contract:
    class Reading:
        sampling, streams, fit = Sampling(count=count), {"pose": stream}, "stretch"
        photometric, conversion, testing = "none", "none", None

    return Contract.from_recipe(Reading(), load_encoder(EncoderSpec(name="none")), multi_view=False)  # type: ignore[arg-type]


@pytest.fixture
def moving(tmp_path: Path) -> tuple[Path, Tensor]:
    """A video of a square that goes to the right by 20 pixels a second, and its frames."""
    frames = torch.stack([spot(8 + 2 * number, 30) for number in range(16)])
    write_video(tmp_path / "moving.mp4", frames, frame_rate=10.0)
    return tmp_path / "moving.mp4", frames


def test_a_clip_is_observed_through_the_model(moving: tuple[Path, Tensor], tmp_path: Path) -> None:
    path, frames = moving
    made = contract(Stream(kind="pose", pose_model=str(write_simcc(tmp_path / "rtmpose.onnx")), span=0.4), 4)
    observed = read_clip(Clip(path), made)["pose"]
    assert observed.shape[:2] == (4, 3)
    places = observed[:, 1, 2].tolist()  # x of the first joint of the first person
    np.testing.assert_allclose(places, [12, 20, 28, 36], atol=2.1)
    in_memory = read_frames(frames, made, frame_rate=10.0)["pose"]
    np.testing.assert_allclose(in_memory[:, 1, 2].tolist(), places, atol=1.1)


def test_frames_that_are_played_are_observed_as_those_of_a_clip(moving: tuple[Path, Tensor], tmp_path: Path) -> None:
    made = contract(Stream(kind="pose", pose_model=str(write_simcc(tmp_path / "rtmpose.onnx"))), 4)
    with play(moving[0]) as playback:
        samples = [sample for _, found in FrameSampler(playback, made, 0.4) for sample in found]
    played = torch.stack([sample.images["pose"] for sample in samples])
    torch.testing.assert_close(played, read_clip(Clip(moving[0], start=0.0, end=1.6), made)["pose"], equal_nan=True)


def test_the_contract_holds_the_hash_and_another_model_is_refused(moving: tuple[Path, Tensor], tmp_path: Path) -> None:
    file = write_simcc(tmp_path / "rtmpose.onnx")
    made = contract(Stream(kind="pose", pose_model=str(file)))
    cache = FeatureCache(tmp_path / "cache")

    def key(made: Contract) -> str:
        return cache.key(Clip(moving[0]), made, "pose", content="0", view=View(), order="given")

    before = key(made)
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(file.read_bytes())
    assert key(contract(Stream(kind="pose", pose_model=str(copy)))) == before
    write_simcc(file, swapped=True)
    assert key(contract(Stream(kind="pose", pose_model=str(file)))) != before
    with pytest.raises(WeightsError, match="is another pose model than the one that this model was trained with"):
        read_clip(Clip(moving[0]), made)
    file.unlink()
    with pytest.raises(WeightsError, match=r"there is no pose model .*rtmpose\.onnx"):
        read_clip(Clip(moving[0]), made)


def test_a_model_of_another_kind_is_an_error_with_the_shapes(tmp_path: Path) -> None:
    other = write_yolo(tmp_path / "other.onnx", [(1.0, 1.0, 0.9)] * 9, rows=30)
    with pytest.raises(UsageError, match=r"outputs of the shapes \[1, 30, 9\] for an image of 64 x 48 .* \[1, 56, n\]"):
        OnnxPoseModel(other)
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(WeightsError, match=r"text\.onnx cannot be run as an ONNX model"):
        OnnxPoseModel(tmp_path / "text.onnx")
    with pytest.raises(WeightsError, match="there is no pose model"):
        open_pose_model(str(tmp_path / "missing.onnx"))


@pytest.mark.parametrize(
    ("model", "detector", "message"),
    [
        ("detector", None, "finds people and no joints: name it as the detector"),
        ("yolo", "detector", "finds people itself: leave the detector out"),
        ("simcc", "simcc", "finds joints and no people"),
    ],
)
def test_models_in_the_wrong_place_are_refused(
    model: str, detector: str | None, message: str, moving: tuple[Path, Tensor], tmp_path: Path
) -> None:
    files = {
        "simcc": write_simcc(tmp_path / "simcc.onnx"),
        "yolo": write_yolo(tmp_path / "yolo.onnx", [(10.0, 10.0, 0.9)]),
        "detector": write_yolo(tmp_path / "detector.onnx", [(10.0, 10.0, 0.9)], rows=84),
    }
    named = {"pose_model": str(files[model]), **({} if detector is None else {"detector": str(files[detector])})}
    with pytest.raises(UsageError, match=message):
        read_clip(Clip(moving[0]), contract(Stream(kind="pose", **named)))


def test_options_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="keypoints and pose_model exclude each other"):
        Stream(kind="pose", pose_model="a.onnx", keypoints="poses")
    with pytest.raises(ValueError, match="detector finds people for a pose_model, and none is named"):
        Stream(kind="pose", detector="a.onnx")
