"""Files of keypoints: where they lie beside a video, how they are read, and to which frames they belong."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marey.data.hashing import content_hash
from marey.data.importers.keypoint_formats import (
    JOINTS,
    KEYPOINT_FORMATS,
    FormatError,
    KeypointFormat,
    People,
    shortened,
)
from marey.data.text import format_bytes
from marey.errors import VideoError

MAX_BYTES: Final = 2**28
"""Maximum size of a keypoint file, or of all files of a folder."""

_NAMES: Final = ("{stem}.json", "{stem}.pose.json", "{stem}.keypoints.json", "{stem}_keypoints.json", "{name}.json")
_NAMES_OF_PROGRAMS: Final = ("results_{stem}.json",)  # of the demos of MMPose
_FOLDERS: Final = ("{stem}_keypoints", "{stem}_json", "{stem}")
_FRAME_FILE: Final = re.compile(r"(\d+)_keypoints\.json$")
_TAIL: Final = 8  # folders of a clip's path that are looked for in another folder
_SPARE: Final = 2  # frames beyond the end that a program may count: they are left out
_SHOWN: Final = 4  # candidates that an error lists


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """The people of a video, a row a person and frame, in the order of the frames.

    Attributes:
        path: the file or folder.
        joints: float32 (N, 17, 3), x, y, confidence, in the order of COCO; NaN where a joint is missing.
        frames: (N,), numbers of the frames, from 0.
        tracks: (N,), number of the person over time, -1 where none is stated.
        times: (N,), seconds, where the file states them.
        last: number of the last frame of the file, with or without people; -1 for an empty file.
        normalised: x and y are shares of the frame's width and height, and not pixels.
    """

    path: Path
    joints: npt.NDArray[np.float32]
    frames: npt.NDArray[np.int64]
    tracks: npt.NDArray[np.int64]
    times: npt.NDArray[np.float64] | None
    last: int
    normalised: bool

    def require_frames(self, count: int) -> Keypoints:
        """Return the rows that lie in a video of so many frames.

        One or two frames beyond the end are left out, as programs count the last ones differently.

        Raises:
            VideoError: more frames, so that the file belongs to another video (`corrupt`).
        """
        if self.times is not None:
            return self
        if self.last >= count + _SPARE:
            raise VideoError(
                self.path,
                "corrupt",
                f"it has people for frame {self.last}, and the video has {count} frames: is it of another video?",
            )
        inside = self.frames < count
        return Keypoints(
            self.path,
            self.joints[inside],
            self.frames[inside],
            self.tracks[inside],
            None,
            min(self.last, count - 1),
            self.normalised,
        )


def find_keypoints(video: Path, folder: str | None = None) -> Path:
    """Return the keypoint file, or folder of OpenPose, of a video.

    It is looked for in `folder`, under the longest part of the video's path that is there, and then beside the video.

    Args:
        video: path of the video.
        folder: another folder with the same tree.

    Raises:
        VideoError: there is none (`missing`); the message lists names that were looked for.
    """
    places = [video.parent]
    if folder is not None:
        root = Path(folder).expanduser()
        parents = video.absolute().parent.parts[1:][-_TAIL:]
        places = [root.joinpath(*parents[first:]) for first in range(len(parents) + 1)] + places
    tried = []
    for place in places:
        for pattern in (*_NAMES, *_NAMES_OF_PROGRAMS, *_FOLDERS):
            path = place / pattern.format(stem=video.stem, name=video.name)
            tried.append(path)
            if pattern in _FOLDERS:
                if path.is_dir() and any(_FRAME_FILE.search(each.name) for each in path.iterdir()):
                    return path
            elif path.is_file():
                return path
    names = ", ".join(path.name for path in tried[-len((*_NAMES, *_NAMES_OF_PROGRAMS, *_FOLDERS)) :][:_SHOWN])
    where = f"{video.parent}" if folder is None else f"{folder} and {video.parent}"
    raise VideoError(
        video,
        "missing",
        f"it has no keypoint file: looked in {where} for {names}, and the folders {video.stem}_keypoints, "
        f"{video.stem}_json and {video.stem} of OpenPose; write one with a pose estimator, or name a pose_model (ONNX)",
    )


def keypoints_hash(path: Path) -> str:
    """Return the hash of the content of a keypoint file, or of all files of a folder with their names."""
    if not path.is_dir():
        return content_hash(path)
    names = [(each.name, content_hash(each)) for each in _frame_files(path)]
    return hashlib.blake2b(json.dumps(names).encode(), digest_size=16).hexdigest()


def read_keypoints(path: Path) -> Keypoints:
    """Read a keypoint file, or a folder of OpenPose; the last few are kept in memory until they change.

    Raises:
        VideoError: it cannot be read, is too large, or is of no known format; the message says where and what.
    """
    return _read(path, keypoints_hash(path))


@lru_cache(maxsize=8)
def _read(path: Path, _hash: str) -> Keypoints:
    data = _parse_folder(path) if path.is_dir() else _parse(path)
    try:
        chosen = _format_of(data)
        found = list(chosen.read(data))
    except FormatError as error:
        raise VideoError(path, "corrupt", str(error)) from error
    except RecursionError as error:
        raise _too_deep(path) from error
    return _arranged(path, found, chosen)


def _format_of(data: Any) -> KeypointFormat:
    if isinstance(data, list) and not data:
        return KEYPOINT_FORMATS[0]  # nobody in any frame
    for each in KEYPOINT_FORMATS:
        if each.matches(data):
            return each
    known = ", ".join(each.name for each in KEYPOINT_FORMATS)
    raise FormatError(f"it begins with {shortened(data)}, which is none of the known formats: {known}")


def _arranged(path: Path, found: list[People], chosen: KeypointFormat) -> Keypoints:
    numbers = [people.frame for people in found]
    if numbers and min(numbers) < 0:
        raise VideoError(path, "corrupt", f"it has people for frame {min(numbers)}, and frames count from 0")
    first = 1 if chosen.may_count_from_one and numbers and min(numbers) == 1 else 0
    timed = bool(found) and all(people.time is not None for people in found)
    rows = sorted(
        ((people.time or 0.0, people.frame - first, one) for people in found for one in people.people),
        key=lambda row: row[:2],
    )
    joints = np.array([one.joints for _, _, one in rows], dtype=np.float32).reshape(-1, JOINTS, 3)
    return Keypoints(
        path,
        joints,
        np.array([frame for _, frame, _ in rows], dtype=np.int64),
        np.array([max(-1, one.track) for _, _, one in rows], dtype=np.int64),
        np.array([time for time, _, _ in rows]) if timed else None,
        max(numbers, default=first - 1) - first,
        chosen.normalised,
    )


def _parse(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise VideoError(
                path, "too_large", f"it has {format_bytes(size)}, and a keypoint file has {format_bytes(MAX_BYTES)}"
            )
        text = path.read_bytes()
    except OSError as error:
        raise VideoError(path, "missing", f"it cannot be read: {error.strerror}") from error
    if not text.strip():
        raise VideoError(path, "empty", "a keypoint file without content")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise _too_deep(path) from error
    except ValueError as error:
        raise VideoError(path, "corrupt", f"it is not JSON: {error}") from error


def _parse_folder(path: Path) -> dict[str, Any]:
    files = _frame_files(path)
    size = sum(file.stat().st_size for file in files)
    if size > MAX_BYTES:
        raise VideoError(
            path, "too_large", f"its files have {format_bytes(size)}, and may have {format_bytes(MAX_BYTES)}"
        )
    frames: dict[int, Any] = {}
    for file in files:
        found = _FRAME_FILE.search(file.name)
        number = int(found.group(1)[:12]) if found else 0
        if number in frames:
            raise VideoError(path, "corrupt", f"two of its files are of frame {number}: is it of several videos?")
        frames[number] = _parse(file)
    return {"frames": frames}


def _frame_files(path: Path) -> list[Path]:
    """Return the files of a folder of OpenPose, in the order of their names."""
    return sorted(each for each in path.iterdir() if _FRAME_FILE.search(each.name) and each.is_file())


def _too_deep(path: Path) -> VideoError:
    return VideoError(path, "corrupt", "its lists lie deeper in each other than those of any keypoint file")
