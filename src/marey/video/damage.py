"""Which frames a damaged one has spoilt: also those that were decoded from it and are shown before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from av.video.frame import VideoFrame

from marey.video.source import VideoPacket

_MANY: Final = 64  # packets that gave no frame, before they are forgotten


class _Held:
    """A frame that waits, its turn in the order of decoding, and the latest timestamp that was decoded before it."""

    __slots__ = ("image", "intact", "latest", "turn")

    def __init__(self, image: VideoFrame, turn: int, latest: int, intact: bool) -> None:
        self.image, self.turn, self.latest, self.intact = image, turn, latest, intact


class DamageWatch:
    """Hands out the frames that are asked for, each once all that was decoded before it has come out.

        decoded     I0  P4  B2  b1  b3
        shown       I0  b1  B2  b3  P4      b1 waits for P4: if that is damaged, so are B2, b1 and b3

    Args:
        intact: whether frames before the first key frame can be whole; after a jump into the file they cannot.
    """

    def __init__(self, *, intact: bool) -> None:
        self._turn = 0
        self._latest = -1 << 63
        self._fed: dict[int, tuple[int, int, bool]] = {}
        self._held: deque[_Held] = deque()
        self._intact = intact

    def feed(self, packet: VideoPacket, asked: bool) -> None:
        """Note that a packet is decoded now, and whether its frame is asked for."""
        self._turn += 1
        stamp = packet.pts
        if stamp is not None:
            self._latest = max(self._latest, stamp)
            self._fed[stamp] = self._turn, self._latest, asked

    def take(self, image: VideoFrame) -> Iterable[tuple[VideoFrame, bool]]:
        """The frames that may be handed out, now that the decoder has given this one, and whether each is intact."""
        stamp = image.pts
        if stamp is None:  # of such a file, the order of decoding is not known
            turn, stamp, latest, asked = self._turn, -1, -1, True
        else:
            turn, latest, asked = self._fed.pop(stamp, (self._turn, stamp, True))
        corrupt = image.is_corrupt
        if corrupt:
            for other in self._held:
                other.intact = other.intact and other.turn < turn
        self._intact = not corrupt and (self._intact or image.key_frame)
        if asked:
            self._held.append(_Held(image, turn, latest, self._intact))
        if len(self._fed) > _MANY:
            self._fed = {other: fed for other, fed in self._fed.items() if other > stamp}
        return self._ready(stamp) if self._held else ()

    def rest(self) -> Sequence[tuple[VideoFrame, bool]]:
        """Those that are left when nothing more is decoded."""
        return [(held.image, held.intact) for held in self._held]

    def _ready(self, stamp: int) -> Sequence[tuple[VideoFrame, bool]]:
        ready = []
        while self._held and self._held[0].latest <= stamp:
            held = self._held.popleft()
            ready.append((held.image, held.intact))
        return ready
