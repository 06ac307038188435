"""The page of a search: how the score grew, what it depended on, and what the best values are worth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from marey.atomic import write_whole
from marey.evaluation import Metrics
from marey.reports import phrases, style
from marey.reports.page import embedded, environment
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
    """Write `tune.html` with its pictures `history.png` and `importance.png`, and the same numbers as `tune.json`.

    Args:
        trials: all of them.
        best: the one whose values were tested.
        importances: key to the share of the score's variance that it explains; may be empty.
        tested: what the best values reached on the test part.
        out: the folder of the search, with the run of the best values in `best`.
        title: the heading of the page.
        notes: what a reader should know.
        facts: name -> value of what else is needed to have the numbers again.

    Returns:
        The path of the page.
    """
    through = [trial for trial in trials if trial.state in ("complete", "pruned")]
    pictures = {
        "history": embedded(
            plot_history(trials),
            out / "history.png",
            f"Validation macro F1 of each of {len(through)} trials; the best is trial {best.number} "
            f"with {phrases.share(best.score, 3)}.",
        )
    }
    (out / "importance.png").unlink(missing_ok=True)
    if importances:
        said = ", ".join(f"{key} {phrases.share(value)}" for key, value in importances.items())
        pictures["importance"] = embedded(plot_importances(importances), out / "importance.png", f"Importance: {said}.")
    page = environment().get_template("tuning.html.j2")
    text = page.render(
        title=title,
        trials=sorted(trials, key=lambda trial: (trial.state != "complete", -(trial.score or 0.0), trial.number)),
        through=len(through),
        best=best,
        first=trials[0],
        keys=list(best.parameters),
        importances=importances,
        metrics=tested,
        pictures=pictures,
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
    write_whole(out / "tune.json", json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    path = out / "tune.html"
    write_whole(path, text)
    return path


def plot_history(trials: Sequence[Trial]) -> Figure:
    """The score of each trial in their order, and the best so far; a ring is a trial that was given up."""
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
            label="given up, score so far",
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
    """The share of the score's variance that each key explains, as bars, the largest first."""
    values = list(importances.values())
    beside = [(value + 0.012, f"{value:.2f}") for value in values]
    figure, axes = named_bars(list(importances), values, beside=beside, width=4.0, right=0.7, longest=36)
    style.label_axes(axes, title="What the score depended on")
    return figure


def value_text(value: Any) -> str:
    """A value of a key, as short as it can be told."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
