"""The videos that are measured: real clips where they are here, drawn ones where not, and made ones of a given size."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import av
import torch
from av.video.frame import VideoFrame
from torch import Tensor, nn

from marey.synthetic import make
from marey.video import write_video

ROOT: Final = Path(__file__).resolve().parents[1]
REAL: Final = ROOT.parent / "shared" / "data" / "ut-interaction-set1"
FRAME_RATE: Final = 25.0
_MPEG4_BITS: Final = 1_000_000  # a second
_GRAIN: Final = 20  # levels of brightness by which neighbouring pixels differ by chance
_DRAWN_ACTORS: Final = 10  # by six actions: 60 clips in 10 groups, as many as of the real ones


def find_clips(data: Path | None, work: Path) -> tuple[Path, str]:
    """Return the folder of clips to measure with, and its description.

    Args:
        data: the folder that was asked for; None takes the real clips, or draws some where those are not here.
        work: where clips are drawn.

    Raises:
        SystemExit: the folder that was asked for is not there.
    """
    if data is not None and not data.is_dir():
        raise SystemExit(f"there is no folder {data}; name one of class folders, or leave --data out")
    if data is not None or REAL.is_dir():
        folder = data or REAL
        return folder, f"the clips in {folder.name}"
    make(work / "figures", actors=_DRAWN_ACTORS, scenarios=("d1",))
    return work / "figures", f"drawn clips, for the real ones are not in ../{REAL.relative_to(ROOT.parent)}"


def film(path: Path, *, width: int, height: int, duration: float) -> Path:
    """Write an H.264 file of a textured wall that the camera pans over, a keyframe every 250 frames.

    Args:
        path: the file, which ends in .mp4.
        width: pixels.
        height: pixels.
        duration: seconds.
    """
    write_video(path, _pan(width, height, round(duration * FRAME_RATE)), frame_rate=FRAME_RATE)
    return path


def film_mpeg4(path: Path, *, width: int, height: int, duration: float) -> Path:
    """Write an MPEG-4 part 2 file of the same wall, as old data sets have them, a keyframe every 12 frames.

    Args:
        path: the file, which ends in .avi.
        width: pixels.
        height: pixels.
        duration: seconds.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=round(FRAME_RATE))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate, stream.gop_size = _MPEG4_BITS, 12
        for picture in _pan(width, height, round(duration * FRAME_RATE)):
            frame = VideoFrame.from_ndarray(picture.permute(1, 2, 0).contiguous().numpy(), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def made_files(work: Path) -> dict[str, Path]:
    """Return the two files that decoding is measured on, by name; they are made once a folder.

    Returns:
        "mpeg4": 320x240, 7 s. "1080p": 1920x1080, H.264, 20 s, a keyframe every 250 frames.
    """
    files = {"mpeg4": work / "made-320x240.avi", "1080p": work / "made-1080p.mp4"}
    if not files["mpeg4"].exists():
        film_mpeg4(files["mpeg4"], width=320, height=240, duration=7)
    if not files["1080p"].exists():
        film(files["1080p"], width=1920, height=1080, duration=20)
    return files


def copies(path: Path, count: int, work: Path) -> list[Path]:
    """Make copies of a file, each with a content of its own, so that no features are shared.

    Args:
        path: an .mp4 or .avi file.
        count: how many.
        work: the folder that they go to.
    """
    work.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(count):
        copy = work / f"{path.stem}-{number}{path.suffix}"
        shutil.copyfile(path, copy)
        with copy.open("ab") as file:  # a box, or a chunk, that readers skip
            content = number.to_bytes(8, "big")
            file.write(
                (16).to_bytes(4, "big") + b"free" + content
                if path.suffix == ".mp4"
                else b"JUNK" + len(content).to_bytes(4, "little") + content
            )
        made.append(copy)
    return made


def _pan(width: int, height: int, count: int) -> Iterator[Tensor]:
    chance = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (1, 3, height // 16, width // 8), generator=chance).float()
    wall = nn.functional.interpolate(coarse, size=(height, 2 * width), mode="bicubic").clamp(0, 255)[0].byte()
    # Without the grain of a camera each picture would be foretold by the one before, and decoding would cost nothing.
    grain = torch.randint(0, _GRAIN, (1, 2 * height, 2 * width), generator=chance, dtype=torch.uint8)
    for index in range(count):
        left = abs((4 * index + width) % (2 * width) - width)  # there and back
        top, side = (int(torch.randint(0, most, (1,), generator=chance)) for most in (height, width))
        seen = wall[:, :, left : left + width].clamp(max=255 - _GRAIN)
        yield seen + grain[:, top : top + height, side : side + width]
