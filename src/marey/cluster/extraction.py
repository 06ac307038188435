"""Feature extraction on a cluster: clips go to actors, which decode and encode them; no frame comes back.

An actor that sees the caller's cache folder works in it, as every process of marey does, and only names of features
come back. One that does not see it keeps a cache of its own, and the features come back through Ray.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from marey.atomic import write_atomic
from marey.cluster.connection import Connection
from marey.cluster.model_files import ModelFiles
from marey.cluster.pool import Crashed, Pool, Share
from marey.encoders import (
    Contract,
    Encoder,
    EncoderSpec,
    FeatureCache,
    FrameOrder,
    Progress,
    Reading,
    iterate_views,
    load_encoder,
    result_keys,
)
from marey.errors import Reason, UsageError, VideoError
from marey.video import require_decoder

_TOKENS: Final = "claims"  # a folder of the cache that holds no results

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Extracted:
    """The result of a clip, as an actor gives it.

    Attributes:
        keys: of its features in the cache, in the order of `part_keys`; empty where it cannot be used.
        reason: why it cannot be used; None where it can.
        detail: the reason in words.
        images: that were encoded for it, a share of those of its batch.
        cached: True if nothing had to be encoded.
        features: key -> features, where the actor has another cache folder than the caller.
    """

    keys: tuple[str, ...]
    reason: Reason | None = None
    detail: str = ""
    images: float = 0.0
    cached: bool = False
    features: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Extraction:
    """All that an actor needs to know for making features.

    Attributes:
        contract: how clips become features.
        encoder: the choice of the network.
        device: where it runs.
        engine: what runs it; the caller's own, so that all make the same bytes. None to choose on the node.
        tag: of the caller's encoder, see `Encoder.cache_tag`.
        order: of the frames.
        cache: the caller's cache folder.
        token: name of a file in it: where it is, the folder is the same.
        model: files of the model whose encoder it is, where it belongs to one.
    """

    contract: Contract
    encoder: EncoderSpec
    device: str
    engine: str | None
    tag: str
    order: FrameOrder
    cache: Path
    token: str = ""
    model: ModelFiles | None = None

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        contract: Contract,
        *,
        cache: FeatureCache,
        device: str,
        engine: str | None = None,
        order: FrameOrder = "given",
        model: ModelFiles | None = None,
    ) -> Extraction:
        """Return what makes the features that an encoder of this process makes.

        Args:
            encoder: loaded here.
            contract: with it.
            cache: the folder that is to have the features.
            device: where the actors encode.
            engine: that was asked for, which counts where the actors encode on another device than this process.
            order: of the frames.
            model: whose encoder it is.
        """
        spec = encoder.spec
        if spec.weights not in ("pretrained", "random") and Path(spec.weights).exists():
            spec = spec.model_copy(update={"weights": str(Path(spec.weights).absolute())})
        same = encoder.device.type == device
        chosen = (encoder.engine or None) if same else engine
        return cls(contract, spec, device, chosen, encoder.cache_tag, order, cache.root.absolute(), model=model)

    def start(self) -> ExtractionWork:
        """Load the encoder, in an actor."""
        return ExtractionWork(self)


class ExtractionWork:
    """The work of an actor that makes features."""

    def __init__(self, job: Extraction) -> None:
        self._job = job
        require_decoder(job.contract.sampling.decoder)
        self._encoder = (
            load_encoder(job.encoder, frames=job.contract.sampling.count, device=job.device, engine=job.engine)
            if job.model is None
            else job.model.load().load_encoder(device=job.device, engine=job.engine)
        )
        if self._encoder.hash != job.contract.encoder_hash:
            raise UsageError(
                f"{socket.gethostname()} has other weights of the encoder {job.encoder.name} "
                f"({self._encoder.hash}, and here {job.contract.encoder_hash}): install the same version on all nodes"
            )
        if self._encoder.cache_tag != job.tag:
            raise UsageError(
                f"the engine {self._encoder.engine} on {socket.gethostname()} gives other features than the one here: "
                "name one that agrees everywhere, --engine pytorch"
            )
        self.shared = (job.cache / _TOKENS / job.token).is_file() if job.token else False
        self._cache = FeatureCache(job.cache if self.shared else None)
        if not self.shared and job.contract.gives_images:
            raise UsageError(
                f"{socket.gethostname()} does not see the cache folder {job.cache}, and this recipe trains on frames, "
                "which do not come back through Ray: let MAREY_CACHE name a folder that all nodes see"
            )

    @property
    def note(self) -> str:
        """Where the features come back through Ray."""
        if self.shared:
            return ""
        return f"{socket.gethostname()} does not see the cache folder here: its features come back through Ray"

    def run(self, items: Sequence[Reading]) -> list[Extracted]:
        """Return the result of each clip."""
        job, before = self._job, self._encoder.images
        counts: list[int] = []  # clips of the cache so far, after each clip

        def count(progress: Progress) -> None:
            counts.append(progress.cached)

        found = iterate_views(
            items,
            self._encoder,
            job.contract,
            cache=self._cache,
            order=job.order,
            on_progress=count,
        )
        results = []
        for reading, views in zip(items, found, strict=True):
            cached = counts[-1] > (counts[-2] if len(counts) > 1 else 0)
            try:
                keys = result_keys(reading, views, self._encoder, job.contract, self._cache, order=job.order)
            except VideoError as error:
                results.append(Extracted((), error.reason, error.detail))
                continue
            features = {}
            if not self.shared and not isinstance(views, VideoError):
                features = {key: views[part[0]][part[1]].numpy() for part, key in keys.items()}
            results.append(Extracted(tuple(keys.values()), cached=cached, features=features))
        if self.shared and self._cache.fault is not None:  # it is where the caller looks for the result
            raise self._cache.fault
        share = (self._encoder.images - before) / len(items)
        return [replace(result, images=share) for result in results]


def extract_on_cluster(
    connection: Connection,
    readings: Sequence[Reading],
    job: Extraction,
    *,
    cache: FeatureCache,
    share: Share,
    actors: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Generator[tuple[int, Extracted | VideoError], None, None]:
    """Fill the cache on a cluster, and yield the place of each clip with its result, as they come.

    Args:
        connection: to the cluster.
        readings: clips and their views.
        job: what makes the features.
        cache: of this process: it has them afterwards.
        share: what an actor takes of its node.
        actors: how many; by default as many as fit.
        say: called with remarks for the user.

    Raises:
        UsageError: the cache folder cannot be written to, or what `Pool.run` raises.
        InputError: what `Pool.run` raises.
    """
    if not readings:
        return
    sent = [(replace(clip, path=clip.path.absolute()), views) for clip, views in readings]
    with _token(cache) as token:
        pool: Pool[Reading, Extracted] = Pool(
            connection, partial(Extraction.start, replace(job, token=token)), share=share, actors=actors, say=say
        )
        with closing(pool.run(sent)) as found:  # ended before the connection is
            for place, result in found:
                clip, _ = readings[place]
                if isinstance(result, Crashed):
                    yield place, VideoError(clip.path, "crashed", result.detail)
                elif result.reason is not None:
                    yield place, VideoError(clip.path, result.reason, result.detail)
                else:
                    for key, features in result.features.items():
                        cache.put(key, torch.from_numpy(np.array(features)))
                    yield place, replace(result, features={})


@contextmanager
def _token(cache: FeatureCache) -> Iterator[str]:
    """Make a file in the cache folder by which an actor sees that it is the same; yield its name."""
    place = cache.root / _TOKENS / f"cluster-{secrets.token_hex(8)}"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place, "", durable=False)
    except OSError as error:
        raise UsageError(
            f"features cannot be kept in {cache.root}: {error.strerror or error}; make room there, or let MAREY_CACHE "
            "name another folder"
        ) from error
    try:
        yield place.name
    finally:
        place.unlink(missing_ok=True)
