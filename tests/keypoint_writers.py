"""Keypoint files as the programs write them, of people whose joints are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Joints = npt.NDArray[np.float64]
"""One person, (T, 17, 3): x, y in pixels, confidence; 0 for a missing joint."""

BODY_25 = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip "
    "RHip RKnee RAnkle LHip LKnee LAnkle REye LEye REar "
    "LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
)
COCO_18 = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle REye LEye REar LEar"
)
COCO_17 = "Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee LAnkle RAnkle"
MEDIAPIPE = (
    "Nose LEyeInner LEye LEyeOuter REyeInner REye REyeOuter LEar REar LMouth RMouth LShoulder "
    "RShoulder LElbow RElbow LWrist RWrist LPinky RPinky LIndex RIndex LThumb RThumb LHip "
    "RHip LKnee RKnee LAnkle RAnkle LHeel RHeel LFoot RFoot"
)


def arranged(person: Joints, order: str) -> Joints:
    """Return a frame of a person, (17, 3), in the order of another format; joints that COCO lacks are missing."""
    place = {name: row for row, name in enumerate(COCO_17.split())}
    return np.array([person[place[name]] if name in place else np.zeros(3) for name in order.split()])


def is_there(person: Joints) -> bool:
    """Return whether a person is seen in a frame."""
    return bool(person[:, 2].any())


def write_mmpose(path: Path, people: Sequence[Joints], *, first: int = 1, size: tuple[int, int] = (120, 160)) -> Path:
    """Write what the demos of MMPose write, which count frames from 1."""
    rows = [
        {
            "frame_id": frame + first,
            "instances": [
                {"keypoints": each[:, :2].tolist(), "keypoint_scores": each[:, 2].tolist(), "bbox": [[0, 0, 1, 1]]}
                for person in people
                if is_there(each := person[frame])
            ],
        }
        for frame in range(len(people[0]))
    ]
    return _write(path.with_suffix(".json"), {"meta_info": {}, "instance_info": rows})


def write_coco(path: Path, people: Sequence[Joints], *, size: tuple[int, int] = (120, 160)) -> Path:
    """Write a list of COCO's results."""
    rows = [
        {"image_id": frame, "category_id": 1, "keypoints": person[frame].ravel().tolist(), "score": 0.9}
        for frame in range(len(people[0]))
        for person in people
        if is_there(person[frame])
    ]
    return _write(path.with_suffix(".json"), rows)


def write_openpose(
    path: Path, people: Sequence[Joints], *, order: str = BODY_25, size: tuple[int, int] = (120, 160)
) -> Path:
    """Write the folder of OpenPose, a file a frame."""
    folder = path.with_name(f"{path.stem}_keypoints")
    folder.mkdir()
    for frame in range(len(people[0])):
        found = [
            {"person_id": [-1], "pose_keypoints_2d": arranged(person[frame], order).ravel().tolist()}
            for person in people
            if is_there(person[frame])
        ]
        _write(folder / f"{path.stem}_{frame:012d}_keypoints.json", {"version": 1.3, "people": found})
    return folder


def write_coco_18(path: Path, people: Sequence[Joints], *, size: tuple[int, int] = (120, 160)) -> Path:
    """Write the folder of OpenPose with its older model."""
    return write_openpose(path, people, order=COCO_18)


def write_mediapipe(path: Path, people: Sequence[Joints], *, size: tuple[int, int] = (120, 160)) -> Path:
    """Write MediaPipe's landmarks, in shares of the frame's width and height."""
    shape = (size[1], size[0], 1)
    rows = [
        {
            "frame": frame,
            "pose_landmarks": [
                [dict(zip(("x", "y", "visibility"), map(float, point / shape), strict=True)) for point in landmarks]
                for person in people
                if is_there(person[frame])
                for landmarks in [arranged(person[frame], MEDIAPIPE)]
            ],
        }
        for frame in range(len(people[0]))
    ]
    return _write(path.with_suffix(".json"), rows)


def write_ultralytics(path: Path, people: Sequence[Joints], *, size: tuple[int, int] = (120, 160)) -> Path:
    """Write a list with the text of each result's `to_json()`, with the numbers of tracks."""
    rows = []
    for frame in range(len(people[0])):
        found = [
            {
                "name": "person",
                "class": 0,
                "confidence": 0.9,
                "box": {"x1": 0, "y1": 0, "x2": 1, "y2": 1},
                "track_id": number + 1,
                "keypoints": dict(zip(("x", "y", "visible"), person[frame].T.tolist(), strict=True)),
            }
            for number, person in enumerate(people)
            if is_there(person[frame])
        ]
        rows.append(json.dumps(found))
    return _write(path.with_suffix(".json"), rows)


WRITERS: dict[str, Callable[..., Path]] = {
    "mmpose": write_mmpose,
    "coco": write_coco,
    "openpose": write_openpose,
    "coco-18": write_coco_18,
    "mediapipe": write_mediapipe,
    "ultralytics": write_ultralytics,
}


def _write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path
