"""The way from a clip to probabilities: decode, encode, classify, average over views."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from marey.data import VIDEO_SUFFIXES, Clip
from marey.encoders import Encoder, Features, FrameOrder, View, encode_parts, read_clip_views, read_frames
from marey.errors import DatasetError, UsageError
from marey.models import ActionModel
from marey.remote_path import RemotePath, as_path
from marey.video import Limits
from marey.video.remote_list import is_remote_folder, list_remote, match_remote

Frames = npt.NDArray[np.uint8] | Tensor
"""A clip in memory: uint8 RGB, (T, H, W, 3) or (T, 3, H, W)."""

Source = str | Path | Clip | Frames

Probabilities = tuple[float, ...]
"""Of the classes, in the order of the model's labels."""

Unknown = Literal["mark", "never"]
"""Label clips that are unlike all training clips as unknown, or never."""

UNKNOWN: Final = "unknown"
"""Label of a clip that is unlike all clips that the model learned from."""


class Answer(NamedTuple):
    """The output of a model for a clip, or for one view of it.

    Attributes:
        probabilities: of the classes, in the order of the model's labels.
        unfamiliarity: how unlike the training clips it is, above 1 for unknown clips; None where the model keeps
            nothing of them.
        members: probabilities by each of the heads that are averaged, where they were asked for.
    """

    probabilities: Probabilities
    unfamiliarity: float | None = None
    members: tuple[Probabilities, ...] = ()

    @property
    def unknown(self) -> bool:
        """True if the clip is unlike all training clips."""
        return self.unfamiliarity is not None and self.unfamiliarity > 1


Parts = dict[tuple[View, str], Tensor]
"""One stream of one view of a clip -> its frames, uint8 (T, 3, H, W), or its features, float32 (T, D)."""

_DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class ClipPipeline:
    """The steps from a clip to probabilities, as the contract of a model has them.

    Everything that predicts clips calls these steps: in one go (`pipeline(clip)`), on threads with a queue between
    them (the service), with a cache in place of the first two (`Predictor`, evaluation), or with features that exist
    already (`classify` alone).

        decode -> frames by view and stream -> encode -> features -> classify -> probabilities a view -> mean_of_views

    Attributes:
        model: contract, head, labels, temperature.
        encoder: its encoder; None where features are given and `encode` is never called.
    """

    model: ActionModel
    encoder: Encoder | None = None

    @property
    def views(self) -> tuple[View, ...]:
        """The views of a clip that are averaged."""
        return self.model.config.contract.testing.views

    def decode(
        self,
        source: Clip | Frames,
        *,
        frame_rate: float | None = None,
        order: FrameOrder = "given",
        limits: Limits = _DEFAULT_LIMITS,
    ) -> Parts:
        """Read the frames of all views and streams of a clip.

        Args:
            source: a span of a file, or a clip in memory.
            frame_rate: of a clip in memory, frames per second.
            order: of the frames of a file.
            limits: of decoding a file.

        Raises:
            VideoError: the clip cannot be used.
            UsageError: an array that is not a clip, or one without a frame rate.
        """
        contract = self.model.config.contract
        if isinstance(source, Clip):
            requested = dict.fromkeys(self.views, tuple(contract.streams))
            found = read_clip_views(source, contract, requested, order=order, limits=limits)
        elif frame_rate is None:
            raise UsageError("frames in memory need their frame rate: predict(frames, frame_rate=25.0)")
        else:
            found = {view: read_frames(source, contract, frame_rate=frame_rate, view=view) for view in self.views}
        return {(view, stream): found[view][stream] for view in found for stream in found[view]}

    def encode(self, clips: Sequence[Parts]) -> list[Parts]:
        """Encode frames of one or several clips, or of parts of them, as one batch."""
        assert self.encoder is not None  # noqa: S101 - whoever has no encoder has features
        given = [(stream, values) for parts in clips for (_, stream), values in parts.items()]
        encoded = iter(encode_parts(self.encoder, self.model.config.contract.streams, given))
        return [{part: next(encoded) for part in parts} for parts in clips]

    def classify(self, features: Parts | Sequence[Features]) -> list[Probabilities]:
        """Return the probabilities of each view.

        Args:
            features: of all parts as `encode` gives them, or of each view in the order of `views`.
        """
        if isinstance(features, dict):
            features = self.by_view(features)
        return [tuple(self.model.probabilities(one).tolist()) for one in features]

    def answers(self, features: Parts | Sequence[Features], *, members: bool = False) -> list[Answer]:
        """Return the probabilities of each view, and how unlike the training clips it is.

        Args:
            features: as for `classify`.
            members: also return the probabilities by each of the heads that are averaged, where there are several.
        """
        if isinstance(features, dict):
            features = self.by_view(features)
        found = []
        for one in features:
            (probabilities,), strange = self.model.batch_answers([one])
            each: tuple[Probabilities, ...] = ()
            if members and self.model.config.seeds > 1:
                each = tuple(tuple(alone) for alone in self.model.member_probabilities(one).tolist())
            found.append(Answer(tuple(probabilities.tolist()), None if strange is None else float(strange[0]), each))
        return found

    def by_view(self, parts: Parts) -> list[Features]:
        """Return the features of all parts as one mapping a view, in the order of `views`."""
        found: dict[View, Features] = {}
        for (view, stream), values in parts.items():
            found.setdefault(view, {})[stream] = values
        return [found[view] for view in self.views]

    def __call__(
        self, source: Clip | Frames, *, frame_rate: float | None = None, limits: Limits = _DEFAULT_LIMITS
    ) -> Probabilities:
        """Return the probabilities of one clip; arguments and errors as for `decode`."""
        (features,) = self.encode([self.decode(source, frame_rate=frame_rate, limits=limits)])
        return mean_of_views(self.classify(features))


