"""Page of a comparison: accuracy and cost of several recipes on the same clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from marey.atomic import atomic_file, write_atomic
from marey.data.csv_cells import CsvWriter
from marey.evaluation import Cost, Difference, MetricRow, PooledScores
from marey.json_text import json_text
from marey.reports import phrases
from marey.reports.comparison_plot import Mark, plot_comparison
from marey.reports.embedding import embed
from marey.reports.page import write_page

SIGNIFICANCE: Final = 0.05
"""Significance level of corrected p-values."""

_STEPS: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, slots=True)
class TrainingTime:
    """Time that the runs of a recipe took.

    Attributes:
        reading: seconds for the features of all clips, over all seeds.
        images: number of encoded frames; 0 if all came from the cache.
        training: seconds for all folds of a run, the median over the seeds; an interrupted run counts until the
            last file that it wrote.
        whole: no run was interrupted.
    """

    reading: float
    images: int
    training: float
    whole: bool

    @property
    def cache(self) -> str:
        """State of the feature cache before: "cold" or "warm"."""
        return "cold" if self.images else "warm"


@dataclass(frozen=True)
class Entry:
    """A recipe in a comparison.

    Attributes:
        recipe: name of the recipe and of its folder.
        description: purpose of the recipe.
        failure: why it could not be run; None if it ran, and then the numbers exist.
        pooled: accuracy and macro F1.
        seeds: seed to accuracy and macro F1 of its run.
        cost: of the model of the first seed.
        time: of training; None if unknown.
        behind: accuracy of the best recipe minus that of this one; None for the best one.
        p: the p-value of that, corrected for all comparisons (Holm 1979).
        leak: warning about a split that leaks.
        failed_clips: predictions for clips that could not be used.
    """

    recipe: str
    description: str
    failure: str | None = None
    pooled: PooledScores | None = None
    seeds: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    cost: Cost | None = None
    time: TrainingTime | None = None
    behind: Difference | None = None
    p: float | None = None
    leak: str | None = None
    failed_clips: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = asdict(self)
        if self.time is not None:
            values["time"]["cache"] = self.time.cache
        return values


def write_comparison(
    entries: Sequence[Entry],
    out: Path,
    *,
    title: str,
    protocol: str,
    notes: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write `compare.html` with its plot `compare.png`, and the same numbers as `compare.json` and `compare.csv`.

    Args:
        entries: the best recipe first, failed ones last.
        out: folder of the comparison, with the runs of each recipe.
        title: heading of the page.
        protocol: how the clips were split, in words.
        notes: remarks for the reader.
        facts: name -> value of what else is needed to reproduce the numbers.

    Returns:
        The path of the page.
    """
    ran = [entry for entry in entries if entry.pooled is not None]
    plot = out / "compare.png"
    plot.unlink(missing_ok=True)
    image = embed(plot_comparison([_mark(entry) for entry in ran]), plot, _describe(ran)) if ran else None
    path = out / "compare.html"
    write_page(
        path,
        "comparison",
        single_writer=True,
        title=title,
        protocol=protocol,
        ran=ran,
        failed=[entry for entry in entries if entry.failure is not None],
        answer=comparison_summary(ran),
        others=other_metrics(ran),
        notes=notes,
        facts=facts or {},
        image=image,
        short=short,
        seconds=seconds,
        signed=signed,
        alpha=SIGNIFICANCE,
        level=ran[0].pooled.interval.level if ran and ran[0].pooled is not None else None,
    )
    _write(out / "compare.csv", entries)
    values = {
        "protocol": protocol,
        "notes": list(notes),
        "facts": dict(facts or {}),
        "recipes": [entry.as_dict() for entry in entries],
    }
    write_atomic(out / "compare.json", json_text(values, indent=2) + "\n", single_writer=True)
    return path


def comparison_summary(ran: Sequence[Entry]) -> str:
    """Return the result in a sentence: the best recipe, and which others are significantly worse."""
    if not ran:
        return "No recipe could be run."
    best, *others = ran
    if not others:
        return f"{best.recipe} is the only recipe that was run."
    worse = [entry.recipe for entry in others if entry.p is not None and entry.p < SIGNIFICANCE]
    equal = [entry.recipe for entry in others if _scores(entry) == _scores(best)]
    level = [entry.recipe for entry in others if entry.recipe not in (*worse, *equal)]
    text = f"{_names([best.recipe, *equal])} are equally good, and best." if equal else f"{best.recipe} is best."
    if worse:
        text += f" {_names(worse)} {'is' if len(worse) == 1 else 'are'} significantly worse."
    if level:
        text += f" {_names(level)} may be as good: the difference is not significant."
    return text


