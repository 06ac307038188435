"""Unknown actions in a run: the share of known clips that are rejected, and classes left out of training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from marey.atomic import write_atomic
from marey.evaluation import Evaluation, UnknownActions, selective, share_with_interval
from marey.models import ActionModel
from marey.training import leave_classes_out


def unknown_actions(evaluation: Evaluation, model: ActionModel) -> UnknownActions:
    """Return how well a run tells unknown actions.

    Args:
        evaluation: its test clips, all of known classes, each by a model that was not trained on it.
        model: the model that is handed over; its training clips are left out class by class.
    """
    known, rows = model.familiarity, [row for row in evaluation.rows if row.unfamiliarity is not None]
    flags = np.array([(row.unfamiliarity or 0.0) > 1 for row in rows], dtype=bool)
    share, interval = share_with_interval(flags, [row.group for row in rows], seed=evaluation.seed)
    answered = [row for row in evaluation.rows if row.probabilities is not None]
    note = "" if known is not None else "this model keeps nothing of its training clips: train it again"
    left_out = () if known is None else leave_classes_out(known, model.labels, seed=evaluation.seed)
    if known is not None and not left_out:
        note = "no class can be left out of the training: that takes three classes and two groups"
    return UnknownActions(
        None if known is None else known.config.false_alarm,
        len(rows),
        share,
        interval,
        left_out,
        selective(
            [row.confidence or 0.0 for row in answered], [evaluation.predicted(row) == row.label for row in answered]
        )
        if answered
        else None,
        note,
    )


def write_unknown(found: UnknownActions, evaluation: Evaluation, path: Path) -> None:
    """Write `unknown.json`: the numbers of the report, and the unfamiliarity of each test clip."""
    clips = {row.clip: row.unfamiliarity for row in evaluation.rows if row.unfamiliarity is not None}
    text = json.dumps({**found.as_dict(), "unfamiliarity": clips}, indent=1, allow_nan=False)
    write_atomic(path, text.encode("utf-8", "backslashreplace") + b"\n", single_writer=True)
