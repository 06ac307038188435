from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from conftest import MakeVideo
from marey.errors import VideoError
from marey.video import Limits, Sampling, decode, probe
from waiting import PATIENCE

ReadIndex = Callable[[torch.Tensor], int]


def reason_of(path: Path) -> str | None:
    """Return the reason code of decoding 16 uniform frames; None if there is no error."""
    try:
        timestamps = Sampling().timestamps(0, probe(path).duration)
        frames = decode(path, timestamps, size=(32, 32), limits=Limits(timeout=PATIENCE))
    except VideoError as error:
        return error.reason
    assert frames.data.shape == (16, 3, 32, 32)
    return None


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv"])
def test_a_file_that_was_cut_off_is_truncated(make_video: MakeVideo, tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / name, seconds=4.0)
    data = path.read_bytes()
    for part in (0.3, 0.6):
        path.write_bytes(data[: int(part * len(data))])
        assert reason_of(path) == "truncated"


def test_a_truncated_file_with_its_index_at_the_start_gives_its_frames(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path
) -> None:
    whole = make_video(tmp_path / "a.mkv", seconds=4.0)
    data = whole.read_bytes()
    whole.write_bytes(data[: int(0.6 * len(data))])
    assert [read_index(frame) for frame in decode(whole, [0.0, 0.4]).data] == [0, 10]
    with pytest.raises(VideoError, match="truncated"):
        decode(whole, [0.0, 3.9])


def test_frames_before_a_damaged_part_are_decoded_and_later_ones_are_corrupt(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4.0, gop=25)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat")
    middle = start + (data.index(b"moov") - start) // 2
    data[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    path.write_bytes(data)
    assert [read_index(frame) for frame in decode(path, [0.0, 1.0]).data] == [0, 25]
    assert reason_of(path) == "corrupt"


def test_a_recording_may_start_between_key_frames(make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts", seconds=4.0, gop=25)
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 188 // 8 * 188 :])
    assert read_index(decode(path, [0.0]).data[0]) == 25
    assert reason_of(path) is None


def test_a_container_may_state_a_few_frames_too_many(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "a.avi", codec="mpeg4", seconds=2.0)
    data = bytearray(path.read_bytes())
    for at in (data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32):
        data[at : at + 4] = (52).to_bytes(4, "little")
    path.write_bytes(data)
    info = probe(path)
    assert info.frame_count == 52
    assert info.faults == ()
    assert info.duration == pytest.approx(52 / 25)
    assert read_index(decode(path, [51.5 / 25]).data[0]) == 49
    for at in (data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32):
        data[at : at + 4] = (150).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"truncated: it states 6.000 s and ends after 2.0"):
        probe(path)


@pytest.mark.parametrize(
    ("name", "codec", "b_frames"),
    [
        ("a.mp4", "libx264", 2),
        *(pytest.param(*kind, marks=pytest.mark.long) for kind in (("a.avi", "mpeg4", 0), ("a.mkv", "libx264", 0))),
    ],
)
def test_a_damaged_file_gives_frames_or_a_reason_code(
    make_video: MakeVideo, tmp_path: Path, name: str, codec: Literal["libx264", "mpeg4"], b_frames: int
) -> None:
    data = make_video(
        tmp_path / name, seconds=1.0, size=(48, 64), codec=codec, b_frames=b_frames, audio=True
    ).read_bytes()
    rng = random.Random(0)  # noqa: S311
    found = set()
    for trial in range(120):
        damaged = bytearray(data)
        if trial % 2:
            del damaged[rng.randrange(len(data)) :]
        else:
            for _ in range(rng.choice([1, 5, 50])):
                damaged[rng.randrange(len(data))] = rng.randrange(256)
        path = tmp_path / f"damaged-{name}"
        path.write_bytes(damaged)
        found.add(reason_of(path))
    assert {"truncated", None} <= found


def test_a_header_of_endless_length_is_corrupt(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", seconds=0.4)
    data = bytearray(path.read_bytes())
    data[4:12] = b"\x01\xff\xff\xff\xff\xff\xff\xfe"  # bytes of the first element
    path.write_bytes(data)
    assert reason_of(path) == "corrupt"


def test_video_beyond_the_stated_duration_is_used_and_reported(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi", codec="mpeg4", seconds=4.0)
    data = bytearray(path.read_bytes())
    for at in (data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32):
        data[at : at + 4] = (25).to_bytes(4, "little")
    path.write_bytes(data)
    info = probe(path)
    assert info.duration == pytest.approx(4.0)
    assert info.faults == ("it states 1.000 s, and 4.000 s are there",)


def test_a_truncated_file_with_sound_is_truncated(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", seconds=4.0, audio=True)
    data = path.read_bytes().replace(b"DURATION", b"XURATION")
    path.write_bytes(data)
    assert reason_of(path) is None
    path.write_bytes(data[: len(data) // 2])
    assert reason_of(path) == "truncated"
