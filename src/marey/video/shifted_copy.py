"""Copies of clips that differ from them as video from elsewhere does: darker, smaller, faster, recompressed."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from marey.errors import VideoError
from marey.video.limits import Limits
from marey.video.playback import play
from marey.video.writer import VideoWriter

if TYPE_CHECKING:
    import torch

_CRF: Final = 18  # of copies that are not recompressed: nothing is seen of it


@dataclass(frozen=True, slots=True)
class Shift:
    """Change of a clip.

    Attributes:
        meaning: in words.
        light: factor of all pixel values.
        side: factor of width and height of the content; the frames keep their size.
        speed: factor by which everything is faster.
        every: of so many frames one is kept, and shown for as long as all of them.
        crf: quality of the file, see `VideoWriter`.
    """

    meaning: str
    light: float = 1.0
    side: float = 1.0
    speed: float = 1.0
    every: int = 1
    crf: int = _CRF

    def image(self, pixels: torch.Tensor) -> npt.NDArray[np.uint8]:
        """Return a frame after the shift: uint8 (3, H, W) to (H, W, 3)."""
        import torch
        from torch.nn import functional

        changed = pixels.float() * self.light
        if self.side < 1:
            size = [max(1, round(each * self.side)) for each in pixels.shape[-2:]]
            small = functional.interpolate(changed[None], size=size, mode="area")
            changed = functional.interpolate(small, size=pixels.shape[-2:], mode="bilinear")[0]
        return changed.round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


SHIFTS: Final[dict[str, Shift]] = {
    "darker": Shift("a third of the light", light=1 / 3),
    "smaller": Shift("no more detail than in a third of the width and the height", side=1 / 3),
    "faster": Shift("one and a half times as fast", speed=1.5),
    "frame rate": Shift("half as many frames a second", every=2),
    "recompressed": Shift("H.264 at crf 38", crf=38),
}
"""Name -> shift, in the order of the tables."""


def write_shifted(
    source: str | Path,
    path: str | Path,
    shift: Shift,
    *,
    start: float | None = None,
    end: float | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> None:
    """Write a copy of a span of a video with a shift; a few frames are held in memory.

    Args:
        source: a local file.
        path: the copy, which ends in .mp4 and begins with the span.
        shift: what is changed.
        start: of the span, in seconds; by default that of the file.
        end: of the span, in seconds; by default that of the file.
        limits: of reading.

    Raises:
        VideoError: the source cannot be read to the end of the span, or has no frame in it.
    """
    first, kept = start or 0.0, 0
    writer: VideoWriter | None = None
    with play(source, limits=limits) as playback, ExitStack() as opened:
        for frame in playback:
            if end is not None and frame.time >= end:
                break
            if frame.end <= first:
                continue
            kept += 1
            if (kept - 1) % shift.every:
                continue
            image = shift.image(playback.to_rgb(frame))
            if writer is None:
                rate = min(240.0, max(1.0, playback.frame_rate * shift.speed / shift.every))
                size = (image.shape[0], image.shape[1])
                writer = opened.enter_context(VideoWriter(path, size=size, frame_rate=rate, crf=shift.crf))
            last = frame.end if end is None else min(frame.end, end)
            times = [max(0.0, second - first) / shift.speed for second in (frame.time, last)]
            writer.write(image, time=times[0], end=times[1])
    if writer is None:
        raise VideoError(source, "no_frames", f"no frame is shown from {first:g} s on")
