"""Formats of keypoint files: each is one function from parsed JSON to people a frame, in the order of COCO's joints.

A format is a function with `@register_keypoint_format` above it; the first one that recognises a file reads it.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

JOINTS: Final = 17
"""COCO's: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles, the left one of each pair first."""

Floats = npt.NDArray[np.float64]

_BODY_25: Final = [0, 16, 15, 18, 17, 5, 2, 6, 3, 7, 4, 12, 9, 13, 10, 14, 11]
_COCO_18: Final = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]
_MEDIAPIPE_33: Final = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
_BEGIN_WITH_COCO: Final = (17, 26, 133)  # COCO, Halpe, COCO-WholeBody: the first 17 joints are those of COCO
_LARGEST: Final = 1e6  # pixels: no frame is larger
_SHOWN: Final = 60  # characters of a value in an error
_PERSON: Final = ("person", "0", 0)


def shortened(value: object) -> str:
    """Return the beginning of a value as text, whatever its size."""
    text = reprlib.repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class FormatError(ValueError):
    """A value that a format cannot have; the message says where, and what it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """A person in a frame.

    Attributes:
        joints: (17, 3), x, y and confidence; NaN where a joint is missing.
        track: number of the person over time; -1 where none is stated.
    """

    joints: Floats
    track: int = -1


@dataclass(frozen=True, slots=True)
class People:
    """The people of a frame.

    Attributes:
        frame: number of the frame, as the file counts.
        people: everyone in it.
        time: seconds, where the file states them.
    """

    frame: int
    people: tuple[Person, ...]
    time: float | None = None


@dataclass(frozen=True, slots=True)
class KeypointFormat:
    """A format of keypoint files.

    Attributes:
        name: of the program or data set that writes it.
        matches: returns whether parsed JSON is of this format.
        read: yields the people of each frame.
        normalised: x and y are shares of the frame's width and height, and not pixels.
        may_count_from_one: frames are numbered from 1 where the smallest number is 1.
    """

    name: str
    matches: Callable[[Any], bool]
    read: Callable[[Any], Iterator[People]]
    normalised: bool = False
    may_count_from_one: bool = False


KEYPOINT_FORMATS: Final[list[KeypointFormat]] = []
"""All formats, in the order in which they are tried."""

Reader = Callable[[Any], Iterator[People]]


def register_keypoint_format(
    name: str, *, matches: Callable[[Any], bool], normalised: bool = False, may_count_from_one: bool = False
) -> Callable[[Reader], Reader]:
    """Register a reader of keypoint files; the arguments are the attributes of `KeypointFormat`.

    Raises:
        ValueError: the name is taken.
    """

    def register(read: Reader) -> Reader:
        if any(known.name == name for known in KEYPOINT_FORMATS):
            raise ValueError(f"two formats of keypoints are called '{name}'")
        KEYPOINT_FORMATS.append(KeypointFormat(name, matches, read, normalised, may_count_from_one))
        return read

    return register


def _first_dict(data: Any) -> dict[str, Any]:
    """Return the first object of a list, or of a list of lists; empty where there is none."""
    for each in data if isinstance(data, list) else []:
        inner = each[0] if isinstance(each, list) and each else each
        if isinstance(inner, dict):
            return inner
    return {}


def _is_mmpose(data: Any) -> bool:
    return (isinstance(data, dict) and "instance_info" in data) or "instances" in _first_dict(data)


@register_keypoint_format("MMPose", matches=_is_mmpose, may_count_from_one=True)
def read_mmpose(data: Any) -> Iterator[People]:
    """Yield what RTMPose and the demos of MMPose write: `instance_info`, or its list alone."""
    rows = data["instance_info"] if isinstance(data, dict) else data
    for place, row in enumerate(_list(rows, "instance_info")):
        where = f"instance_info[{place}]"
        people = []
        for number, one in enumerate(_list(_object(row, where).get("instances", []), f"{where}.instances")):
            at = f"{where}.instances[{number}]"
            points = _numbers(_object(one, at).get("keypoints"), f"{at}.keypoints")
            if points.ndim != 2 or points.shape[1] != 2:
                raise FormatError(f"{at}.keypoints has the shape {points.shape}, and pairs of x and y are expected")
            scores = _numbers(one.get("keypoint_scores", [1.0] * len(points)), f"{at}.keypoint_scores")
            if scores.shape != (len(points),):
                raise FormatError(f"{at} has {len(points)} keypoints and {scores.size} keypoint_scores")
            people.append(Person(_of_coco(np.column_stack([points, scores]), f"{at}.keypoints"), _track(one, at)))
        yield People(_integer(row.get("frame_id", place), f"{where}.frame_id"), tuple(people))


def _is_coco(data: Any) -> bool:
    return {"image_id", "keypoints"} <= _first_dict(data).keys()


@register_keypoint_format("COCO", matches=_is_coco, may_count_from_one=True)
def read_coco(data: Any) -> Iterator[People]:
    """Yield a list of COCO's results: a person a row, with `image_id` and 51 numbers."""
    frames: dict[int, list[Person]] = {}
    for place, row in enumerate(data):
        at = f"[{place}]"
        flat = _numbers(_object(row, at).get("keypoints"), f"{at}.keypoints")
        if flat.ndim != 1 or flat.size % 3:
            raise FormatError(f"{at}.keypoints has {flat.size} numbers, and 51 are expected: x, y, score of 17 joints")
        person = Person(_of_coco(flat.reshape(-1, 3), f"{at}.keypoints"), _track(row, at))
        frames.setdefault(_integer(row.get("image_id"), f"{at}.image_id"), []).append(person)
    for frame, people in sorted(frames.items()):
        yield People(frame, tuple(people))


