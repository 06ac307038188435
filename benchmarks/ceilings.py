"""What this machine can do at most: a large matrix product, and FFmpeg decoding a file to nothing."""

from __future__ import annotations

import shutil
import statistics
from functools import cache, partial
from pathlib import Path
from typing import Final

import torch

from marey.encoders import EncoderSpec, architecture
from marey.evaluation import count_flops
from measure import run, seconds

_SIDE: Final = 3072
_RUNS: Final = 5


@cache
def product_rate() -> float:
    """Floating-point operations a second of a float32 matrix product on all cores, the median of some runs."""
    left, right = torch.randn(_SIDE, _SIDE), torch.randn(_SIDE, _SIDE)
    multiply = partial(torch.mm, left, right)
    multiply()
    return 2 * _SIDE**3 / statistics.median(seconds(multiply) for _ in range(_RUNS))


@cache
def picture_flops(spec: EncoderSpec) -> int:
    """Floating-point operations of a frame encoder for one picture, two a multiplication and addition."""
    network = architecture(spec, frames=1)
    return count_flops(partial(network.run, network.example))


def ffmpeg_seconds(path: Path) -> float | None:
    """Seconds in which the program ffmpeg decodes all of a file with its own choice of threads; None without it."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    decode = partial(run, [program, "-v", "error", "-i", str(path), "-an", "-f", "null", "-"])
    return statistics.median(seconds(decode) for _ in range(_RUNS))
