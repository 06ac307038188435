"""What an evaluation leaves on disk, alike for `train` and `evaluate`."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from marey.data import Clip, Leak, content_hash, find_leaks
from marey.encoders import Features, clip_span
from marey.errors import VideoError
from marey.evaluation import Evaluation, Metrics, OrderEffect, Row, write_metrics, write_predictions
from marey.models import ModelConfig
from marey.prediction import mean_of_views
from marey.reports import History, chronophotograph, write_report
from marey.video import Sampling, decode

if TYPE_CHECKING:
    from marey.training import Protocol, Trained

_PLATE_HEIGHT = 240
_PLATE = Sampling(count=10)


@dataclass(frozen=True)
class EvaluationResult:
    """What `train` and `evaluate` answer.

    Attributes:
        metrics: every number.
        folder: where metrics.json, predictions.csv and report.html lie.
        report: the page.
        model: the model folder.
        notes: what the person should know beside the numbers.
        frame_order: what another order of the frames changed, where that was tested.
    """

    metrics: Metrics
    folder: Path
    report: Path
    model: Path
    notes: tuple[str, ...] = ()
    frame_order: OrderEffect | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "folder": str(self.folder),
            "model": str(self.model),
            "report": str(self.report),
            "notes": list(self.notes),
            "metrics": self.metrics.as_dict(),
            **({"frame_order": self.frame_order.as_dict()} if self.frame_order is not None else {}),
        }


def to_row(
    clip: Clip, result: Sequence[tuple[float, ...]] | VideoError, labels: Sequence[str], *, fold: int | None = None
) -> Row:
    """The row of a labelled clip: its probabilities over all readings, or why there are none."""
    path, label = clip.path.as_posix(), clip.label or ""
    if isinstance(result, VideoError):
        return Row(clip.id, path, label, clip.group, fold, reason=result.reason, detail=result.detail)
    row = Row(clip.id, path, label, clip.group, fold, probabilities=mean_of_views(result))
    if len(result) == 1:
        return row
    right = [labels[int(np.argmax(one))] == label for one in result]
    return replace(row, views_right=sum(right) / len(right))


def tested(
    clips: Sequence[Clip],
    readings: Sequence[Sequence[Features] | VideoError],
    protocol: Protocol,
    trained: Sequence[Trained],
) -> tuple[tuple[Row, ...], tuple[Leak, ...]]:
    """What the model of each split says to its test clips, and what is on both sides of any split."""
    rows: list[Row] = []
    leaks: list[Leak] = []
    for number, (split, fold) in enumerate(zip(protocol.splits, trained, strict=True), start=1):
        leaks += find_leaks(clips, (*split.train, *split.val), split.test)
        for index in split.test:
            found = readings[index]
            result: Sequence[tuple[float, ...]] | VideoError
            if isinstance(found, VideoError):
                result = found
            else:
                result = [tuple(fold.model.probabilities(one).tolist()) for one in found]
            rows.append(to_row(clips[index], result, fold.model.labels, fold=number if protocol.pooled else None))
    return tuple(rows), tuple(dict.fromkeys(leaks))


def leaks_from_training(config: ModelConfig, clips: Sequence[Clip]) -> tuple[Leak, ...]:
    """The clips among these whose file a model was trained on, whatever it is called now, or a group of that name."""
    trained_on, trained_groups = (set(config.made_with.get(name, ())) for name in ("trained_on", "groups"))
    leaks = []
    for path, clip in {clip.path: clip for clip in reversed(clips)}.items():
        try:
            content = content_hash(path)
        except VideoError:
            continue  # it fails in the evaluation, and is counted there
        if content in trained_on:
            leaks.append(Leak("content", content, ("training",), (clip.id,)))
    for group in sorted({clip.group for clip in clips if clip.group is not None} & trained_groups):
        ids = tuple(clip.id for clip in clips if clip.group == group)
        leaks.append(Leak("group_name", group, ("training",), ids))
    return tuple(leaks)


def write_results(
    evaluation: Evaluation,
    clips: Sequence[Clip],
    folder: Path,
    *,
    title: str,
    recipe_text: str | None = None,
    histories: Sequence[History] | None = None,
    facts: Mapping[str, str] | None = None,
    frame_order: OrderEffect | None = None,
) -> Path:
    """Write metrics.json, predictions.csv and report.html with its pictures; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    write_metrics(evaluation.metrics, folder / "metrics.json")
    write_predictions(evaluation, folder / "predictions.csv")
    by_id = {clip.id: clip for clip in clips}
    return write_report(
        evaluation,
        folder,
        title=title,
        recipe_text=recipe_text,
        histories=histories,
        facts={**versions(), **(facts or {})},
        frame_order=frame_order,
        mistake_plates=lambda row: _plate(by_id[row.clip]),
    )


def versions() -> dict[str, str]:
    """Versions and machine, for whoever wants the numbers again."""
    packages = ("marey", "torch", "timm", "av", "lightning")
    return {
        "versions": ", ".join(f"{name} {version(name)}" for name in packages) + f", Python {platform.python_version()}",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


def _plate(clip: Clip) -> npt.NDArray[np.uint8] | None:
    try:
        instants = _PLATE.instants(*clip_span(clip))
        frames = decode(clip.path, instants)
    except VideoError:
        return None  # a file that has gone since: the report stands without its picture
    return chronophotograph(frames.data)
