"""Results of `train` and `evaluate`: rows, leaks, and the files that they write."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from marey.atomic import write_atomic
from marey.commands.steps.guarantees import write_guarantees
from marey.commands.steps.unknown_actions import write_unknown
from marey.data import Clip, Leak, content_hash, find_leaks
from marey.encoders import Features, clip_span
from marey.errors import VideoError
from marey.evaluation import (
    ClipResult,
    DataFindings,
    Evaluation,
    Guarantees,
    Metrics,
    NearDuplicate,
    OrderEffect,
    ShiftResult,
    StreamSelection,
    UnknownActions,
    uncalibrated,
    write_metrics,
    write_predictions,
)
from marey.models import ActionModel, ModelConfig
from marey.prediction import Answer, ClipPipeline, mean_of_answers
from marey.reports import History, chronophotograph, write_report
from marey.training.diagnosis import leaks_of
from marey.video import Sampling, decode

if TYPE_CHECKING:
    from marey.training import FoldResult, Protocol

DIAGNOSIS = "diagnosis.json"
_IMAGE_HEIGHT = 240
_SAMPLING = Sampling(count=10)


@dataclass(frozen=True)
class EvaluationResult:
    """The result of `train` and `evaluate`.

    Attributes:
        metrics: all metrics.
        folder: where metrics.json, predictions.csv and report.html lie.
        report: the page.
        model: the model folder.
        notes: what a reader should know beside the metrics.
        frame_order: the effect of another order of the frames, where that was tested.
        shifts: the results of the clips under each shift, where that was tested.
        per_class: the scores of each class are shown on the screen; they stand in `metrics` in any case.
        of_other_process: the process that trained together with this one shows it.
    """

    metrics: Metrics
    folder: Path
    report: Path
    model: Path
    notes: tuple[str, ...] = ()
    frame_order: OrderEffect | None = None
    per_class: bool = False
    shifts: tuple[ShiftResult, ...] = ()
    of_other_process: bool = False

    @property
    def leak(self) -> str | None:
        """The warning to show beside the metrics of a split that leaks; None where it does not."""
        return self.metrics.leak

    def as_dict(self) -> dict[str, Any]:
        """Return for JSON."""
        return {
            "folder": str(self.folder),
            "model": str(self.model),
            "report": str(self.report),
            "notes": list(self.notes),
            "metrics": self.metrics.as_dict(),
            **({"frame_order": self.frame_order.as_dict()} if self.frame_order is not None else {}),
            **({"shifts": [each.as_dict() for each in self.shifts]} if self.shifts else {}),
        }


def to_row(
    clip: Clip, result: Sequence[Answer] | VideoError, model: ActionModel, *, fold: int | None = None
) -> ClipResult:
    """Return the row of a labelled clip: the mean probabilities of its views by a model, or why there are none."""
    path, label = clip.path.as_posix(), clip.label or ""
    if isinstance(result, VideoError):
        return ClipResult(clip.id, path, label, clip.group, fold, reason=result.reason, detail=result.detail)
    mean = mean_of_answers(result)
    before = uncalibrated([one.probabilities for one in result], model.config.temperature).mean(axis=0)
    row = ClipResult(
        clip.id,
        path,
        label,
        clip.group,
        fold,
        probabilities=mean.probabilities,
        uncalibrated=float(before[model.labels.index(label)]) if label in model.labels else None,
        unfamiliarity=mean.unfamiliarity,
        members=np.array([one.members for one in result]) if result[0].members else None,
    )
    if len(result) == 1:
        return row
    right = [model.labels[int(np.argmax(one.probabilities))] == label for one in result]
    return replace(row, views_right=sum(right) / len(right))


def tested(
    clips: Sequence[Clip],
    readings: Sequence[Sequence[Features] | VideoError],
    protocol: Protocol,
    trained: Sequence[FoldResult],
    copies: Sequence[NearDuplicate],
) -> tuple[tuple[ClipResult, ...], tuple[Leak, ...]]:
    """Return the rows of the test clips of each split, by the model of that split, and the leaks of all splits.

    Args:
        clips: all clips.
        readings: for each clip the features of its views, in the order of the contract, or why there are none.
        protocol: the splits.
        trained: the model of each split.
        copies: near-duplicates across the splits.
    """
    rows: list[ClipResult] = []
    leaks: list[Leak] = []
    for number, (split, fold) in enumerate(zip(protocol.splits, trained, strict=True), start=1):
        leaks += find_leaks(clips, (*split.train, *split.val), split.test)
        leaks += leaks_of(copies, clips, split)
        pipeline = ClipPipeline(fold.model)
        for index in split.test:
            found = readings[index]
            result = found if isinstance(found, VideoError) else pipeline.answers(found, members=True)
            rows.append(to_row(clips[index], result, fold.model, fold=number if protocol.pooled else None))
    return tuple(rows), tuple(dict.fromkeys(leaks))


def trained_seeds(config: ModelConfig) -> int | None:
    """Return the number of seeds whose average a model is; None where no seed changes it, or it is unknown."""
    recipe = config.made_with.get("recipe", {})
    solver = recipe.get("training", {}).get("solver") if isinstance(recipe, dict) else None
    return None if solver in (None, "logistic") else config.seeds


def leaks_from_training(config: ModelConfig, clips: Sequence[Clip]) -> tuple[Leak, ...]:
    """Return the clips whose file a model was trained on, whatever its name now, and groups of the same name."""
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
    selections: Sequence[StreamSelection] = (),
    unknown: UnknownActions | None = None,
    guarantees: Guarantees | None = None,
    shifts: Sequence[ShiftResult] = (),
    findings: DataFindings | None = None,
) -> Path:
    """Write metrics.json, predictions.csv, the other tables in JSON, and report.html with its images.

    Returns:
        The path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_metrics(evaluation.metrics, folder / "metrics.json")
    write_predictions(evaluation, folder / "predictions.csv")
    if unknown is not None:
        write_unknown(unknown, evaluation, folder / "unknown.json")
    if guarantees is not None:
        write_guarantees(guarantees, folder / "guarantees.json")
    if findings is not None:
        write_atomic(folder / DIAGNOSIS, findings.to_json(), single_writer=True)
    by_id = {clip.id: clip for clip in clips}
    return write_report(
        evaluation,
        folder,
        title=title,
        recipe_text=recipe_text,
        histories=histories,
        facts={**versions(), **(facts or {})},
        frame_order=frame_order,
        selections=selections,
        unknown=unknown,
        guarantees=guarantees,
        shifts=shifts,
        findings=findings,
        clip_image=clip_image,
        mistake_image=lambda row: clip_image(by_id[row.clip]),
    )


def versions() -> dict[str, str]:
    """Return the versions and the machine that the results were made with."""
    packages = ["marey", "torch", "timm", "av"]
    if find_spec("lightning") is not None:  # an extra
        packages.append("lightning")
    return {
        "versions": ", ".join(f"{name} {version(name)}" for name in packages) + f", Python {platform.python_version()}",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


def clip_image(clip: Clip) -> npt.NDArray[np.uint8] | None:
    """Return the chronophotograph of a clip, uint8 RGB (H, W, 3); None for one that cannot be read."""
    try:
        timestamps = _SAMPLING.timestamps(*clip_span(clip))
        frames = decode(clip.path, timestamps)
    except VideoError:
        return None  # the file is gone by now: the report has no image of it
    return chronophotograph(frames.data)
