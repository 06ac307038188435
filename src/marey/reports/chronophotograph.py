"""All instants of a clip on one plate, as Étienne-Jules Marey photographed them, and sheets of frames.

The order in time becomes an order in space: where the figure moves along, its instants stand side by side; where
it moves on the spot, the limbs fan out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from marey.errors import UsageError
from marey.reports.text_rendering import measure, one_line, open_font, shorten

Picture = npt.NDArray[np.uint8]
"""RGB `(H, W, 3)`."""
Plane = npt.NDArray[np.float32]

Order = Literal["strongest", "latest"]
"""What is seen where instants overlap: the one that differs most from the background, or the later one."""

INSTANTS = 14
BACKGROUND_FRAMES = 48
SHAKE = 0.04
"""Largest shift of the camera that is made good, as a share of the frame's height."""

PAPER = (250, 248, 243)
INK = (38, 36, 34)


def chronophotograph(frames: torch.Tensor, *, instants: int | None = INSTANTS, order: Order = "latest") -> Picture:
    """All that moves in a clip, on one plate.

    The background is the median of the frames in time, after small shifts of the camera are made good. An instant
    shows where it differs from the background by more than the noise.

    Args:
        frames: uint8 `(T, 3, H, W)`, RGB.
        instants: how many to expose, evenly spaced; all if None. The background comes from the whole clip.
        order: what is seen where instants overlap.

    Returns:
        uint8 `(H, W, 3)`.

    Raises:
        UsageError: frames of another kind, or fewer than one instant.
    """
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3 or len(frames) == 0:
        raise UsageError(f"frames must be uint8 (T, 3, H, W), not {frames.dtype} {tuple(frames.shape)}")
    if instants is not None and instants < 1:
        raise UsageError(f"instants must be 1 or more, not {instants}")
    if order not in ("strongest", "latest"):
        raise UsageError(f"order must be 'strongest' or 'latest', not '{order}'")
    clip = frames.permute(0, 2, 3, 1).cpu().numpy()
    chosen = clip[_spread(len(clip), instants or len(clip))]
    sample = clip[_spread(len(clip), BACKGROUND_FRAMES)]
    background = np.median(sample, axis=0).astype(np.float32)
    sample, chosen = _steady(sample, background), _steady(chosen, background)
    background = np.median(sample, axis=0).astype(np.float32)

    differences = [_difference(frame, background) for frame in chosen]
    # Half of all pixels do not move: their difference is the noise.
    low = max(10.0, 4.0 * float(np.median(differences)))
    plate, strongest = background.copy(), np.zeros(background.shape[:2], dtype=np.float32)
    for frame, difference in zip(chosen, differences, strict=True):
        cover = _cover(difference, low)[..., None]
        # A pixel on the outline is a mixture: its share of the background gives way to what is on the plate.
        over = plate + (cover > 0) * (frame - background) - cover * (plate - background)
        if order == "strongest":
            over = np.where((difference > strongest)[..., None], over, plate)
            strongest = np.maximum(strongest, difference)
        plate = np.clip(over, 0, 255)
    result: Picture = np.clip(np.rint(plate), 0, 255).astype(np.uint8)
    return result


