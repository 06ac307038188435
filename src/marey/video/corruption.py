"""Find the frames that refer to a corrupt frame, also those that are shown before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from av.video.frame import VideoFrame

from marey.video.source import VideoPacket

_MAX_PENDING: Final = 64  # packets without a frame that are remembered


@dataclass(slots=True)
class _Held:
    """A waiting frame, its place in decoding order, and the latest timestamp decoded before it."""

    image: VideoFrame
    place: int
    latest: int
    intact: bool


class CorruptionTracker:
    """Returns requested frames, each after all frames that were decoded before it.

        decoded     I0  P4  B2  b1  b3
        shown       I0  b1  B2  b3  P4      b1 waits for P4: if P4 is corrupt, so are B2, b1 and b3

    Args:
        intact: whether frames before the first key frame can be intact; after a seek they cannot.
    """

    def __init__(self, *, intact: bool) -> None:
        self._place = 0
        self._latest = -1 << 63
        self._pending: dict[int, tuple[int, int, bool]] = {}
        self._held: deque[_Held] = deque()
        self._intact = intact

    def feed(self, packet: VideoPacket, requested: bool) -> None:
        """Note that a packet is decoded next, and whether its frame is requested."""
        self._place += 1
        if packet.pts is not None:
            self._latest = max(self._latest, packet.pts)
            self._pending[packet.pts] = self._place, self._latest, requested

    def receive(self, image: VideoFrame) -> Iterable[tuple[VideoFrame, bool]]:
        """Take a frame from the decoder; return those that are ready, and whether each is intact."""
        pts = image.pts
        if pts is None:  # then the order of decoding is not known
            place, pts, latest, requested = self._place, -1, -1, True
        else:
            place, latest, requested = self._pending.pop(pts, (self._place, pts, True))
        corrupt = image.is_corrupt
        if corrupt:
            for other in self._held:
                other.intact = other.intact and other.place < place
        self._intact = not corrupt and (self._intact or image.key_frame)
        if requested:
            self._held.append(_Held(image, place, latest, self._intact))
        if len(self._pending) > _MAX_PENDING:
            self._pending = {other: kept for other, kept in self._pending.items() if other > pts}
        ready = []
        while self._held and self._held[0].latest <= pts:
            held = self._held.popleft()
            ready.append((held.image, held.intact))
        return ready

    def flush(self) -> Sequence[tuple[VideoFrame, bool]]:
        """Return the remaining frames, after the last packet."""
        return [(held.image, held.intact) for held in self._held]
