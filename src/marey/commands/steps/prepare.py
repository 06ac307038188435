"""The first steps of several commands: device, data, features."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import torch
from pydantic import ValidationError

from marey.data import Clip, Manifest, ScanRow, load_data, propose_group_regex, read_quarantine, write_quarantine
from marey.data.text import format_bytes, join_first
from marey.encoders import Contract, Encoder, FeatureCache, Features, Progress, iterate_views
from marey.errors import DatasetError, UnknownNameError, UsageError, VideoError, did_you_mean
from marey.prediction import Segmentation
from marey.progress import Reporter

if TYPE_CHECKING:
    from marey.training import Protocol, Recipe

_SIDE: Final = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)
DEVICES: Final = ("auto", "cpu", "cuda")


def pick_device(name: str) -> str:
    """Return "cpu" or "cuda"; "auto" takes the GPU if there is one.

    Raises:
        UsageError: "cuda" is requested, and there is none.
    """
    if name not in DEVICES:
        raise UnknownNameError("device", name, DEVICES)
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UsageError("PyTorch sees no CUDA device here; use --device cpu, or look at `marey doctor`")
    return "cuda" if there and name != "cpu" else "cpu"


def load_labelled(
    data: str | Path,
    *,
    group_regex: str | None,
    exclude: str | Path | None,
    features: Literal["refuse", "take"] = "refuse",
    reporter: Reporter,
) -> tuple[Manifest, tuple[str, ...]]:
    """Load the labelled clips of a data set; also returns the ids of excluded clips.

    Raises:
        DatasetError: the data cannot be read, or a clip has no label.
    """
    manifest = load_data(data, group_regex=group_regex, features=features)
    excluded: tuple[str, ...] = ()
    if exclude is not None:
        kept = manifest.without(read_quarantine(Path(exclude)))
        left = {clip.id for clip in kept.clips}
        excluded = tuple(clip.id for clip in manifest.clips if clip.id not in left)
        manifest = kept
    unlabelled = [clip.id for clip in manifest.clips if not clip.label]
    if unlabelled:
        raise DatasetError(
            f"{len(unlabelled)} of {len(manifest.clips)} clips have no label, {unlabelled[0]} first; "
            "fill in the column 'label', or sort the files into class folders"
        )
    reporter.say(f"{len(manifest.clips)} clips of {len(manifest.labels)} classes from {manifest.source}")
    reporter.say(manifest.grouping)
    if all(clip.group is None for clip in manifest.clips):
        proposed = propose_group_regex(manifest)
        if proposed is not None:
            expression, groups = proposed
            reporter.say(
                f"the file names seem to tell {len(groups)} groups ({join_first(groups)}); if they are people or "
                f"source videos, add --group-regex '{expression}'"
            )
    for note in manifest.notes:
        reporter.say(note)
    if excluded:
        reporter.say(f"{len(excluded)} clips excluded by name ({exclude})")
    return manifest, excluded


def require_known_labels(clips: Sequence[Clip], labels: Sequence[str]) -> None:
    """Refuse clips of a class that the model does not have, before any is read.

    Raises:
        DatasetError: there is one.
    """
    for clip in clips:
        if clip.label not in labels:
            raise DatasetError(
                f"{clip.id}: the model has no label '{clip.label}'; {did_you_mean(str(clip.label), labels)}"
            )


def read_views(
    manifest: Manifest,
    encoder: Encoder,
    contract: Contract,
    *,
    recipe: Recipe,
    protocol: Protocol,
    reporter: Reporter,
) -> list[list[Features | VideoError]]:
    """Return the features of all clips, one list per view of the recipe; test clips have only the plain view."""
    plain, *_ = views = recipe.views.readings
    learnt_from = {index for split in protocol.splits for index in (*split.train, *split.val)}
    readings = [(clip, views if index in learnt_from else (plain,)) for index, clip in enumerate(manifest.clips)]
    cache = FeatureCache()
    _warn_of_space(sum(len(wanted) for _, wanted in readings), contract, cache, reporter)
    with watched(reporter, "reading clips", len(readings)) as watch:
        found = list(iterate_views(readings, encoder, contract, cache=cache, on_progress=watch))
    sided = [label for label in manifest.labels if _SIDE.search(label)]
    if recipe.views.mirrored == "train" and sided:
        reporter.warn(f"'{sided[0]}' depends on left and right, but mirror images are added: --set views.mirrored=none")
    # Of clips that are only tested the further readings are never looked at: the plain one stands in their place.
    return [
        [result if isinstance(result, VideoError) else result.get(view, result[plain]) for result in found]
        for view in views
    ]


def _warn_of_space(readings: int, contract: Contract, cache: FeatureCache, reporter: Reporter) -> None:
    """Warn before the work if the disk of the cache may be too small; a part may be cached already."""
    numbers = math.prod(contract.shape) * (1 if contract.gives_images else 4 * contract.sampling.count)
    needed = readings * len(contract.streams) * numbers
    free = cache.free
    if needed > free:
        reporter.warn(
            f"features of all clips take up to {format_bytes(needed)}, and {cache.root} has {format_bytes(free)} free: "
            "make room there, or let MAREY_CACHE name a folder on a larger disk"
        )


def read_tests(
    manifest: Manifest,
    encoder: Encoder,
    contract: Contract,
    *,
    plain: Sequence[Features | VideoError],
    protocol: Protocol,
    reporter: Reporter,
) -> list[list[Features] | VideoError]:
    """Return the views that each clip is tested on: the plain one, or all of the contract's `testing`."""
    views = contract.testing.views
    if len(views) == 1:
        return [result if isinstance(result, VideoError) else [result] for result in plain]
    tested = sorted({index for split in protocol.splits for index in split.test})
    readings = [(manifest.clips[index], views) for index in tested]
    with watched(reporter, "reading tests", len(readings)) as watch:
        found = list(iterate_views(readings, encoder, contract, cache=FeatureCache(), on_progress=watch))
    every: list[list[Features] | VideoError] = [[] for _ in manifest.clips]
    for index, result in zip(tested, found, strict=True):
        every[index] = result if isinstance(result, VideoError) else [result[view] for view in views]
    return every