def contact_sheet(rows: Sequence[tuple[str, Sequence[Picture]]], *, title: str = "", scale: int = 1) -> Picture:
    """Labelled rows of frames on paper.

    Args:
        rows: a label and its frames `(H, W, 3)` uint8, per row; all frames of one size.
        title: a line over the sheet.
        scale: whole-number enlargement of the frames.

    Returns:
        uint8 `(H', W', 3)`.

    Raises:
        UsageError: no rows, or frames of different sizes.
    """
    rows = [(one_line(label), frames) for label, frames in rows]
    height, width = _common_size([frame for _, frames in rows for frame in frames])
    height, width = height * scale, width * scale
    text = max(13, height // 8)
    gap, edge = max(6, width // 24), max(16, width // 8)
    label_width = max(measure(label, text) for label, _ in rows) + 2 * gap
    top = edge + (2 * text if title else 0)
    columns = max(len(frames) for _, frames in rows)
    size = (2 * edge + label_width + columns * (width + gap) - gap, top + edge + len(rows) * (height + gap) - gap)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((edge, edge), title, fill=INK, font=open_font(title, round(text * 1.25)), anchor="lt")
    for row, (label, frames) in enumerate(rows):
        y = top + row * (height + gap)
        pen.text((edge, y + height // 2), label, fill=INK, font=open_font(label, text), anchor="lm")
        for column, frame in enumerate(frames):
            _mount(sheet, frame, (edge + label_width + column * (width + gap), y), scale)
    return np.asarray(sheet)


def plate(pictures: Sequence[tuple[str, Picture]], *, columns: int = 3, scale: int = 1) -> Picture:
    """Pictures in a grid on paper, each with its caption below.

    Args:
        pictures: a caption and a picture `(H, W, 3)` uint8 each; all of one size.
        columns: of the grid.
        scale: whole-number enlargement of the pictures.

    Returns:
        uint8 `(H', W', 3)`.

    Raises:
        UsageError: no pictures, or pictures of different sizes.
    """
    height, width = _common_size([picture for _, picture in pictures])
    height, width = height * scale, width * scale
    columns = max(1, min(columns, len(pictures)))
    lines = -(-len(pictures) // columns)
    text = max(13, height // 14)
    gap, edge, foot = max(10, width // 20), max(16, width // 12), round(2.4 * text)
    size = (2 * edge + columns * (width + gap) - gap, 2 * edge + lines * (height + foot + gap) - gap)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, (caption, picture) in enumerate(pictures):
        x = edge + index % columns * (width + gap)
        y = edge + index // columns * (height + foot + gap)
        _mount(sheet, picture, (x, y), scale)
        line = shorten(caption, width + gap - text, text)
        pen.text((x + width // 2, y + height + foot // 2), line, fill=INK, font=open_font(line, text), anchor="mm")
    return np.asarray(sheet)


def _spread(count: int, wanted: int) -> npt.NDArray[np.int64]:
    """At most `wanted` indices of `count`, from the first to the last."""
    return np.unique(np.rint(np.linspace(0, count - 1, min(count, wanted))).astype(np.int64))


def _difference(frame: npt.NDArray[np.float32], background: npt.NDArray[np.float32]) -> Plane:
    """How far each pixel is from the background, a little smoothed against noise; 0 to 255."""
    distance = np.abs(frame - background).max(axis=2)
    result: Plane = 0.5 * distance + 0.5 * _mean(distance)
    return result


def _cover(difference: Plane, low: float) -> Plane:
    """The share of each pixel that a figure covers, from 0 to 1."""
    # A body that sways leaves thin lines along its outline: what is thinner than a limb is not shown.
    reach = max(1, round(difference.shape[0] / 130))
    body = _least(difference, reach) > low
    figure = (difference > low) & (_most(body.astype(np.float32), reach + 1) > 0)
    share = difference / np.maximum(_most(difference, 1), 1e-6)
    inside = _least(figure.astype(np.float32), 1) > 0
    result: Plane = np.where(inside, 1.0, share * figure).astype(np.float32)
    return result


def _least(plane: Plane, reach: int) -> Plane:
    return -_most(-plane, reach)


def _most(plane: Plane, reach: int) -> Plane:
    """The largest value within so many rows and columns of each pixel."""
    height, width = plane.shape
    padded = np.pad(plane, reach, mode="edge")
    columns = np.max([padded[:, step : step + width] for step in range(2 * reach + 1)], axis=0)
    result: Plane = np.max([columns[step : step + height] for step in range(2 * reach + 1)], axis=0)
    return result


def _mean(plane: Plane) -> Plane:
    """The mean over each pixel and its eight neighbours."""
    padded = np.pad(plane, 1, mode="edge")
    columns = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    result: Plane = (columns[:-2] + columns[1:-1] + columns[2:]) / 9
    return result


def _steady(frames: npt.NDArray[np.uint8], background: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The frames moved by whole pixels to where they match the background best."""
    reach = max(1, round(SHAKE * background.shape[0]))
    target = np.fft.rfft2(_edges(background))
    result = np.empty(frames.shape, dtype=np.float32)
    for index, frame in enumerate(frames):
        result[index] = frame
        match = np.fft.irfft2(np.conj(np.fft.rfft2(_edges(result[index]))) * target, s=background.shape[:2])
        # Only shifts within reach: the corners of the circular correlation.
        near = np.roll(match, (reach, reach), axis=(0, 1))[: 2 * reach + 1, : 2 * reach + 1]
        down, right = (int(place) - reach for place in np.unravel_index(int(near.argmax()), near.shape))
        if down or right:
            moved = _shift(result[index], down, right)
            if np.abs(moved - background).mean() < 0.98 * np.abs(result[index] - background).mean():
                result[index] = moved
    return result


def _edges(picture: npt.NDArray[np.float32]) -> Plane:
    """Strength of the picture's gradient, which does not mind the light; the frame's border is left out."""
    grey = picture.mean(axis=2)
    down, right = np.gradient(grey)
    strength = np.minimum(np.hypot(down, right), 24.0)
    strength -= strength.mean()
    strength[[0, -1]] = 0
    strength[:, [0, -1]] = 0
    result: Plane = strength.astype(np.float32)
    return result


def _shift(picture: npt.NDArray[np.float32], down: int, right: int) -> npt.NDArray[np.float32]:
    height, width = picture.shape[:2]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    moved: npt.NDArray[np.float32] = picture[rows][:, columns]
    return moved


def _common_size(pictures: Sequence[Picture]) -> tuple[int, int]:
    sizes = {picture.shape for picture in pictures}
    if len(sizes) != 1:
        found = ", ".join(str(size) for size in sorted(sizes)) or "none"
        raise UsageError(f"pictures of one size (H, W, 3) are needed on a sheet, not {found}")
    height, width, _ = sizes.pop()
    return height, width


def _mount(sheet: Image.Image, picture: Picture, corner: tuple[int, int], scale: int) -> None:
    image = Image.fromarray(np.ascontiguousarray(picture))
    if scale != 1:
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)
    sheet.paste(image, corner)
