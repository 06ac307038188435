"""Text on images: a font that has the letters, the width of a text, and its mask."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from marey.reports import style

LONGEST: Final = 1000
Weight = Literal["regular", "bold"]

_OWN = {"regular": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf"}


class Shape(NamedTuple):
    """A text as a mask, 255 on the letters; its baseline is `ascent` pixels below the upper edge."""

    mask: Image.Image
    ascent: int


def open_font(text: str, size: int, weight: Weight = "regular") -> ImageFont.FreeTypeFont:
    """Return a font of `size` pixels that has the letters of a text: DejaVu Sans, or an installed one.

    Letters that no font has are drawn as boxes.
    """
    return _open(_file_with("".join(sorted(set(text))), weight), size)


def one_line(text: str) -> str:
    """Return an untrusted text as one line, without control characters, of at most 1,000 letters."""
    return style.plot_text(text, longest=LONGEST)


def measure(text: str, size: int, weight: Weight = "regular") -> int:
    """Return the width of a text in pixels."""
    return math.ceil(open_font(text, size, weight).getlength(text))


@lru_cache(maxsize=512)
def shorten(text: str, width: int, size: int, weight: Weight = "regular") -> str:
    """Return a text as one line of at most `width` pixels, shortened in its middle; empty if nothing fits."""
    line = one_line(text)
    longest = len(line)
    if measure(line, size, weight) <= width:
        return line
    least = 0
    while longest - least > 1:
        middle = (least + longest) // 2
        if measure(style.plot_text(line, longest=middle), size, weight) <= width:
            least = middle
        else:
            longest = middle
    return style.plot_text(line, longest=least) if least else ""


@lru_cache(maxsize=256)
def shape(text: str, size: int, weight: Weight = "regular") -> Shape:
    """Return the shape of a text, cached: the same labels are drawn on many frames."""
    font = open_font(text, size, weight)
    ascent, descent = font.getmetrics()
    mask = Image.new("L", (max(1, measure(text, size, weight)), ascent + descent))
    ImageDraw.Draw(mask).text((0, ascent), text, fill=255, font=font, anchor="ls")
    return Shape(mask, ascent)


@lru_cache(maxsize=64)
def _open(file: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


@lru_cache(maxsize=512)
def _file_with(letters: str, weight: Weight) -> Path:
    own = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / _OWN[weight]
    needed = {ord(letter) for letter in letters if not letter.isspace()}
    if needed <= _letters_of(own):
        return own
    others = [Path(entry.fname) for family in style.WIDE_FONTS for entry in _installed(family)]
    return max([own, *others], key=lambda file: len(needed & _letters_of(file)))


def _installed(family: str) -> list[font_manager.FontEntry]:
    return [
        entry
        for entry in font_manager.fontManager.ttflist
        if entry.name == family and entry.style == "normal" and str(entry.weight) in ("400", "normal", "regular")
    ][:1]


@lru_cache(maxsize=32)
def _letters_of(file: Path) -> frozenset[int]:
    return frozenset(FT2Font(str(file)).get_charmap())
