"""Features of clips for `marey extract`: by the threads of this process, or by a cluster, one result a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from marey.cluster import Connection, Share, check_on, connect
from marey.cluster.extraction import Extraction, extract_on_cluster
from marey.cluster.model_files import ModelFiles
from marey.commands.steps.prepare import DEVICES
from marey.encoders import (
    Contract,
    Encoder,
    FeatureCache,
    FrameOrder,
    Progress,
    Reading,
    iterate_views,
    result_keys,
)
from marey.errors import UnknownNameError, UsageError, VideoError
from marey.progress import Reporter

ClipResult = tuple[int, tuple[str, ...] | VideoError]
"""The place of a clip, and the names of its features in the cache or why there are none."""

OnProgress = Callable[[Progress], None]


@dataclass
class Here:
    """The threads of this process.

    Attributes:
        encoder: loaded.
        contract: with it.
        cache: of features.
        order: of the frames.
    """

    encoder: Encoder
    contract: Contract
    cache: FeatureCache
    order: FrameOrder = "given"

    @property
    def images(self) -> int:
        """Number of images that were encoded."""
        return self.encoder.images

    def results(self, readings: Sequence[Reading], on_progress: OnProgress) -> Iterator[ClipResult]:
        """Yield the result of each clip, in their order."""
        found = iterate_views(
            readings, self.encoder, self.contract, cache=self.cache, order=self.order, on_progress=on_progress
        )
        for place, (reading, result) in enumerate(zip(readings, found, strict=True)):
            try:
                keys = result_keys(reading, result, self.encoder, self.contract, self.cache, order=self.order)
            except VideoError as error:
                yield place, error
                continue
            if self.cache.fault is not None:  # elsewhere it costs speed; here the cache is the result
                raise self.cache.fault
            yield place, tuple(keys.values())


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as the user names it.

    Attributes:
        on: see `marey.cluster.connect`.
        actors: their number; None for as many as fit.
        gpu_share: share of a GPU that each takes; None for one.
        device: "auto", "cpu" or "cuda", as named.
        engine: as named.
    """

    on: str
    actors: int | None = None
    gpu_share: float | None = None
    device: str = "auto"
    engine: str | None = None

    @classmethod
    def of(
        cls, on: str | None, actors: int | None, gpu_share: float | None, device: str, engine: str | None
    ) -> Cluster | None:
        """Return the cluster that options name; None without `on`.

        Raises:
            UsageError: a value that cannot be, or Ray is not installed.
        """
        if on is None:
            if actors is not None or gpu_share is not None:
                raise UsageError("--actors and --gpu-share are for a cluster: add --on ray, or leave them out")
            return None
        check_on(on)
        found = cls(on, actors, gpu_share, device, engine)
        found._check()
        return found

    def _check(self) -> None:
        if self.actors is not None and self.actors < 1:
            raise UsageError(f"actors={self.actors}: at least one has to do the work")
        if self.gpu_share is not None and not 0.05 <= self.gpu_share <= 1:
            raise UsageError(f"gpu_share={self.gpu_share:g}: the share of a GPU lies from 0.05 to 1")
        if self.device not in DEVICES:
            raise UnknownNameError("device", self.device, DEVICES)

    def share(self, connection: Connection) -> tuple[str, Share]:
        """Return the device of the actors, and what each takes of its node: a core, or a GPU with its cores.

        Raises:
            UsageError: a GPU is asked for, and no node has one.
        """
        nodes = connection.nodes()
        with_gpu = [node for node in nodes if node.gpus]
        if self.device == "cpu" or (self.device == "auto" and not with_gpu):
            if self.gpu_share is not None:
                raise UsageError(f"gpu_share={self.gpu_share:g} is for GPUs, and the actors encode on CPUs")
            return "cpu", Share()
        if not with_gpu:
            raise UsageError("no node of the cluster has a GPU: `ray start --num-gpus N` starts one; or --device cpu")
        share = self.gpu_share or 1.0
        cores = min(node.cpus * share / node.gpus for node in with_gpu)
        return "cuda", Share(max(1, int(cores)), share)


@dataclass
class There:
    """The actors of a cluster.

    Attributes:
        cluster: as the user names it.
        encoder: loaded here, which tells what the actors have to agree with.
        contract: with it.
        cache: of features.
        reporter: of remarks.
        order: of the frames.
        model: whose encoder it is, where it belongs to one.
        images: number of images that were encoded.
    """

    cluster: Cluster
    encoder: Encoder
    contract: Contract
    cache: FeatureCache
    reporter: Reporter
    order: FrameOrder = "given"
    model: ModelFiles | None = None
    images: int = field(default=0, init=False)

    def results(self, readings: Sequence[Reading], on_progress: OnProgress) -> Iterator[ClipResult]:
        """Yield the result of each clip, as they come."""
        if not readings:
            return
        images, cached, failed = 0.0, 0, 0
        with connect(self.cluster.on) as connection:
            device, share = self.cluster.share(connection)
            job = Extraction.of(
                self.encoder,
                self.contract,
                cache=self.cache,
                device=device,
                engine=self.cluster.engine,
                order=self.order,
                model=self.model,
            )
            found = extract_on_cluster(
                connection,
                readings,
                job,
                cache=self.cache,
                share=share,
                actors=self.cluster.actors,
                say=self.reporter.say,
            )
            with closing(found):  # ended before the connection is
                for done, (place, result) in enumerate(found, start=1):
                    if isinstance(result, VideoError):
                        failed += 1
                    else:
                        cached += result.cached
                        images += result.images
                        self.images = round(images)
                    on_progress(Progress(done, len(readings), cached, failed))
                    yield place, result if isinstance(result, VideoError) else result.keys
