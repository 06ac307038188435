"""Image files: written atomically, named by time and label."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from marey.atomic import atomic_file
from marey.errors import UsageError
from marey.video import Limits, play

IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png")
JPEG_QUALITY: Final = 90
_LONGEST_LABEL: Final = 40  # letters of up to four bytes; a file name has at most 255 bytes


def save_image(image: npt.NDArray[np.uint8], path: str | Path) -> None:
    """Write an image atomically, as JPEG or PNG by the suffix.

    Args:
        image: uint8 RGB `(H, W, 3)`.
        path: the file; its folder is made if it does not exist.

    Raises:
        UsageError: another suffix, or more pixels to a side than JPEG can hold.
    """
    path = Path(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise UsageError(f"an image is written as {' or '.join(IMAGE_SUFFIXES)}, not as '{path.name}'")
    is_png = path.suffix.lower() == ".png"
    if not is_png and max(image.shape[:2]) > 65_500:
        raise UsageError(f"a JPEG has at most 65,500 pixels to a side, not {max(image.shape[:2]):,}: write a PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    pil = Image.fromarray(np.ascontiguousarray(image))
    with atomic_file(path) as part:
        if is_png:
            pil.save(part, format="PNG")
        else:
            pil.save(part, format="JPEG", quality=JPEG_QUALITY, subsampling=0)


def reduced_size(source: str | Path, longest: int, *, limits: Limits) -> tuple[int, int]:
    """Return (H, W) of the frames of a video as it is shown, with at most `longest` pixels on the longer side.

    Raises:
        VideoError: the video cannot be used.
    """
    with play(source, limits=limits) as playback:
        height, width = playback.size
    scale = min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def time_name(seconds: float, *, digits: int) -> str:
    """Return a time as a part of a file name: "0m04.2s", "1h02m03.4s"."""
    ticks = round(max(0.0, seconds) * 10**digits)
    minutes, rest = divmod(ticks, 60 * 10**digits)
    hours, minute = divmod(minutes, 60)
    front = f"{hours}h{minute:02d}m" if hours else f"{minute}m"
    return f"{front}{rest / 10**digits:0{digits + 3}.{digits}f}s"


def label_name(label: str) -> str:
    """Return a label as a part of a file name: letters, digits, "-" and "_"; others become "_"."""
    kept = [letter if letter.isalnum() or letter in "-_" else "_" for letter in unicodedata.normalize("NFC", label)]
    return "".join(kept)[:_LONGEST_LABEL] or "_"
