from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from marey.data.importers.write import Image, write_lossless
from marey.errors import UsageError
from marey.video import decode, probe


@pytest.mark.parametrize("shape", [(16, 30, 46, 3), (5, 31, 45, 3), (5, 31, 45), (1, 1, 1, 3), (1, 1, 1), (3, 2, 200)])
def test_every_frame_comes_back_to_the_last_bit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / "größe 1.mp4"
    write_lossless(path, frames, frame_rate=12.5)
    info = probe(path)
    assert (info.frame_rate, info.duration, info.faults) == (12.5, len(frames) / 12.5, ())
    assert (info.height, info.width) == shape[1:3]
    found = decode(path, [(index + 0.5) / 12.5 for index in range(len(frames))]).data.permute(0, 2, 3, 1).numpy()
    assert (found == frames.reshape(*shape[:3], -1)).all()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 12, 20, 3), dtype=np.uint8)
    for name in ("a.mp4", "b.mp4"):
        write_lossless(tmp_path / name, frames, frame_rate=25)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_nothing_is_left_of_a_clip_that_breaks_off(tmp_path: Path) -> None:
    def breaking() -> Iterator[Image]:
        for _ in range(200):  # more than the encoder holds back
            yield np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        write_lossless(tmp_path / "a.mp4", breaking(), frame_rate=25)
    with pytest.raises(UsageError, match=r"frame 1 has the shape \(4, 5\), and the first \(4, 4\)"):
        write_lossless(tmp_path / "a.mp4", [np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], frame_rate=25)
    with pytest.raises(UsageError, match="no frames"):
        write_lossless(tmp_path / "a.mp4", [], frame_rate=25)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="memory is measured on Linux only, and macOS")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    frames = np.random.default_rng(0).integers(0, 256, (60, 60, 60), np.uint8)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_lossless(tmp_path / "a.mp4", frames, frame_rate=25)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
