"""Captions on frames: the label, the most probable classes as bars, and the time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw

from marey.errors import UsageError
from marey.reports import style
from marey.reports.phrases import confidence_text
from marey.reports.text_rendering import Weight, measure, one_line, shape, shorten

Colour = tuple[int, int, int]

NONE: Final = "none of these"
"""Text in place of a label below the threshold."""

MOST_BARS: Final = 5
SHARE: Final = 0.45
"""Maximum share of the frame height for label and bars."""

_TEXT: Final[Colour] = (246, 248, 250)
_QUIET: Final[Colour] = (206, 212, 219)
_OTHER: Final[Colour] = (166, 174, 184)
_SHADE: Final[Colour] = (14, 18, 22)
_TRACK: Final = 0.2  # opacity
_OPACITY: Final = 0.72  # light text on it has a contrast of 4.5 (WCAG 2.1, AA) even on white video


def _rgb(colour: str) -> Colour:
    red, green, blue = (round(255 * channel) for channel in to_rgb(colour))
    return red, green, blue


_ACCENT: Final = _rgb(style.SKY)


@dataclass(frozen=True, slots=True)
class Caption:
    """Text on one frame.

    Attributes:
        label: the class; None below the threshold.
        confidence: its probability, from 0 to 1; None without one.
        top: classes with their probabilities, most probable first; as many bars are drawn as fit.
        time: seconds.
        duration: of the video, in seconds; None if unknown.
        notes: other texts, such as "12.4 frames/s"; left out on small frames.
    """

    label: str | None
    confidence: float | None
    top: tuple[tuple[str, float], ...]
    time: float
    duration: float | None
    notes: tuple[str, ...] = ()


def draw_caption(image: npt.NDArray[np.uint8], caption: Caption) -> npt.NDArray[np.uint8]:
    """Draw a caption: label and bars in the lower left corner, the time in the upper right one.

    Light text on half-transparent dark boxes; all sizes follow the frame size. Small frames leave out the notes and all
    bars but one, and then the time.

    Args:
        image: uint8 RGB `(H, W, 3)`; it is not changed.
        caption: the texts.

    Returns:
        A new image of the same size.

    Raises:
        UsageError: an array of another shape or type.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UsageError(f"an image has to be uint8 (H, W, 3), not {image.dtype} {image.shape}")
    drawn = np.array(image, order="C")
    layout = _layout(*image.shape[:2])
    if layout.large:
        _draw_list(drawn, layout, caption)
    else:
        _draw_line(drawn, layout, caption)
    if layout.has_clock:
        left = _draw_clock(drawn, layout, caption)
        if caption.notes and layout.large:
            _draw_notes(drawn, layout, " · ".join(caption.notes), left)
    return drawn


@dataclass(frozen=True, slots=True)
class _Layout:
    """Layout of captions on frames of one size, in pixels.

    Attributes:
        height: of the frame.
        width: of the frame.
        text: size of ordinary text; all other sizes follow from it.
        large: a list of bars fits, not only one bar below the label.
        has_clock: the time fits above the label.
    """

    height: int
    width: int
    text: int
    large: bool
    has_clock: bool

    @property
    def small(self) -> int:
        return max(8, round(0.9 * self.text))

    @property
    def heading(self) -> int:
        return round((1.35 if self.large else 1.1) * self.text)

    @property
    def margin(self) -> int:
        return max(1, round((0.85 if self.large else 0.4) * self.text))

    @property
    def padding(self) -> int:
        return round((0.8 if self.large else 0.45) * self.text)

    @property
    def card_width(self) -> int:
        room = self.width - 2 * self.margin
        if not self.large:
            return min(room, 24 * self.text)
        wide = min(21 * self.text, round(0.42 * self.width))  # for long labels on wide frames
        return min(room, max(17 * self.text, wide))

    @property
    def clock_height(self) -> int:
        return _cap(self.small) + 2 * round(0.5 * self.text)