def other_metrics(ran: Sequence[Entry], *, headline: bool = False) -> list[tuple[MetricRow, list[float | None]]]:
    """Return the metrics beside accuracy and macro F1, each with its number for every recipe, in their order.

    Args:
        ran: recipes with scores.
        headline: only those that are shown large.
    """
    each = [{row.name: row for row in entry.pooled.rows} for entry in ran if entry.pooled is not None]
    metrics = {name: row for rows in each for name, row in rows.items() if name not in ("accuracy", "macro_f1")}
    return [
        (metric, [rows[name].value if name in rows else None for rows in each])
        for name, metric in metrics.items()
        if metric.headline or not headline
    ]


def _scores(entry: Entry) -> tuple[float, float] | None:
    return None if entry.pooled is None else (entry.pooled.accuracy, entry.pooled.macro_f1)


def short(number: float | None) -> str:
    """Return a large number with a unit prefix: "4.01 M", "24.6 G"."""
    if number is None:
        return "–"
    for size, letter in _STEPS:
        if number >= size:
            return f"{number / size:.3g} {letter}" if number < 999.5 * size else f"{number / size:,.0f} {letter}"
    return f"{number:,.0f}"


def signed(number: float, digits: int) -> str:
    """Return a difference with its sign; without one if it is rounded to zero."""
    text = f"{number:+.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"


def seconds(number: float | None) -> str:
    """Return a duration with two digits or more: "0.4 s", "47 s", "5.2 min", "24 min", "7.5 h"."""
    if number is None:
        return "–"
    for size, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if number < 99.5 * size or unit == "h":
            break
    short = number / size
    return f"{short:,.{1 if short < 9.95 else 0}f} {unit}"


def _names(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _mark(entry: Entry) -> Mark:
    assert entry.pooled is not None  # noqa: S101 - only those that ran are drawn
    interval = entry.pooled.interval.accuracy
    return Mark(entry.recipe, entry.pooled.accuracy, interval, entry.cost.flops if entry.cost is not None else None)


def _describe(ran: Sequence[Entry]) -> str:
    parts = [f"{entry.recipe} {phrases.share(entry.pooled.accuracy)}" for entry in ran if entry.pooled is not None]
    return f"Accuracy with intervals against floating-point operations a clip: {', '.join(parts)}."


def _write(path: Path, entries: Sequence[Entry]) -> None:
    rows = [_flat(entry) for entry in entries]
    with (
        atomic_file(path, single_writer=True) as part,
        part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = CsvWriter(file)
        table.writerow(columns)
        table.writerows([row.get(name) for name in columns] for row in rows)


def _flat(entry: Entry) -> dict[str, Any]:
    pooled, cost, time, behind = entry.pooled, entry.cost, entry.time, entry.behind
    span = pooled.interval if pooled is not None else None
    accuracy = span.accuracy if span is not None and span.accuracy is not None else (None, None)
    macro_f1 = span.macro_f1 if span is not None and span.macro_f1 is not None else (None, None)
    gap = behind.interval if behind is not None and behind.interval is not None else (None, None)
    return {
        "recipe": entry.recipe,
        "seeds": len(entry.seeds),
        "answers": pooled.clips if pooled is not None else None,
        "accuracy": pooled.accuracy if pooled is not None else None,
        "accuracy_low": accuracy[0],
        "accuracy_high": accuracy[1],
        "macro_f1": pooled.macro_f1 if pooled is not None else None,
        "macro_f1_low": macro_f1[0],
        "macro_f1_high": macro_f1[1],
        "behind_best": behind.accuracy if behind is not None else None,
        "behind_best_low": gap[0],
        "behind_best_high": gap[1],
        "p": behind.p if behind is not None else None,
        "p_holm": entry.p,
        "parameters_trained": cost.trained if cost is not None else None,
        "parameters_frozen": cost.frozen if cost is not None else None,
        "flops_a_clip": cost.flops if cost is not None else None,
        "clips_per_second": cost.clips_per_second if cost is not None else None,
        "reading_seconds": time.reading if time is not None else None,
        "cache": time.cache if time is not None else None,
        "training_seconds": time.training if time is not None else None,
        "leak": entry.leak,
        "failure": entry.failure,
        **(pooled.others if pooled is not None else {}),
    }
