from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest
import torch

from conftest import draw
from marey.errors import UsageError
from marey.video import decode, probe, write_video


def images(count: int, size: tuple[int, int] = (120, 160)) -> Iterator[torch.Tensor]:
    for index in range(count):
        yield torch.from_numpy(draw(index, size)).permute(2, 0, 1)


def test_written_frames_are_read_back(tmp_path: Path, read_index: Callable[[torch.Tensor], int]) -> None:
    path = tmp_path / "a.mp4"
    frames = torch.stack(list(images(50)))
    write_video(path, frames, frame_rate=25.0)
    info = probe(path)
    assert (info.duration, info.frame_rate, info.frame_count) == (2.0, 25.0, 50)
    decoded = decode(path, [i / 25 for i in range(50)])
    assert [read_index(frame) for frame in decoded.data] == list(range(50))
    assert (decoded.data.int() - frames.int()).abs().float().mean() < 3


def test_written_files_can_be_played_in_browsers(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, images(10), frame_rate=29.97)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    assert probe(path).frame_rate == pytest.approx(29.97, rel=1e-4)


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, images(20), frame_rate=25.0)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_odd_sizes_lose_their_last_row_or_column(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", images(3, (121, 163)), frame_rate=10.0)
    info = probe(tmp_path / "a.mp4")
    assert (info.height, info.width) == (120, 162)


def test_a_lower_crf_keeps_more_detail(tmp_path: Path) -> None:
    frames = torch.randint(0, 255, (5, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    write_video(tmp_path / "fine.mp4", frames, frame_rate=5.0, crf=10)
    write_video(tmp_path / "rough.mp4", frames, frame_rate=5.0, crf=40)
    assert (tmp_path / "fine.mp4").stat().st_size > 2 * (tmp_path / "rough.mp4").stat().st_size


def test_a_failure_leaves_only_the_previous_file(tmp_path: Path) -> None:
    def failing() -> Iterator[torch.Tensor]:
        yield from images(30)
        raise RuntimeError("the source broke")

    path = tmp_path / "a.mp4"
    with pytest.raises(RuntimeError, match="the source broke"):
        write_video(path, failing(), frame_rate=25.0)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="the source broke"):
        write_video(path, failing(), frame_rate=25.0)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_about_arguments_name_the_value(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(UsageError, match="no frames"):
        write_video(path, [], frame_rate=25.0)
    with pytest.raises(UsageError, match=r"torch.float32 \(3, 8, 8\)"):
        write_video(path, torch.zeros(2, 3, 8, 8), frame_rate=25.0)
    with pytest.raises(UsageError, match=r"\(8, 8, 3\)"):
        write_video(path, [torch.zeros(8, 8, 3, dtype=torch.uint8)], frame_rate=25.0)
    with pytest.raises(UsageError, match=r"not \(3, 8, 8\)"):
        write_video(path, torch.zeros(3, 8, 8, dtype=torch.uint8), frame_rate=25.0)
    with pytest.raises(UsageError, match="frame 1 has 8 x 16 pixels"):
        write_video(path, [torch.zeros(3, 8, w, dtype=torch.uint8) for w in (8, 16)], frame_rate=25.0)
    with pytest.raises(UsageError, match="2 x 2"):
        write_video(path, [torch.zeros(3, 1, 8, dtype=torch.uint8)], frame_rate=25.0)
    with pytest.raises(UsageError, match=r"not 0\.0"):
        write_video(path, images(2), frame_rate=0.0)
    with pytest.raises(UsageError, match="not 52"):
        write_video(path, images(2), frame_rate=25.0, crf=52)
    with pytest.raises(UsageError, match=r"a\.avi"):
        write_video(tmp_path / "a.avi", images(2), frame_rate=25.0)
    with pytest.raises(UsageError, match="nowhere"):
        write_video(tmp_path / "nowhere" / "a.mp4", images(2), frame_rate=25.0)
    assert list(tmp_path.iterdir()) == []