@lru_cache(maxsize=64)
def _layout(height: int, width: int) -> _Layout:
    # Text grows with the frame, but more slowly.
    least = 10 if min(height, width) >= 96 else 8
    text = max(least, round(4.5 + 0.0175 * (height * width) ** 0.5))
    text = min(text, max(least, width // 14, height // 14))
    large = width >= 18 * text and height >= 15 * text
    line = _Layout(height, width, text, large, has_clock=False)
    used = _line_height(line) + line.clock_height + 3 * line.margin
    return _Layout(height, width, text, large, has_clock=large or used <= height)


class _Box:
    """A rounded dark box over a part of an image. `close` writes it into the image."""

    def __init__(
        self, image: npt.NDArray[np.uint8], left: int, top: int, width: int, height: int, *, radius: int
    ) -> None:
        self._place = image[top : top + height, left : left + width]
        self._image = Image.fromarray(self._place)
        self._image.paste(_SHADE, (0, 0), _rounded(self._image.width, self._image.height, radius))

    def write(
        self,
        text: str,
        x: int,
        baseline: int,
        size: int,
        colour: Colour,
        *,
        weight: Weight = "regular",
        side: Literal["left", "right"] = "left",
    ) -> None:
        """Paint a text that begins or ends at `x`."""
        if text:
            mask, ascent = shape(text, size, weight)
            self._image.paste(colour, (x if side == "left" else x - mask.width, baseline - ascent), mask)

    def bar(self, x: int, y: int, width: int, height: int, value: float, colour: Colour) -> None:
        """Paint a bar, filled from the left to `value`, from 0 to 1."""
        filled = round(width * min(1.0, max(0.0, value)))
        self._image.paste(_TEXT, (x, y), _even(width, height, _TRACK))
        self._image.paste(colour, (x, y, x + filled, y + height))

    def close(self) -> None:
        """Write the box into the image."""
        self._place[:] = np.asarray(self._image)


@lru_cache(maxsize=64)
def _even(width: int, height: int, opacity: float) -> Image.Image:
    return Image.new("L", (width, height), round(255 * opacity))


@lru_cache(maxsize=64)
def _rounded(width: int, height: int, radius: int) -> Image.Image:
    """Return the opacity of a box with smooth corners."""
    fine = 4
    corner = Image.new("L", (2 * radius * fine, 2 * radius * fine))
    ImageDraw.Draw(corner).ellipse((0, 0, corner.width - 1, corner.height - 1), fill=round(255 * _OPACITY))
    corner = corner.resize((2 * radius, 2 * radius), Image.Resampling.BOX)
    mask = Image.new("L", (width, height), round(255 * _OPACITY))
    if min(width, height) >= 2 * radius:
        for x, from_x in ((0, 0), (width - radius, radius)):
            for y, from_y in ((0, 0), (height - radius, radius)):
                mask.paste(corner.crop((from_x, from_y, from_x + radius, from_y + radius)), (x, y))
    return mask


def _cap(size: int) -> int:
    """Return the height of a capital letter or a digit of DejaVu Sans."""
    return round(0.73 * size)


def _draw_list(image: npt.NDArray[np.uint8], layout: _Layout, caption: Caption) -> None:
    """Draw label and confidence, and below them a bar for each of the most probable classes."""
    pitch, first = round(1.5 * layout.text), round(1.15 * layout.text)
    head = 2 * layout.padding + _cap(layout.heading)
    room = int((SHARE * layout.height - head - first + pitch) / pitch)
    rows = caption.top[: max(0, min(MOST_BARS, room))]
    height = head + (first + _cap(layout.small) + (len(rows) - 1) * pitch if rows else 0)
    width, padding = layout.card_width, layout.padding
    box = _card(image, layout, layout.height - layout.margin - height, height)
    _write_heading(box, layout, caption, padding + _cap(layout.heading))

    values = measure(confidence_text(1.0), layout.small)  # the widest
    gap = round(0.8 * layout.text)
    names = round(0.45 * (width - 2 * padding))
    thickness = max(3, round(0.42 * layout.text))
    start = padding + names + gap
    length = width - padding - values - gap - start
    baseline = padding + _cap(layout.heading) + first + _cap(layout.small)
    for name, value in rows:
        chosen = name == caption.label
        box.write(shorten(name, names, layout.small), padding, baseline, layout.small, _TEXT if chosen else _QUIET)
        middle = baseline - _cap(layout.small) // 2
        box.bar(start, middle - thickness // 2, length, thickness, value, _ACCENT if chosen else _OTHER)
        colour = _TEXT if chosen else _QUIET
        box.write(confidence_text(value), width - padding, baseline, layout.small, colour, side="right")
        baseline += pitch
    box.close()


def _draw_line(image: npt.NDArray[np.uint8], layout: _Layout, caption: Caption) -> None:
    """Draw label and confidence over one bar, as wide as the frame."""
    height, padding = _line_height(layout), layout.padding
    top = layout.height - layout.margin - height
    if top < 0 or layout.card_width <= 2 * padding:
        return
    box = _card(image, layout, top, height)
    _write_heading(box, layout, caption, padding + _cap(layout.heading))
    value = caption.confidence
    if value is None:
        value = caption.top[0][1] if caption.top else 0.0
    colour = _OTHER if caption.label is None else _ACCENT
    thickness = _line_bar(layout)
    box.bar(padding, height - padding - thickness, layout.card_width - 2 * padding, thickness, value, colour)
    box.close()


def _line_bar(layout: _Layout) -> int:
    return max(2, round(0.3 * layout.text))


def _line_height(layout: _Layout) -> int:
    return 2 * layout.padding + _cap(layout.heading) + round(0.5 * layout.text) + _line_bar(layout)


def _write_heading(box: _Box, layout: _Layout, caption: Caption, baseline: int) -> None:
    padding, size = layout.padding, layout.heading
    right = layout.card_width - padding
    room = right - padding
    if caption.confidence is not None:
        value = confidence_text(caption.confidence)
        gap = round(0.7 * layout.text)
        taken = measure(value, size) + gap
        # Otherwise only the label fits, and the bar shows the confidence: on all frames of a video, or on none.
        if room > 3 * (measure("0.00", size) + gap):
            box.write(value, right, baseline, size, _TEXT, side="right")
            room -= taken
    if caption.label is None:
        text = NONE if measure(NONE, size) <= room else "none"
        box.write(shorten(text, room, size), padding, baseline, size, _QUIET)
        return
    label = one_line(caption.label)
    if measure(label, size, "bold") > room:  # a long label gets a smaller font before it is shortened
        size = min(size, layout.text)
    box.write(shorten(label, room, size, "bold"), padding, baseline, size, _TEXT, weight="bold")


def _draw_clock(image: npt.NDArray[np.uint8], layout: _Layout, caption: Caption) -> int:
    """Draw the time, and the duration if it fits; return the left edge of the box."""
    texts = [style.clock_text(caption.time)]
    if caption.duration is not None:
        texts.insert(0, f"{texts[0]} / {style.clock_text(caption.duration)}")
    padding = round(0.65 * layout.text)
    for text in texts:
        width = measure(text, layout.small) + 2 * padding
        left = layout.width - layout.margin - width
        if left >= layout.margin:
            _write_pill(image, layout, left, width, text, _TEXT)
            return left
    return layout.width


def _draw_notes(image: npt.NDArray[np.uint8], layout: _Layout, text: str, end: int) -> None:
    """Draw one line in the upper left corner, up to the time."""
    padding = round(0.65 * layout.text)
    text = shorten(text, end - 2 * layout.margin - 2 * padding, layout.small)
    if text:
        _write_pill(image, layout, layout.margin, measure(text, layout.small) + 2 * padding, text, _QUIET)


def _write_pill(
    image: npt.NDArray[np.uint8], layout: _Layout, left: int, width: int, text: str, colour: Colour
) -> None:
    height = layout.clock_height
    box = _Box(image, left, layout.margin, width, height, radius=round(0.4 * layout.text))
    box.write(text, round(0.65 * layout.text), (height + _cap(layout.small)) // 2, layout.small, colour)
    box.close()


def _card(image: npt.NDArray[np.uint8], layout: _Layout, top: int, height: int) -> _Box:
    return _Box(image, layout.margin, top, layout.card_width, height, radius=round(0.4 * layout.text))