def _is_openpose(data: Any) -> bool:
    return isinstance(data, dict) and isinstance(data.get("frames"), dict)


@register_keypoint_format("OpenPose", matches=_is_openpose)
def read_openpose(data: Any) -> Iterator[People]:
    """Yield the files of a folder that OpenPose wrote, each with its number: BODY_25 or COCO-18."""
    for frame, file in sorted(data["frames"].items()):
        people = []
        for number, one in enumerate(_list(_object(file, f"frame {frame}").get("people"), f"frame {frame}: people")):
            at = f"frame {frame}: people[{number}].pose_keypoints_2d"
            flat = _numbers(_object(one, at).get("pose_keypoints_2d"), at)
            order = {75: _BODY_25, 54: _COCO_18}.get(flat.size)
            if not flat.size:
                continue
            if order is None or flat.ndim != 1:
                raise FormatError(f"{at} has {flat.size} numbers; BODY_25 has 75, and COCO has 54")
            stated = one.get("person_id", [-1])
            track = stated[0] if isinstance(stated, list) and stated else stated
            people.append(Person(_checked(flat.reshape(-1, 3)[order], at), _integer(track, f"{at}: person_id")))
        yield People(frame, tuple(people))


_MEDIAPIPE_KEYS: Final = ("pose_landmarks", "poseLandmarks", "landmarks")


def _mediapipe_frames(data: Any) -> Any:
    return data.get("frames") if isinstance(data, dict) else data


def _is_mediapipe(data: Any) -> bool:
    rows = _mediapipe_frames(data)
    first = _first_dict(rows)
    if any(key in first for key in _MEDIAPIPE_KEYS):
        return True
    return "keypoints" not in first and {"x", "y"} <= first.keys()


@register_keypoint_format("MediaPipe", matches=_is_mediapipe, normalised=True)
def read_mediapipe(data: Any) -> Iterator[People]:
    """Yield the landmarks of a list of frames: 33 of a person, or a list of people with 33 each."""
    for place, row in enumerate(_list(_mediapipe_frames(data), "frames")):
        at = f"frames[{place}]"
        frame, time = place, None
        landmarks = row
        if isinstance(row, dict):
            landmarks = next((row[key] for key in _MEDIAPIPE_KEYS if key in row), None)
            frame = _integer(row.get("frame", place), f"{at}.frame")
            if row.get("timestamp_ms") is not None:
                time = _number(row["timestamp_ms"], f"{at}.timestamp_ms") / 1000
        yield People(frame, tuple(_landmarks(landmarks, at)), time)


def _landmarks(landmarks: Any, at: str) -> Iterator[Person]:
    if isinstance(landmarks, dict):
        landmarks = landmarks.get("landmark")
    found = [] if landmarks is None else _list(landmarks, f"{at}: landmarks")
    if found and isinstance(found[0], dict) and "landmark" not in found[0]:
        found = [found]
    for number, person in enumerate(found):
        where = f"{at}: person {number}"
        points = _list(person.get("landmark") if isinstance(person, dict) else person, where)
        if len(points) != 33:
            raise FormatError(f"{where} has {len(points)} landmarks, and MediaPipe has 33")
        rows = [_object(point, where) for point in points]
        values = [[row.get("x"), row.get("y"), row.get("visibility", 1.0)] for row in rows]
        yield Person(_checked(_numbers(values, where)[_MEDIAPIPE_33], where))


def _ultralytics_frame(row: Any) -> Any:
    """Return the people of a frame; `to_json` gives them as a text of JSON."""
    if isinstance(row, str):
        try:
            return json.loads(row)
        except ValueError as error:
            raise FormatError(f"a frame is the text {row[:40]!r}, which is not JSON") from error
    return row


