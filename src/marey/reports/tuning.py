"""Page of a hyperparameter search: history, importances, and the test of the best values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from marey.atomic import write_atomic
from marey.evaluation import Metrics
from marey.json_text import json_text
from marey.reports import phrases, style
from marey.reports.embedding import embed
from marey.reports.page import write_page
from marey.reports.plots import named_bars
from marey.training.tune import Trial


def write_tuning(
    trials: Sequence[Trial],
    best: Trial,
    importances: Mapping[str, float],
    tested: Metrics,
    out: Path,
    *,
    title: str,
    notes: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write `tune.html` with its plots `history.png` and `importance.png`, and the same numbers as `tune.json`.

    Args:
        trials: all trials.
        best: the trial whose values were tested.
        importances: key -> share of the score's variance that it explains; may be empty.
        tested: metrics of the best values on the test part.
        out: folder of the search, with the run of the best values in `best`.
        title: heading of the page.
        notes: remarks for the reader.
        facts: name -> value of what else is needed to reproduce the numbers.

    Returns:
        The path of the page.
    """
    ended = [trial for trial in trials if trial.state in ("complete", "pruned")]
    images = {
        "history": embed(
            plot_history(trials),
            out / "history.png",
            f"Validation macro F1 of each of {len(ended)} trials; the best is trial {best.number} "
            f"with {phrases.share(best.score, 3)}.",
        )
    }
    (out / "importance.png").unlink(missing_ok=True)
    if importances:
        alt = ", ".join(f"{key} {phrases.share(value)}" for key, value in importances.items())
        images["importance"] = embed(plot_importances(importances), out / "importance.png", f"Importance: {alt}.")
    path = out / "tune.html"
    write_page(
        path,
        "tuning",
        title=title,
        trials=sorted(trials, key=lambda trial: (trial.state != "complete", -(trial.score or 0.0), trial.number)),
        ended=len(ended),
        best=best,
        first=trials[0],
        keys=list(best.parameters),
        importances=importances,
        metrics=tested,
        images=images,
        notes=notes,
        facts=facts or {},
        value=value_text,
    )
    values = {
        "best": asdict(best),
        "importances": dict(importances),
        "test": {"accuracy": tested.accuracy, "macro_f1": tested.macro_f1, "run": "best"},
        "notes": list(notes),
        "facts": dict(facts or {}),
        "trials": [asdict(trial) for trial in trials],
    }
    write_atomic(out / "tune.json", json_text(values, indent=2) + "\n")
    return path


def plot_history(trials: Sequence[Trial]) -> Figure:
    """Plot the score of each trial, and the best so far; rings are pruned trials."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.score is not None]
    pruned = [trial for trial in trials if trial.state == "pruned" and trial.score is not None]
    figure = style.new_figure(7.4, 3.7)
    axes = style.add_axes(figure, 0.65, 0.6, 6.4, 2.5)
    axes.grid(axis="y", color=style.LINE, lw=0.6)
    if complete:
        numbers = [trial.number for trial in complete]
        scores = np.array([trial.score for trial in complete], dtype=np.float64)
        best = np.maximum.accumulate(scores)
        axes.step([*numbers, trials[-1].number], [*best, best[-1]], where="post", color=style.ORANGE, lw=1.6)
        axes.scatter(numbers, scores, s=22, color=style.BLUE, zorder=3, lw=0, label="complete", clip_on=False)
    if pruned:
        axes.scatter(
            [trial.number for trial in pruned],
            np.array([trial.score for trial in pruned], dtype=np.float64),
            s=20,
            facecolor=style.PAPER,
            edgecolor=style.MUTED,
            lw=1,
            zorder=2,
            label="pruned, score so far",
            clip_on=False,
        )
    found = [trial.score for trial in (*complete, *pruned) if trial.score is not None]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    room = max(0.02, 0.08 * (high - low))
    axes.set_ylim(max(0.0, low - room), min(1.0, high + room))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(8, integer=True))
    title = f"Validation macro F1, best {phrases.share(max(found), 3)}" if complete else "Validation macro F1"
    style.label_axes(axes, x="trial", y="macro F1", title=title, pad=24)
    if complete or pruned:
        style.legend_above(axes)
    return figure


def plot_importances(importances: Mapping[str, float]) -> Figure:
    """Plot the share of the score's variance that each key explains, the largest first."""
    values = list(importances.values())
    beside = [(value + 0.012, f"{value:.2f}") for value in values]
    figure, axes = named_bars(list(importances), values, beside=beside, width=4.0, right=0.7, longest=36)
    style.label_axes(axes, title="Importance for the score")
    return figure


def value_text(value: Any) -> str:
    """Return a value of a key as a short text."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
