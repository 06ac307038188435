"""The limits of a service, and the layout of its threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from marey.cores import usable_cores
from marey.errors import UnknownNameError, UsageError
from marey.video import STRANGERS_MEMORY

Urls = Literal["refuse", "public", "local"]
"""URLs accepted in place of an upload: none, public ones, or any, also of the local network."""

Share = Literal["clip", "stream"]
"""The unit of work of an encoding thread: a clip with all its streams, or one stream."""

_GPU_BATCH: Final = 16  # clips
_GPU_LINGER: Final = 0.005  # s


@dataclass(frozen=True, slots=True)
class Layout:
    """The threads of a service; `benchmarks/service.py --layouts` compares some.

    An encoding thread takes its part of the queue: with two threads and three clips waiting, it takes two.

    Attributes:
        decoders: threads that decode.
        encoders: threads that encode.
        threads: PyTorch threads per encoding thread.
        batch: largest number of units encoded together.
        batch_wait: seconds that a batch waits for clips that are being decoded.
        share: the unit of a thread: a whole "clip", or one "stream" of it, which gives a single caller several cores.
    """

    decoders: int
    encoders: int
    threads: int
    batch: int
    batch_wait: float
    share: Share = "clip"

    def __post_init__(self) -> None:
        for name in ("decoders", "encoders", "threads", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)}: at least one is needed")
        if self.share not in get_args(Share):
            raise UnknownNameError("share", self.share, get_args(Share))


def default_layout(device: str) -> Layout:
    """Return the layout for "cpu" or "cuda".

    On a CPU each core encodes its own streams with one PyTorch thread: a convolution over several cores spends time on
    synchronisation. Whole clips have the same throughput, and 1.6 times the latency for a single caller. A GPU has one
    thread that feeds it whole batches.
    """
    cores = usable_cores()
    if device == "cpu":
        return Layout(decoders=cores, encoders=cores, threads=1, batch=2, batch_wait=0.0, share="stream")
    return Layout(decoders=cores, encoders=1, threads=1, batch=_GPU_BATCH, batch_wait=_GPU_LINGER)


@dataclass(frozen=True, slots=True)
class Settings:
    """The limits of a service.

    Attributes:
        token: the token that callers have to send; None for no token.
        max_upload: bytes of a file.
        max_duration: seconds of a video that is predicted at once.
        max_job_duration: seconds of a video that is a job.
        max_pixels: width x height of a frame.
        max_memory: bytes of memory that reading one file may take, in a process of its own.
        timeout: seconds from the end of an upload to its prediction.
        max_waiting: predictions that wait or run; uploads that are not complete do not count.
        max_uploads: uploads in progress, and videos that are fetched.
        max_connections: open connections of one address. Behind a proxy all callers have its address.
        max_jobs: jobs that wait.
        keep: seconds for which an ended job is kept.
        urls: the URLs accepted in place of an upload.
        slowest_upload: lowest average rate of an upload in bytes per second, after its first `upload_grace` seconds.
        upload_grace: seconds.
        longest_pause: longest time without a byte of an upload, in seconds.
    """

    token: str | None = None
    max_upload: int = 512 * 2**20
    max_duration: float = 600.0
    max_job_duration: float = 6 * 3600.0
    max_pixels: int = 8192 * 4320
    max_memory: int = STRANGERS_MEMORY
    timeout: float = 120.0
    max_waiting: int = 64
    max_uploads: int = 256
    max_connections: int = 128
    max_jobs: int = 16
    keep: float = 24 * 3600.0
    urls: Urls = "refuse"
    slowest_upload: float = 32_000.0
    upload_grace: float = 20.0
    longest_pause: float = 20.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and not value > 0:
                raise UsageError(f"{name} has to be more than 0, not {value}")
        if self.token is not None and not self.token.strip():
            raise UsageError("the token is empty: anyone could guess it; set another, or none")
        if self.urls not in get_args(Urls):
            raise UnknownNameError("choice of urls", self.urls, get_args(Urls))