def mean_of_views(probabilities: Sequence[Probabilities]) -> Probabilities:
    """Return the mean of the probabilities of a clip's views, each (classes,)."""
    if len(probabilities) == 1:
        return probabilities[0]
    return tuple(np.mean(probabilities, axis=0).tolist())


def mean_of_answers(answers: Sequence[Answer]) -> Answer:
    """Return the mean of the answers for a clip's views."""
    strange = [answer.unfamiliarity for answer in answers if answer.unfamiliarity is not None]
    mean = mean_of_views([answer.probabilities for answer in answers])
    return Answer(mean, sum(strange) / len(strange) if strange else None)


def sort_by_probability(labels: Sequence[str], probabilities: Iterable[float]) -> tuple[tuple[str, float], ...]:
    """Return the classes with their probabilities, most probable first; equal ones keep the order of the labels.

    Args:
        labels: the classes, in the order of the model's outputs.
        probabilities: of those, in the same order.
    """
    pairs = zip(labels, map(float, probabilities), strict=True)
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))


def find_clips(sources: Iterable[str | Path]) -> list[Clip]:
    """Return the clips that files, folders and glob patterns stand for, each file once, in the order of the sources.

    A file is taken whatever it is called, so that its own fault is reported. A folder stands for the video files
    in it and below it; a pattern with `*`, `?` or `[...]`, where no file has that very name, for what it matches.

    Both may lie on another machine: s3://bucket/clips/*.mp4.

    Raises:
        DatasetError: a folder without videos, or a pattern that matches nothing.
    """
    return [found for found in expand(sources) if isinstance(found, Clip)]


def expand(sources: Iterable[Source]) -> list[Clip | Frames]:
    """Return clips and arrays in the order of the sources; paths stand for clips as in `find_clips`."""
    expanded: list[Clip | Frames] = []
    named: set[Path] = set()
    for source in sources:
        if isinstance(source, str | Path):
            new = [path for path in dict.fromkeys(_files_of(as_path(source))) if path not in named]
            named.update(new)
            expanded += map(Clip, new)
        else:
            expanded.append(source)
    return expanded


def _files_of(source: Path) -> Sequence[Path]:
    if isinstance(source, RemotePath):
        return _remote_files_of(source)
    if source.is_dir():
        videos = [
            Path(folder) / name
            for folder, _, names in os.walk(source)
            for name in names
            if Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith(".")
        ]
        if not videos:
            kinds = " ".join(sorted(VIDEO_SUFFIXES))
            raise DatasetError(f"no videos in {source}: none of its files ends in one of {kinds}")
        return sorted(videos)
    if glob.has_magic(str(source)) and not source.exists():
        matches = sorted(Path(match) for match in glob.glob(str(source), recursive=True))  # noqa: PTH207 - absolute too
        files = [match for match in matches if match.is_file()]
        if not files:
            raise DatasetError(f"no file matches '{source}'")
        return files
    return [source]


def _remote_files_of(source: RemotePath) -> Sequence[Path]:
    if glob.has_magic(str(source)):
        matches = match_remote(source)
        if not matches:
            raise DatasetError(f"no file matches '{source}'")
        return matches
    if source.suffix.lower() in VIDEO_SUFFIXES or not is_remote_folder(source):
        return [source]
    videos = [path for path in list_remote(source) if path.suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        raise DatasetError(
            f"no videos in {source}: none of its files ends in one of {' '.join(sorted(VIDEO_SUFFIXES))}"
        )
    return videos
