"""Findings about the data of a training that cost nearly nothing: a section of its report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from marey.data import Clip
from marey.encoders import FeatureCache, Features
from marey.errors import VideoError
from marey.evaluation import DataFindings, Evaluation, NearDuplicate, find_label_errors
from marey.training import across_splits, class_examples, near_duplicates

if TYPE_CHECKING:
    from marey.encoders import Contract
    from marey.training import Protocol, Recipe

_FRAMES = "The recipe trains on frames: `marey diagnose` looks for near-duplicates and odd clips by features."


def plain_and_mirrored(
    views: Sequence[Sequence[Features | VideoError]], recipe: Recipe
) -> tuple[list[Sequence[Features | VideoError]], bool]:
    """Return the plain reading of the clips, and the mirrored one if there is one; and whether there is."""
    readings = recipe.views.readings[: len(views)]
    for view, reading in zip(views[1:], readings[1:], strict=True):
        if reading.mirrored and reading.index == readings[0].index:
            return [views[0], view], True
    return [views[0]], False


def copies_across(
    clips: Sequence[Clip],
    views: Sequence[Sequence[Features | VideoError]],
    protocol: Protocol,
    recipe: Recipe,
    contract: Contract,
    *,
    given: bool,
) -> tuple[NearDuplicate, ...]:
    """Return the near-duplicates across the splits of a run; none for a recipe that trains on frames.

    Args:
        clips: all of them.
        views: their readings.
        protocol: the splits.
        recipe: of the run.
        contract: of the features.
        given: whether there are features and no video.
    """
    if contract.gives_images:
        return ()
    read, mirrored = plain_and_mirrored(views, recipe)
    compared = across_splits(len(clips), protocol.splits)
    return near_duplicates(clips, read, compared, mirrored=mirrored, cache=None if given else FeatureCache())


def quick_findings(
    evaluation: Evaluation,
    clips: Sequence[Clip],
    views: Sequence[Sequence[Features | VideoError]],
    copies: Sequence[NearDuplicate],
    contract: Contract,
) -> DataFindings:
    """Return what the tests and the features of a run say about its data.

    Args:
        evaluation: of the test clips, each by a model that was not trained on it.
        clips: all clips.
        views: their readings.
        copies: near-duplicates across the splits.
        contract: of the features.
    """
    place = {clip.id: number for number, clip in enumerate(clips)}
    numbers = [place[row.clip] for row in evaluation.rows]
    found = find_label_errors(evaluation.target, evaluation.probabilities)
    return DataFindings(
        tuple(clips),
        evaluation.labels,
        tuple(one.at(numbers[one.clip]) for one in found),
        checked=sum(row.probabilities is not None for row in evaluation.rows),
        duplicates=tuple(copies),
        typical=() if contract.gives_images else class_examples(clips, views, evaluation.labels),
        notes=(_FRAMES,) if contract.gives_images else (),
    )
