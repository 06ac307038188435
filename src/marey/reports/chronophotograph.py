"""Chronophotographs, as Étienne-Jules Marey made them: all phases of a movement in one image; and grids of images.

Order in time becomes order in space: a figure that moves along appears several times, side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from marey.errors import UsageError
from marey.reports.text_rendering import open_font, shorten

Pixels = npt.NDArray[np.uint8]
"""RGB `(H, W, 3)`."""
Plane = npt.NDArray[np.float32]

Order = Literal["strongest", "latest"]
"""Frame on top where exposures overlap: the one that differs most from the background, or the later one."""

EXPOSURES = 14
BACKGROUND_FRAMES = 48
SHAKE = 0.04
"""Largest camera shift that is corrected, as a share of the frame height."""

_PAPER = (250, 248, 243)
_INK = (38, 36, 34)


def chronophotograph(frames: torch.Tensor, *, exposures: int | None = EXPOSURES, order: Order = "latest") -> Pixels:
    """Return all that moves in a clip in one image.

    The background is the median of the frames in time, after small shifts of the camera are corrected. A frame shows
    where it differs from the background by more than the noise.

    Args:
        frames: uint8 RGB `(T, 3, H, W)`.
        exposures: number of frames to expose, evenly spaced; None for all. The background uses the whole clip.
        order: which frame is on top where exposures overlap.

    Returns:
        uint8 `(H, W, 3)`.

    Raises:
        UsageError: frames of another shape or type, or `exposures` less than 1.
    """
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3 or len(frames) == 0:
        raise UsageError(f"frames must be uint8 (T, 3, H, W), not {frames.dtype} {tuple(frames.shape)}")
    if exposures is not None and exposures < 1:
        raise UsageError(f"exposures must be 1 or more, not {exposures}")
    if order not in ("strongest", "latest"):
        raise UsageError(f"order must be 'strongest' or 'latest', not '{order}'")
    clip = frames.permute(0, 2, 3, 1).cpu().numpy()
    chosen = clip[_spread(len(clip), exposures or len(clip))]
    sample = clip[_spread(len(clip), BACKGROUND_FRAMES)]
    background = np.median(sample, axis=0).astype(np.float32)
    sample, chosen = _steady(sample, background), _steady(chosen, background)
    background = np.median(sample, axis=0).astype(np.float32)

    differences = [_difference(frame, background) for frame in chosen]
    # At least half of all pixels do not move: their median difference is the noise.
    low = max(10.0, 4.0 * float(np.median(differences)))
    image, strongest = background.copy(), np.zeros(background.shape[:2], dtype=np.float32)
    for frame, difference in zip(chosen, differences, strict=True):
        cover = _cover(difference, low)[..., None]
        # A pixel on the outline is a mixture: its share of the background is replaced by the image below.
        over = image + (cover > 0) * (frame - background) - cover * (image - background)
        if order == "strongest":
            over = np.where((difference > strongest)[..., None], over, image)
            strongest = np.maximum(strongest, difference)
        image = np.clip(over, 0, 255)
    result: Pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return result


def image_grid(images: Sequence[tuple[str, Pixels]], *, columns: int = 3, scale: int = 1) -> Pixels:
    """Return images in a grid, each with its caption below.

    Args:
        images: caption and image, uint8 `(H, W, 3)`; all of one size.
        columns: of the grid.
        scale: whole-number enlargement of the images.

    Returns:
        uint8 `(H', W', 3)`.

    Raises:
        UsageError: no images, or images of different sizes.
    """
    sizes = {image.shape for _, image in images}
    if len(sizes) != 1:
        found = ", ".join(str(size) for size in sorted(sizes)) or "none"
        raise UsageError(f"an image grid needs images of one size (H, W, 3), not {found}")
    height, width, _ = sizes.pop()
    height, width = height * scale, width * scale
    columns = max(1, min(columns, len(images)))
    lines = -(-len(images) // columns)
    text = max(13, height // 14)
    gap, edge, foot = max(10, width // 20), max(16, width // 12), round(2.4 * text)
    size = (2 * edge + columns * (width + gap) - gap, 2 * edge + lines * (height + foot + gap) - gap)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, (caption, image) in enumerate(images):
        x = edge + index % columns * (width + gap)
        y = edge + index // columns * (height + foot + gap)
        _mount(sheet, image, (x, y), scale)
        line = shorten(caption, width + gap - text, text)
        pen.text((x + width // 2, y + height + foot // 2), line, fill=_INK, font=open_font(line, text), anchor="mm")
    return np.asarray(sheet)


def _spread(count: int, number: int) -> npt.NDArray[np.int64]:
    """Return at most `number` evenly spaced indices of `count`, from the first to the last."""
    return np.unique(np.rint(np.linspace(0, count - 1, min(count, number))).astype(np.int64))


def _difference(frame: npt.NDArray[np.float32], background: npt.NDArray[np.float32]) -> Plane:
    """Return the distance of each pixel from the background, slightly smoothed; 0 to 255."""
    distance = np.abs(frame - background).max(axis=2)
    result: Plane = 0.5 * distance + 0.5 * _mean(distance)
    return result


def _cover(difference: Plane, low: float) -> Plane:
    """Return the share of each pixel that a figure covers, from 0 to 1."""
    # A swaying body leaves thin lines along its outline: anything thinner than a limb is removed.
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
    """Return the maximum within `reach` rows and columns of each pixel."""
    height, width = plane.shape
    padded = np.pad(plane, reach, mode="edge")
    columns = np.max([padded[:, step : step + width] for step in range(2 * reach + 1)], axis=0)
    result: Plane = np.max([columns[step : step + height] for step in range(2 * reach + 1)], axis=0)
    return result


def _mean(plane: Plane) -> Plane:
    """Return the mean over each pixel and its eight neighbours."""
    padded = np.pad(plane, 1, mode="edge")
    columns = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    result: Plane = (columns[:-2] + columns[1:-1] + columns[2:]) / 9
    return result


def _steady(frames: npt.NDArray[np.uint8], background: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the frames shifted by whole pixels to match the background best."""
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


def _edges(image: npt.NDArray[np.float32]) -> Plane:
    """Return the limited strength of the gradient, zero on the border; it hardly depends on the light."""
    grey = image.mean(axis=2)
    down, right = (np.gradient(grey, axis=axis) if grey.shape[axis] > 1 else np.zeros_like(grey) for axis in (0, 1))
    strength = np.minimum(np.hypot(down, right), 24.0)
    strength -= strength.mean()
    strength[[0, -1]] = 0
    strength[:, [0, -1]] = 0
    result: Plane = strength.astype(np.float32)
    return result


def _shift(image: npt.NDArray[np.float32], down: int, right: int) -> npt.NDArray[np.float32]:
    height, width = image.shape[:2]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    moved: npt.NDArray[np.float32] = image[rows][:, columns]
    return moved


def _mount(sheet: Image.Image, pixels: Pixels, corner: tuple[int, int], scale: int) -> None:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if scale != 1:
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)
    sheet.paste(image, corner)
