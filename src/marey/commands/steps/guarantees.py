"""Sets of labels and thresholds of a run, measured on its test clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from marey.atomic import write_atomic
from marey.data import Clip
from marey.evaluation import Evaluation, Guarantees, measure_guarantees
from marey.json_text import json_text
from marey.models import ActionModel
from marey.prediction import draw_of


def guarantees(
    evaluation: Evaluation, clips: Sequence[Clip], models: Mapping[int | None, ActionModel], final: ActionModel
) -> Guarantees | None:
    """Return what the sets and the thresholds of a run are worth; None where its models keep no held-out answers.

    Args:
        evaluation: the test clips.
        clips: the same, and perhaps others.
        models: fold, or None where there are none -> its model.
        final: the model that is handed over.
    """
    tested = {row.clip for row in evaluation.rows if row.probabilities is not None}
    draws = {clip.id: draw_of(clip) for clip in clips if clip.id in tested}
    kept = {fold: model.held_out for fold, model in models.items()}
    return measure_guarantees(evaluation, kept, final.held_out, draws)


def write_guarantees(found: Guarantees, path: Path) -> None:
    """Write `guarantees.json`: the numbers of the report, and the set of each test clip."""
    text = json_text(found.as_dict(), indent=1)
    write_atomic(path, text.encode("utf-8", "backslashreplace") + b"\n", single_writer=True)
