"""The videos that are measured: real clips where they are here, drawn ones where not, and made ones of a given size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from marey.data.figures import make
from marey.video import write_video

ROOT: Final = Path(__file__).resolve().parents[1]
REAL: Final = ROOT.parent / "shared" / "data" / "ut-interaction-set1"
FRAME_RATE: Final = 25.0
_DRAWN_ACTORS: Final = 10  # by six actions: 60 clips in 10 groups, as many as of the real ones


def find_clips(data: Path | None, work: Path) -> tuple[Path, str]:
    """The folder of clips to measure with, and what it is in words.

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


def _pan(width: int, height: int, count: int) -> Iterator[Tensor]:
    chance = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (1, 3, height // 16, width // 8), generator=chance).float()
    wall = nn.functional.interpolate(coarse, size=(height, 2 * width), mode="bicubic").clamp(0, 255)[0].byte()
    for index in range(count):
        left = abs((4 * index + width) % (2 * width) - width)  # there and back
        yield wall[:, :, left : left + width]
