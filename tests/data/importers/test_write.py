from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marey.data import ClipSource, Manifest, read_manifest, read_quarantine, write_clips
from marey.errors import DatasetError, UsageError, VideoError

OF = {"source": "here"}


def shades(shade: int, seen: list[int]) -> Iterator[Any]:
    seen.append(shade)
    if shade == 13:
        raise VideoError("here/13", "corrupt", "it is bad luck")
    for _ in range(3):
        yield np.full((4, 6), shade, np.uint8)


def clips(*numbers: int, seen: list[int] | None = None) -> list[ClipSource]:
    seen = [] if seen is None else seen
    return [
        ClipSource(
            f"train/{number:02d}", f"class {number % 2}", None, "train", partial(shades, number, seen), Path("here"), 0
        )
        for number in numbers
    ]


def write(out: Path, of: list[ClipSource], **options: Any) -> Manifest:
    given: dict[str, Any] = {"made_from": OF, "frame_rate": 10.0} | options
    return write_clips(of, out, **given)


def test_clips_become_video_and_a_manifest_that_lists_it(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    made = write(tmp_path / "a" / "new", clips(1, 2), on_progress=lambda *now: done.append(now))
    found = read_manifest(tmp_path / "a" / "new" / "manifest.csv")
    assert found.clips == made.clips
    assert [(clip.path.name, clip.label, clip.split) for clip in found.clips] == [
        ("01.mp4", "class 1", "train"),
        ("02.mp4", "class 0", "train"),
    ]
    assert done == [(1, 2), (2, 2)]
    assert sorted(path.name for path in (tmp_path / "a" / "new").iterdir()) == ["manifest.csv", "train"]


def test_groups_are_read_from_names_that_are_known(tmp_path: Path) -> None:
    known = [ClipSource(f"a/v_Run_g0{n}_c01", "a", None, None, partial(shades, n, []), Path("here"), 0) for n in (1, 2)]
    assert write(tmp_path / "new", known).grouping == "groups by the pattern 'ucf101': 2 groups"


def test_a_clip_that_cannot_be_used_stops_the_import_or_is_listed(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"1 clip of 2 cannot be used: here/13: corrupt: it is bad luck; repair them, or"
    ):
        write(tmp_path / "new", clips(1, 13))
    assert not (tmp_path / "new" / "manifest.csv").exists()
    made = write(tmp_path / "new", clips(1, 13), unusable="leave-out")
    assert [clip.path.stem for clip in made.clips] == ["01"]
    assert made.notes == (f"1 clip left out that cannot be used: see {tmp_path}/new/left_out.csv",)
    assert [Path(name).name for name in read_quarantine(tmp_path / "new" / "left_out.csv")] == ["13"]
    with pytest.raises(DatasetError, match=r"1 clip of 1 cannot be used: .*; repair them$"):
        write(tmp_path / "other", clips(13), unusable="leave-out")


def test_an_import_that_was_stopped_goes_on_with_what_is_missing_or_has_changed(tmp_path: Path) -> None:
    seen: list[int] = []
    with pytest.raises(DatasetError):
        write(tmp_path / "new", clips(1, 2, 13, seen=seen))
    changed = [
        *clips(1, seen=seen),
        *(ClipSource(**{**_fields(clip), "changed": 2**40}) for clip in clips(2, seen=seen)),
    ]
    (tmp_path / "new" / "train" / ".0123.part").touch()  # of a process that was killed
    write(tmp_path / "new", [*changed, *clips(3, seen=seen)])
    assert seen == [1, 2, 13, 2, 3]
    assert sorted(path.name for path in (tmp_path / "new" / "train").iterdir()) == ["01.mp4", "02.mp4", "03.mp4"]


def _fields(clip: ClipSource) -> dict[str, Any]:
    return {name: getattr(clip, name) for name in ClipSource.__slots__}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"made_from": {"source": "there"}}, "holds an unfinished import of something else"),
        ({"frame_rate": 12.0}, "holds an unfinished import of something else"),
    ],
)
def test_an_unfinished_import_of_something_else_is_left_alone(tmp_path: Path, options: Any, said: str) -> None:
    with pytest.raises(DatasetError):
        write(tmp_path / "new", clips(1, 13))
    with pytest.raises(UsageError, match=said):
        write(tmp_path / "new", clips(2), **options)


def test_a_folder_with_something_in_it_is_left_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "new", clips(1))
    (tmp_path / "file").touch()
    for out, said in (("new", "is not empty, and is left as it is"), ("file", "is a file")):
        with pytest.raises(UsageError, match=said):
            write(tmp_path / out, clips(2))
    assert len(read_manifest(tmp_path / "new" / "manifest.csv").clips) == 1


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), 5000.0])
def test_a_frame_rate_that_cannot_be_is_refused(tmp_path: Path, rate: float) -> None:
    with pytest.raises(UsageError, match="frame_rate"):
        write(tmp_path / "new", clips(1), frame_rate=rate)
    assert not list(tmp_path.iterdir())
