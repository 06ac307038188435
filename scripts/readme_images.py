"""Draw the images of the README: python scripts/readme_images.py FOLDER."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from marey.reports.chronophotograph import chronophotograph, image_grid
from marey.reports.text_rendering import measure, open_font
from marey.synthetic import ACTIONS, FRAME_RATE, PASSES, SCENARIOS, draw

EVERY = 0.28  # seconds between two exposures of a walker: the faster the gait, the wider they stand
ACTOR = 6
PAPER, INK = (250, 248, 243), (38, 36, 34)


def main(folder: Path) -> None:
    """Write chronophotographs.jpg and contact_sheet.jpg."""
    folder.mkdir(parents=True, exist_ok=True)
    images = [(caption(action), photograph(draw(action, actor=ACTOR, scale=3), action)) for action in ACTIONS]
    Image.fromarray(image_grid(images, columns=3)).save(folder / "chronophotographs.jpg", quality=90)
    rows = []
    for number, action in enumerate(ACTIONS):
        scenario = SCENARIOS[number % len(SCENARIOS)]
        frames = draw(action, actor=15 + number, scenario=scenario)
        rows.append((f"{scenario}  {action}", [frame.permute(1, 2, 0).numpy() for frame in frames[4:100:12]]))
    Image.fromarray(contact_sheet(rows)).save(folder / "contact_sheet.jpg", quality=90)


def caption(action: str) -> str:
    """Return the caption of a chronophotograph."""
    return f"{action}: exposed every {EVERY:g} s" if action in PASSES else action


def photograph(frames: Tensor, action: str) -> np.ndarray:
    """Return a chronophotograph of one pass of a walker, or of less than a second of a gesture."""
    if action not in PASSES:
        return chronophotograph(frames[:22], exposures=8)
    background = frames.float().median(0).values.to(torch.uint8)
    first, end = longest_pass(frames, background)
    exposed = frames[np.rint(np.arange(first, end, EVERY * FRAME_RATE)).astype(int)]
    # As many empty frames as exposures: the median over time is then the background.
    return chronophotograph(torch.cat([background.expand(len(exposed) + 1, -1, -1, -1), exposed]), exposures=None)


def longest_pass(frames: Tensor, background: Tensor) -> tuple[int, int]:
    """Return first frame and end of the longest time in which someone is visible."""
    change = (frames.float().mean(1) - background.float().mean(0)).abs() > 25
    there = [*(change.float().mean((1, 2)) > 0.012).tolist(), False]
    best, start = (0, 0), None
    for number, inside in enumerate(there):
        if inside and start is None:
            start = number
        elif not inside and start is not None:
            best, start = max(best, (start, number), key=lambda span: span[1] - span[0]), None
    return best


def contact_sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]]) -> np.ndarray:
    """Return labelled rows of frames, uint8 `(H, W, 3)`, all of one size, as one image."""
    height, width = rows[0][1][0].shape[:2]
    text = max(13, height // 8)
    gap, edge = max(6, width // 24), max(16, width // 8)
    left = edge + max(measure(label, text) for label, _ in rows) + 2 * gap
    columns = max(len(frames) for _, frames in rows)
    sheet = Image.new(
        "RGB", (left + columns * (width + gap) - gap + edge, 2 * edge + len(rows) * (height + gap) - gap), PAPER
    )
    pen = ImageDraw.Draw(sheet)
    for row, (label, frames) in enumerate(rows):
        y = edge + row * (height + gap)
        pen.text((edge, y + height // 2), label, fill=INK, font=open_font(label, text), anchor="lm")
        for column, frame in enumerate(frames):
            sheet.paste(Image.fromarray(np.ascontiguousarray(frame)), (left + column * (width + gap), y))
    return np.asarray(sheet)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
