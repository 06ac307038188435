"""Keypoint files of five programs: the same people in all of them, and clear words about files that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keypoint_writers import WRITERS, Joints, write_coco, write_mmpose, write_openpose
from marey.data.importers import keypoint_files
from marey.data.importers.keypoint_files import find_keypoints, keypoints_hash, read_keypoints
from marey.data.importers.keypoint_formats import register_keypoint_format
from marey.errors import VideoError
from marey.synthetic import draw_joints


@pytest.fixture(scope="module")
def boxer() -> Joints:
    """The joints of a drawn figure in 12 frames."""
    return draw_joints("boxing", actor=2, duration=0.48)


@pytest.mark.parametrize("name", WRITERS)
def test_a_format_gives_the_joints_that_were_written(name: str, boxer: Joints, tmp_path: Path) -> None:
    other = boxer + np.array([40, 0, 0])
    other[3] = 0  # out of view
    found = read_keypoints(WRITERS[name](tmp_path / "clip.mp4", [boxer, other]))
    joints = found.joints * ((160, 120, 1) if found.normalised else 1)
    assert found.last == 11
    assert found.frames.tolist() == sorted([*range(12), *range(12)])[:7] + sorted([*range(12), *range(12)])[8:]
    np.testing.assert_allclose(joints[found.frames == 5], np.stack([boxer[5], other[5]]), atol=1e-3)
    np.testing.assert_allclose(joints[found.frames == 3], boxer[3:4], atol=1e-3)


def test_tracks_come_from_the_file_where_it_states_them(boxer: Joints, tmp_path: Path) -> None:
    found = read_keypoints(WRITERS["ultralytics"](tmp_path / "clip.mp4", [boxer, boxer + np.array([9, 0, 0])]))
    assert set(found.tracks.tolist()) == {1, 2}
    assert set(read_keypoints(write_coco(tmp_path / "other.mp4", [boxer])).tracks.tolist()) == {-1}


def test_frames_are_counted_from_one_where_the_smallest_number_is_one(boxer: Joints, tmp_path: Path) -> None:
    from_one = read_keypoints(write_mmpose(tmp_path / "a.mp4", [boxer]))
    from_zero = read_keypoints(write_mmpose(tmp_path / "b.mp4", [boxer], first=0))
    assert from_one.frames.tolist() == from_zero.frames.tolist() == list(range(12))


def test_extensions_of_coco_give_their_first_joints(boxer: Joints, tmp_path: Path) -> None:
    instance = {"keypoints": [*boxer[0, :, :2].tolist(), *[[1.0, 1.0]] * 116], "keypoint_scores": [0.5] * 133}
    (tmp_path / "a.json").write_text(json.dumps([{"frame_id": 0, "instances": [instance]}]))
    found = read_keypoints(tmp_path / "a.json")
    np.testing.assert_allclose(found.joints[0, :, :2], boxer[0, :, :2], atol=1e-3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, 0.0])
def test_a_joint_that_is_not_finite_or_has_no_confidence_is_missing(value: Any, boxer: Joints, tmp_path: Path) -> None:
    flat = boxer[0].ravel().tolist()
    flat[3 * 9 + 2] = value
    (tmp_path / "a.json").write_text(json.dumps([{"image_id": 0, "keypoints": flat, "score": 1}]))
    (joints,) = read_keypoints(tmp_path / "a.json").joints
    assert np.flatnonzero(np.isnan(joints[:, 0])).tolist() == [9]


def instance(**changes: Any) -> Any:
    return [{"frame_id": 0, "instances": [{"keypoints": [[1, 2]] * 17, "keypoint_scores": [1] * 17} | changes]}]


def result(**changes: Any) -> Any:
    return [{"image_id": 0, "keypoints": [1.0] * 51} | changes]


HOSTILE: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "corrupt: it is not JSON"),
    "bytes that are no text": (b"\xff\xfe\x00", "corrupt: it is not JSON"),
    "nothing": ("  ", "empty: a keypoint file without content"),
    "too deep": ("[" * 100_000, "corrupt: its lists lie deeper in each other"),
    "another object": (
        {"a": 1},
        r"corrupt: it begins with \{'a': 1\}, which is none of the known formats: MMPose, COCO",
    ),
    "a number": (3, "it begins with 3, which is none of the known formats"),
    "another count of joints": (instance(keypoints=[[1, 2]] * 9, keypoint_scores=[1] * 9), "has 9 joints"),
    "other scores": (instance(keypoint_scores=[1] * 3), "has 17 keypoints and 3 keypoint_scores"),
    "text for numbers": (
        instance(keypoints=[["1", "2"]] * 17),
        r"instances\[0\]\.keypoints holds what is not a number",
    ),
    "ragged": (instance(keypoints=[[1, 2]] * 16 + [[1]]), "is not a list of numbers"),
    "no keypoints": (instance(keypoints=None), "is None, and a list is expected"),
    "an object for a list": ([{"frame_id": 0, "instances": {"a": 1}}], r"instances is .* and a list is expected"),
    "a number for an object": ([{"frame_id": 0, "instances": [3]}], "is 3, and an object is expected"),
    "a coordinate beyond any frame": (instance(keypoints=[[1e9, 2]] * 17), r"has the coordinate 1e\+09"),
    "a number beyond all floats": (instance(keypoints=[[10**400, 2]] * 17), "holds what is not a number"),
    "no number of the frame": (result(image_id=[1]), r"image_id is \[1\], and a whole number is expected"),
    "a negative frame": (result(image_id=-3), "it has people for frame -3, and frames count from 0"),
    "numbers that are no triples": (result(keypoints=[1.0] * 50), "has 50 numbers, and 51 are expected"),
    "32 landmarks": ([[{"x": 0, "y": 0}] * 32], "has 32 landmarks, and MediaPipe has 33"),
    "boxes without poses": ([[{"name": "person", "box": {}}]], r"keypoints \(is the model one for poses\?\)"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_an_error_with_its_place_and_value(name: str, tmp_path: Path) -> None:
    content, message = HOSTILE[name]
    path = tmp_path / "a.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(VideoError, match=message) as caught:
        read_keypoints(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


@pytest.mark.parametrize("empty", ["[]", "[[], []]", '[{"frame_id": 0, "instances": []}]', '{"instance_info": []}'])
def test_a_file_without_people_is_read(empty: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(empty)
    assert read_keypoints(tmp_path / "a.json").joints.shape == (0, 17, 3)


def test_openpose_names_other_counts_and_mixed_videos(boxer: Joints, tmp_path: Path) -> None:
    folder = write_openpose(tmp_path / "a.mp4", [boxer])
    (folder / "b_000000000003_keypoints.json").write_text("{}")
    with pytest.raises(VideoError, match="two of its files are of frame 3: is it of several videos"):
        read_keypoints(folder)
    (folder / "b_000000000003_keypoints.json").write_text("{}")
    (folder / "b_000000000003_keypoints.json").rename(folder / "b_000000000099_keypoints.json")
    with pytest.raises(VideoError, match="frame 99: people is None, and a list is expected"):
        read_keypoints(folder)
    wrong = {"people": [{"pose_keypoints_2d": [1.0] * 30}]}
    (folder / "b_000000000099_keypoints.json").write_text(json.dumps(wrong))
    with pytest.raises(VideoError, match="has 30 numbers; BODY_25 has 75, and COCO has 54"):
        read_keypoints(folder)


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keypoint_files, "MAX_BYTES", 10)
    (tmp_path / "a.json").write_text(json.dumps([[]] * 10))
    with pytest.raises(VideoError, match="too_large: it has 40 bytes"):
        read_keypoints(tmp_path / "a.json")


def test_a_file_of_another_video_is_refused_and_one_frame_more_is_left_out(boxer: Joints, tmp_path: Path) -> None:
    found = read_keypoints(write_coco(tmp_path / "a.mp4", [boxer]))
    assert found.require_frames(12) is not None
    assert found.require_frames(10).frames.max() == 9
    with pytest.raises(VideoError, match="it has people for frame 11, and the video has 9 frames: is it of another"):
        found.require_frames(9)


@pytest.mark.parametrize(
    "name",
    ["clip.json", "clip.pose.json", "clip.keypoints.json", "clip_keypoints.json", "clip.mp4.json", "results_clip.json"],
)
def test_a_file_beside_the_video_is_found(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("[]")
    assert find_keypoints(tmp_path / "clip.mp4") == tmp_path / name


def test_another_folder_is_searched_by_the_longest_part_of_the_path(tmp_path: Path) -> None:
    video = tmp_path / "set" / "boxing" / "clip.mp4"
    for place in ("poses", "poses/boxing", "set/boxing"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "clip.json").write_text("[]")
    folder = str(tmp_path / "poses")
    assert find_keypoints(video, folder) == tmp_path / "poses" / "boxing" / "clip.json"
    (tmp_path / "poses" / "boxing" / "clip.json").unlink()
    assert find_keypoints(video, folder) == tmp_path / "poses" / "clip.json"
    (tmp_path / "poses" / "clip.json").unlink()
    assert find_keypoints(video, folder) == video.with_suffix(".json")


def test_a_missing_file_is_an_error_that_names_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()  # a folder with other files
    (tmp_path / "clip" / "notes.json").write_text("{}")
    with pytest.raises(VideoError, match=r"missing: it has no keypoint file: looked in .* for clip\.json, clip\.pose"):
        find_keypoints(tmp_path / "clip.mp4")


def test_the_hash_of_a_folder_changes_with_its_files(boxer: Joints, tmp_path: Path) -> None:
    folder = write_openpose(tmp_path / "a.mp4", [boxer])
    before = keypoints_hash(folder)
    first = sorted(folder.iterdir())[0]
    first.write_text(first.read_text().replace("1.3", "1.4"))
    assert keypoints_hash(folder) != before


def test_two_formats_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="two formats of keypoints are called 'COCO'"):
        register_keypoint_format("COCO", matches=bool)(iter)
