"""The time at which the last frame of a video is no longer shown, from the times of its packets."""

from __future__ import annotations

from typing import Final

from marey.video.source import Source

_DECODING_LENGTHS: Final = "mov,"  # MP4 and QuickTime state how long until the next packet, not the next frame
_ORDINARY: Final = 2.0  # frame periods: a longer packet is followed by a pause, or one is inside the reordered frames


class VideoEnd:
    """The end of the frames whose packets it was told of: the latest time of a frame, and its length.

    Where frames are reordered, a pause is stated as the length of the packet that is decoded before it, and that may
    not be the frame shown before it:

        shown at    0    1    2    9
        decoded     0    9    1    2      the length of 9 is the time until 1 is decoded

    So such a length is used of the frame that is decoded last, and of others up to two frame periods.

    Args:
        source: the file.
    """

    def __init__(self, source: Source) -> None:
        self._reordered = source.container.format.name.startswith(_DECODING_LENGTHS)
        self._period = source.frame_period
        self._latest: float | None = None
        self._reached: float | None = None
        self._stated: tuple[float, float] | None = None

    def add(self, time: float, length: float) -> None:
        """Take the time and the stated length, 0 where none is stated, in seconds, of the packet decoded next."""
        ordinary = self._ordinary(length)
        self._reached = max(self._reached or 0.0, time + ordinary)
        self._latest = time if self._latest is None else max(self._latest, time)
        self._stated = time, length or self._period

    def length(self, time: float | None, length: float) -> float:
        """Return the seconds that the frame at a time is shown if no other follows, from its stated length."""
        if self._stated is not None and self._stated[0] == time:
            return length or self._period
        return self._ordinary(length)

    @property
    def end(self) -> float | None:
        """Seconds; None without packets."""
        if self._stated is None or self._reached is None:
            return None
        time, length = self._stated
        return max(self._reached, time + length) if time == self._latest else self._reached

    def _ordinary(self, length: float) -> float:
        if not length or (self._reordered and length > _ORDINARY * self._period):
            return self._period
        return length