def _is_ultralytics(data: Any) -> bool:
    if not isinstance(data, list) or not data:
        return False
    if all(isinstance(row, list) and not row for row in data):
        return True  # nobody in any frame
    rows = [row for row in data if row and not (isinstance(row, str) and row.strip() == "[]")]
    if not rows or not isinstance(rows[0], str | list):
        return False
    try:
        first = _first_dict(_ultralytics_frame(rows[0]))
    except FormatError:
        return False
    return "box" in first or isinstance(first.get("keypoints"), dict)


@register_keypoint_format("ultralytics", matches=_is_ultralytics)
def read_ultralytics(data: Any) -> Iterator[People]:
    """Yield a list with the `to_json()` of each frame's result, as text or as it is."""
    for place, row in enumerate(data):
        people = []
        for number, one in enumerate(_list(_ultralytics_frame(row), f"[{place}]")):
            at = f"[{place}][{number}]"
            if _object(one, at).get("name", one.get("class", 0)) not in _PERSON:
                continue
            points = _object(one.get("keypoints"), f"{at}.keypoints (is the model one for poses?)")
            columns = [_numbers(points.get(key), f"{at}.keypoints.{key}") for key in ("x", "y")]
            columns.append(_numbers(points.get("visible") or [1.0] * len(columns[0]), f"{at}.keypoints.visible"))
            if len({column.shape for column in columns}) > 1:
                raise FormatError(
                    f"{at}.keypoints has {', '.join(str(len(column)) for column in columns)} x, y, visible"
                )
            people.append(Person(_of_coco(np.column_stack(columns), f"{at}.keypoints"), _track(one, at)))
        yield People(place, tuple(people))


def _of_coco(points: Floats, at: str) -> Floats:
    """Return the 17 joints of COCO, of which formats with more joints are an extension."""
    if len(points) not in _BEGIN_WITH_COCO:
        known = ", ".join(map(str, _BEGIN_WITH_COCO))
        raise FormatError(f"{at} has {len(points)} joints; COCO's order of {known} joints is read")
    return _checked(points[:JOINTS], at)


def _checked(points: Floats, at: str) -> Floats:
    """Return joints with NaN where one is missing: no confidence, at (0, 0), or not finite."""
    joints = points.astype(np.float64)
    far = np.abs(joints[:, :2]) > _LARGEST
    if (far & np.isfinite(joints[:, :2])).any():
        raise FormatError(f"{at} has the coordinate {joints[:, :2][far][0]:g}, and no frame is so large")
    with np.errstate(invalid="ignore"):
        there = np.isfinite(joints).all(1) & (joints[:, 2] > 0) & (joints[:, :2] != 0).any(1)
    joints[:, 2] = np.clip(np.nan_to_num(joints[:, 2]), 0, 1)
    joints[~there] = np.nan
    return joints


def _numbers(values: Any, at: str) -> Floats:
    """Return nested lists of numbers as an array; null counts as NaN."""
    rows = _list(values, at)
    try:
        found = np.asarray(rows)
        if found.dtype.kind == "O":
            found = np.asarray(found, dtype=np.float64) if _numbers_and_nulls(found) else found
    except (ValueError, OverflowError) as error:
        raise FormatError(f"{at} is not a list of numbers: {shortened(values)}") from error
    if found.size and found.dtype.kind not in "fiu":
        raise FormatError(f"{at} holds what is not a number: {shortened(values)}")
    return found.astype(np.float64)


def _numbers_and_nulls(found: npt.NDArray[Any]) -> bool:
    return all(each is None or (isinstance(each, int | float) and abs(each) < 1e300) for each in found.ravel())


def _number(value: Any, at: str) -> float:
    found = _numbers([value], at)
    if found.shape != (1,) or not np.isfinite(found[0]):
        raise FormatError(f"{at} is {shortened(value)}, and a number is expected")
    return float(found[0])


def _integer(value: Any, at: str) -> int:
    if isinstance(value, str):  # as in "frame_000012.jpg"
        digits = re.findall(r"\d+", value.rpartition(".")[0] or value)
        value = int(digits[-1][:12]) if digits else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 2**40:
        raise FormatError(f"{at} is {shortened(value)}, and a whole number is expected")
    return value


def _track(row: dict[str, Any], at: str) -> int:
    found = row.get("track_id", row.get("id", -1))
    return -1 if found is None else _integer(found, f"{at}.track_id")


def _list(value: Any, at: str) -> list[Any]:
    if not isinstance(value, list):
        raise FormatError(f"{at} is {shortened(value)}, and a list is expected")
    return value


def _object(value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{at} is {shortened(value)}, and an object is expected")
    return value
