"""The clip pipeline on threads: clips of all callers are decoded in parallel and encoded in common batches."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch

from marey.data import Clip
from marey.errors import VideoError
from marey.prediction import Answer, ClipPipeline, Parts, mean_of_answers
from marey.service.metrics import Metrics
from marey.service.models import ServedModel
from marey.service.settings import Layout
from marey.video import Limits, probe

_LOG: Final = logging.getLogger("marey.service")


@dataclass(eq=False, slots=True)
class _Ticket:
    """A clip that a caller waits for, and its features so far.

    Attributes:
        model: the model that was asked for.
        path: the video file.
        future: what the caller waits for.
        missing: parts that are not encoded yet.
        features: of the parts that are.
    """

    model: ServedModel
    path: Path
    future: Future[Answer]
    missing: int = 0
    features: Parts = field(default_factory=dict)

    @property
    def pipeline(self) -> ClipPipeline:
        """The steps that the clip takes."""
        return ClipPipeline(self.model.predictor.model, self.model.encoder)


@dataclass(eq=False, slots=True)
class _Piece:
    """Decoded parts of a ticket that are encoded together, each (T, 3, H, W)."""

    ticket: _Ticket
    parts: Parts

    @property
    def kind(self) -> tuple[int, tuple[int, ...]]:
        """Encoder and shape, in which the pieces of a batch have to agree."""
        return id(self.ticket.model.encoder), tuple(next(iter(self.parts.values())).shape)


class Engine:
    """Threads that decode clips, and threads that encode the decoded clips of several callers as one batch.

        submit -> [waiting] -> decoders -> [decoded, a few] -> encoders, in batches -> the caller's future

    Clips are decoded in the order in which they came. One that cannot be used fails alone, and one whose future is
    cancelled is not decoded. Nothing is kept of a clip that is done.

    Args:
        layout: threads and batches.
        limits: of decoding, each clip.
        max_duration: seconds of a video.
        metrics: count batches and their seconds.
    """

    def __init__(self, layout: Layout, *, limits: Limits, max_duration: float, metrics: Metrics) -> None:
        self._layout = layout
        self._limits = limits
        self._max_duration = max_duration
        self._metrics = metrics
        self._changed = threading.Condition()
        self._waiting: deque[_Ticket] = deque()
        self._decoded: deque[_Piece] = deque()
        self._decoding = 0
        self._closing = False
        self._ahead = layout.encoders * layout.batch + layout.decoders  # pieces: memory is bounded by this
        work = [(self._decode_all, "decode")] * layout.decoders + [(self._encode_all, "encode")] * layout.encoders
        self._threads = [
            threading.Thread(target=target, name=f"marey-{name}-{number}", daemon=True)
            for number, (target, name) in enumerate(work)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, model: ServedModel, path: Path) -> Future[Answer]:
        """Return the future answer of the model for a video file, or a `VideoError`."""
        ticket = _Ticket(model, path, Future())
        with self._changed:
            if self._closing:
                raise RuntimeError("the engine is closed")
            self._waiting.append(ticket)
            self._changed.notify_all()
        return ticket.future

    @property
    def waiting(self) -> int:
        """Clips that are not being decoded yet."""
        return len(self._waiting)

    @property
    def decoded(self) -> int:
        """Pieces that wait for an encoder."""
        return len(self._decoded)

    def close(self) -> None:
        """Finish what was submitted, and end the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _decode_all(self) -> None:
        torch.set_num_threads(1)
        while (ticket := self._next_ticket()) is not None:
            pieces: list[_Piece] = []
            try:
                pieces = self._decode(ticket)
            except Exception as error:  # an error of this clip
                _fail(ticket, error)
            with self._changed:
                self._decoding -= 1
                self._decoded.extend(pieces)
                self._changed.notify_all()

    def _next_ticket(self) -> _Ticket | None:
        """Return the clip to decode next; None when all is done."""
        with self._changed:
            while True:
                while self._waiting and self._waiting[0].future.cancelled():
                    self._waiting.popleft()
                if self._waiting and len(self._decoded) + self._decoding < self._ahead:
                    self._decoding += 1
                    return self._waiting.popleft()
                if self._closing and not self._waiting:
                    return None
                self._changed.wait()

    def _decode(self, ticket: _Ticket) -> list[_Piece]:
        duration = probe(ticket.path, limits=self._limits).duration
        if duration > self._max_duration:
            raise VideoError(
                ticket.path,
                "too_large",
                f"the video lasts {duration:.0f} s, and {self._max_duration:g} are predicted at once; make it a job",
            )
        # The end is known, so that the file is not probed again.
        parts = ticket.pipeline.decode(Clip(ticket.path, end=duration), limits=self._limits)
        ticket.missing = len(parts)
        if self._layout.share == "clip":
            return [_Piece(ticket, parts)]
        return [_Piece(ticket, {part: frames}) for part, frames in parts.items()]

    def _encode_all(self) -> None:
        torch.set_num_threads(self._layout.threads)
        while batch := self._next_batch():
            began = time.perf_counter()
            self._encode(batch)
            self._metrics.encoding.observe(time.perf_counter() - began)
            self._metrics.batches.observe(len({piece.ticket for piece in batch}))

    def _next_batch(self) -> list[_Piece]:
        """Return what one thread encodes next; nothing when all is done."""
        layout = self._layout
        with self._changed:
            while True:
                while self._decoded and self._decoded[0].ticket.future.cancelled():
                    self._decoded.popleft()
                if self._decoded:
                    self._linger()
                    count = min(layout.batch, math.ceil(len(self._decoded) / layout.encoders))
                    batch = self._take(count)
                    if batch:
                        self._changed.notify_all()  # there is room to decode more
                        return batch
                elif self._closing and not self._waiting and not self._decoding:
                    return []
                else:
                    self._changed.wait()

    def _linger(self) -> None:
        """Wait a moment for clips that are about to be decoded."""
        until = time.monotonic() + self._layout.batch_wait
        while (self._decoding or self._waiting) and len(self._decoded) < self._layout.batch:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _take(self, count: int) -> list[_Piece]:
        """Take the pieces at the head of the queue that can be encoded together."""
        batch: list[_Piece] = []
        while self._decoded and len(batch) < count:
            piece = self._decoded[0]
            if batch and piece.kind != batch[0].kind:
                break
            self._decoded.popleft()
            if not piece.ticket.future.cancelled():
                batch.append(piece)
        return batch

    def _encode(self, batch: Sequence[_Piece]) -> None:
        try:
            encoded = batch[0].ticket.pipeline.encode([piece.parts for piece in batch])
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0].ticket, error)
            else:  # one by one: a clip that cannot be encoded fails alone
                for piece in batch:
                    self._encode([piece])
            return
        for piece, features in zip(batch, encoded, strict=True):
            self._finish(piece.ticket, features)

    def _finish(self, ticket: _Ticket, features: Parts) -> None:
        with self._changed:
            ticket.features.update(features)
            ticket.missing -= len(features)
            if ticket.missing:
                return
        try:
            found = mean_of_answers(ticket.pipeline.answers(ticket.features))
        except Exception as error:  # an error of this clip
            _fail(ticket, error)
            return
        with suppress(InvalidStateError):  # the caller has left
            ticket.future.set_result(found)


def _fail(ticket: _Ticket, error: Exception) -> None:
    if not isinstance(error, VideoError):
        _LOG.error("a clip could not be predicted", exc_info=error)
    with suppress(InvalidStateError):  # the caller has left
        ticket.future.set_exception(error)
