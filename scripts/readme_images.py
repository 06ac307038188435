"""Draws the pictures of the README: python scripts/pictures.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from marey.reports.chronophotograph import chronophotograph, contact_sheet, plate
from marey.synthetic import ACTIONS, FRAME_RATE, PASSES, SCENARIOS, draw

EVERY = 0.28  # seconds between two exposures of a walker: the faster the gait, the wider they stand
ACTOR = 6


def main(folder: Path) -> None:
    """Write plate.jpg and contact_sheet.jpg."""
    folder.mkdir(parents=True, exist_ok=True)
    plates = [(caption(action), photograph(draw(action, actor=ACTOR, scale=3), action)) for action in ACTIONS]
    Image.fromarray(plate(plates, columns=3)).save(folder / "plate.jpg", quality=90)
    rows = []
    for number, action in enumerate(ACTIONS):
        scenario = SCENARIOS[number % len(SCENARIOS)]
        frames = draw(action, actor=15 + number, scenario=scenario)
        rows.append((f"{scenario}  {action}", [frame.permute(1, 2, 0).numpy() for frame in frames[4:100:12]]))
    Image.fromarray(contact_sheet(rows, scale=1)).save(folder / "contact_sheet.jpg", quality=90)


def caption(action: str) -> str:
    """What stands under a plate."""
    return f"{action}: an instant every {EVERY:g} s" if action in PASSES else action


def photograph(frames: Tensor, action: str) -> np.ndarray:
    """One pass of a walker, or less than a second of a gesture, on one plate."""
    if action not in PASSES:
        return chronophotograph(frames[:22], instants=8)
    background = frames.float().median(0).values.to(torch.uint8)
    first, end = longest_pass(frames, background)
    exposed = frames[np.rint(np.arange(first, end, EVERY * FRAME_RATE)).astype(int)]
    # The empty place as often as the walker: the median over time is then the place.
    return chronophotograph(torch.cat([background.expand(len(exposed) + 1, -1, -1, -1), exposed]), instants=None)


def longest_pass(frames: Tensor, background: Tensor) -> tuple[int, int]:
    """First frame and end of the longest time for which someone is in the picture."""
    change = (frames.float().mean(1) - background.float().mean(0)).abs() > 25
    there = [*(change.float().mean((1, 2)) > 0.012).tolist(), False]
    best, start = (0, 0), None
    for number, inside in enumerate(there):
        if inside and start is None:
            start = number
        elif not inside and start is not None:
            best, start = max(best, (start, number), key=lambda span: span[1] - span[0]), None
    return best


if __name__ == "__main__":
    main(Path(sys.argv[1]))
