"""Rows of an evaluation: what the model of each fold predicts for its clips."""

from __future__ import annotations

from collections.abc import Sequence

from marey.cluster.model_files import ModelFiles
from marey.commands.steps.clip_results import Cluster, There
from marey.commands.steps.given_features import given_probabilities
from marey.commands.steps.held_out import Fold
from marey.commands.steps.prepare import watched
from marey.commands.steps.results import to_row
from marey.data import Clip
from marey.encoders import Encoder, FeatureCache, FrameOrder
from marey.errors import VideoError
from marey.evaluation import ClipResult
from marey.prediction import Answer, Predictor
from marey.progress import Reporter
from marey.remote_path import as_path


def predicted_rows(
    folds: Sequence[Fold],
    source: str,
    encoder: Encoder | None,
    order: FrameOrder,
    cluster: Cluster | None,
    reporter: Reporter,
) -> tuple[ClipResult, ...]:
    """Return what the model of each fold predicts for its clips, a row a clip.

    Args:
        folds: models and their clips.
        source: the data.
        encoder: of the models; None where the data are features.
        order: of the frames.
        cluster: which makes the features; None for this process. The heads run here: they take a moment.
        reporter: of the progress.
    """
    rows: list[ClipResult] = []
    title = "reading clips" if order == "given" else f"reading clips, {order}"
    for fold in folds:
        results: list[list[Answer] | VideoError]
        if encoder is None:
            results = given_probabilities(as_path(source), fold.test, fold.model)
        else:
            name = title if fold.number is None else f"{title}, fold {fold.number} of {len(folds)}"
            faults = {} if cluster is None else _fill_cache(fold, encoder, order, cluster, name, reporter)
            usable = [clip for clip in fold.test if clip.id not in faults]
            with watched(reporter, name, len(usable)) as watch:
                predictor = Predictor(fold.model, encoder=encoder)
                found = iter(predictor.view_answers(usable, order=order, on_progress=watch))
            results = [faults[clip.id] if clip.id in faults else next(found) for clip in fold.test]
        rows += [
            to_row(clip, result, fold.model, fold=fold.number) for clip, result in zip(fold.test, results, strict=True)
        ]
    return tuple(rows)


def _fill_cache(
    fold: Fold, encoder: Encoder, order: FrameOrder, cluster: Cluster, title: str, reporter: Reporter
) -> dict[str, VideoError]:
    """Let a cluster make the features of a fold's clips; return those that cannot be used, by their ids."""
    contract = fold.model.config.contract
    worker = There(cluster, encoder, contract, FeatureCache(), reporter, order, ModelFiles.of(fold.model))
    clips: list[Clip] = list(fold.test)
    readings = [(clip, contract.testing.views) for clip in clips]
    with watched(reporter, title, len(readings)) as watch:
        found = list(worker.results(readings, watch))
    return {clips[place].id: result for place, result in found if isinstance(result, VideoError)}
