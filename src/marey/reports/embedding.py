"""Images inside a page, as data URLs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from marey.reports.style import save_png


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An image in a page: its data URL, its size in pixels, and its alternative text."""

    source: str
    width: int
    height: int
    alt: str


def embed(figure: Figure, path: Path, alt: str) -> EmbeddedImage:
    """Write a figure as PNG, and return it as an image for a page."""
    save_png(figure, path)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return EmbeddedImage(_data_url(path.read_bytes(), "png"), width, height, alt)


def embed_pixels(pixels: npt.NDArray[np.uint8], alt: str, *, side: int | None = None) -> EmbeddedImage:
    """Return an image for a page as JPEG, a tenth of the PNG: the page has to fit into an e-mail.

    Args:
        pixels: uint8 RGB (H, W, 3).
        alt: what it shows, in words.
        side: largest number of pixels of the longer side.
    """
    image = Image.fromarray(pixels)
    if side is not None:
        image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return EmbeddedImage(_data_url(buffer.getvalue(), "jpeg"), *image.size, alt)


def _data_url(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