def name_unusable(views: Sequence[Sequence[Features | VideoError]], path: Path, reporter: Reporter) -> None:
    """Write unusable files to a quarantine list, if there are any."""
    failed = {result.path: result for view in views for result in view if isinstance(result, VideoError)}
    if failed:
        rows = [ScanRow(file, False, error.reason, error.detail, None) for file, error in failed.items()]
        write_quarantine(rows, path)
        first = next(iter(failed.values()))
        reporter.warn(f"{len(failed)} files cannot be used, and count as wrong: {path} says why; the first: {first}")


@contextmanager
def watched(reporter: Reporter, title: str, total: int) -> Iterator[Callable[[Progress], None]]:
    """Report the progress of an extraction as a stage."""
    began = time.monotonic()
    last = Progress(0, total, 0, 0)
    with reporter.stage(title, total) as stage:

        def watch(progress: Progress) -> None:
            nonlocal last
            last = progress
            stage.advance(progress.done, _counts(progress))

        yield watch
    counts = _counts(last)
    reporter.say(f"{title}: {last.done} in {time.monotonic() - began:.1f} s" + (f" ({counts})" if counts else ""))


def segmentation_of(given: Mapping[str, float | None]) -> Segmentation:
    """Return the segmentation with the given values in place of its defaults.

    Args:
        given: key -> value, None for the default.

    Raises:
        UsageError: a value that a key cannot have.
    """
    values = {name: value for name, value in given.items() if value is not None}
    if "threshold" in values:  # a segment ends at less than what it begins with
        values["release"] = min(float(Segmentation.model_fields["release"].default), 0.6 * values["threshold"])
    try:
        return Segmentation.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{where}={values.get(where)}: {first['msg']}" if where else first["msg"]) from error


@contextmanager
def percent(reporter: Reporter, title: str) -> Iterator[Callable[[float], None]]:
    """Report work whose progress is known as a share from 0 to 1."""
    with reporter.stage(title, 100) as stage:
        yield lambda share: stage.advance(int(100 * share))


def _counts(progress: Progress) -> str:
    parts = [f"{progress.cached} from the cache"] if progress.cached else []
    parts += [f"{progress.failed} unusable"] if progress.failed else []
    return ", ".join(parts)
