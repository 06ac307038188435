"""The page of a comparison: recipes side by side on the same clips, what each is worth and what it costs."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from marey.atomic import whole_file, write_whole
from marey.evaluation import Cost, Difference, Pooled
from marey.reports import phrases
from marey.reports.comparison_plot import Mark, plot_comparison
from marey.reports.page import embedded, environment

SURE: Final = 0.05
"""A corrected p-value below which a difference is called more than chance."""

_STEPS: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, slots=True)
class TrainingTime:
    """How long the runs of a recipe took.

    Attributes:
        reading: seconds for the features of all clips, over all seeds.
        pictures: how many of them were encoded; 0 where all came from the cache.
        training: seconds for all folds of a run, the median over the seeds; before an interruption they end with the
            last file that was written.
        whole: whether no run was interrupted.
    """

    reading: float
    pictures: int
    training: float
    whole: bool

    @property
    def cache(self) -> str:
        """In what state it found the cache of features."""
        return "cold" if self.pictures else "warm"


@dataclass(frozen=True)
class Entry:
    """A recipe in a comparison.

    Attributes:
        recipe: its name, and that of its folder.
        description: what it is for.
        failure: why it could not be run; None where it could, and then the numbers are there.
        pooled: accuracy and macro F1.
        seeds: seed to accuracy and macro F1 of its run.
        cost: of the model of the first seed.
        time: of training; None where it is not known.
        behind: the accuracy of the best recipe less that of this one; None for the best one.
        p: the p-value of that, corrected for all comparisons (Holm 1979).
        leak: what to say of a split that leaks.
        failed_clips: answers of clips that could not be used.
    """

    recipe: str
    description: str
    failure: str | None = None
    pooled: Pooled | None = None
    seeds: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    cost: Cost | None = None
    time: TrainingTime | None = None
    behind: Difference | None = None
    p: float | None = None
    leak: str | None = None
    failed_clips: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
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
    """Write `compare.html` with its picture `compare.png`, and the same numbers as `compare.json` and `compare.csv`.

    Args:
        entries: the best recipe first, those that failed last.
        out: the folder of the comparison, with the runs of each recipe in it.
        title: the heading of the page.
        protocol: how the clips were split, in words.
        notes: what a reader should know.
        facts: name -> value of what else is needed to have the numbers again.

    Returns:
        The path of the page.
    """
    ran = [entry for entry in entries if entry.pooled is not None]
    picture = None
    plot = out / "compare.png"
    plot.unlink(missing_ok=True)
    if ran:
        picture = embedded(plot_comparison([_mark(entry) for entry in ran]), plot, _describe(ran))
    page = environment().get_template("comparison.html.j2")
    text = page.render(
        title=title,
        protocol=protocol,
        ran=ran,
        failed=[entry for entry in entries if entry.failure is not None],
        answer=answer_of(ran),
        notes=notes,
        facts=facts or {},
        picture=picture,
        short=short,
        seconds=seconds,
        signed=signed,
        sure=SURE,
        level=ran[0].pooled.interval.level if ran and ran[0].pooled is not None else None,
    )
    _write(out / "compare.csv", entries)
    values = {
        "protocol": protocol,
        "notes": list(notes),
        "facts": dict(facts or {}),
        "recipes": [entry.as_dict() for entry in entries],
    }
    write_whole(out / "compare.json", json.dumps(values, indent=2, ensure_ascii=False) + "\n", alone=True)
    path = out / "compare.html"
    write_whole(path, text, alone=True)
    return path


def comparison_table(entries: Sequence[Entry]) -> Table:
    """The main numbers of each recipe, for a terminal."""
    table = Table()
    table.add_column("recipe", overflow="fold")
    for column in ("accuracy", "macro F1", "to the best", "p", "trained", "FLOPs a clip", "clips/s", "training"):
        table.add_column(column, justify="right")
    for entry in entries:
        pooled, behind, cost = entry.pooled, entry.behind, entry.cost
        if pooled is None:
            table.add_row(Text(entry.recipe), Text("could not be run", style="red"))
            continue
        rate = cost.clips_per_second if cost is not None else None
        table.add_row(
            Text(entry.recipe),
            Text(f"{phrases.share(pooled.accuracy, 3)} {phrases.span(pooled.interval.accuracy)}"),
            Text(f"{phrases.share(pooled.macro_f1, 3)} {phrases.span(pooled.interval.macro_f1)}"),
            signed(-behind.accuracy, 3) if behind is not None and behind.accuracy is not None else "",
            Text(f"{entry.p:.2g}", style="bold" if entry.p < SURE else "") if entry.p is not None else "",
            short(cost.trained if cost is not None else None),
            short(cost.flops if cost is not None else None),
            f"{rate:.3g}" if rate is not None else "–",
            seconds(entry.time.training if entry.time is not None else None),
        )
    return table


def answer_of(ran: Sequence[Entry]) -> str:
    """What the comparison says, in a sentence: the best recipe, and which others are worse for more than chance."""
    if not ran:
        return "No recipe could be run."
    best, *others = ran
    if not others:
        return f"{best.recipe} is the only one that was run."
    worse = [entry.recipe for entry in others if entry.p is not None and entry.p < SURE]
    equal = [entry.recipe for entry in others if _scores(entry) == _scores(best)]
    level = [entry.recipe for entry in others if entry.recipe not in (*worse, *equal)]
    said = f"{_names([best.recipe, *equal])} are equally good, and best." if equal else f"{best.recipe} is best."
    if worse:
        said += f" {_names(worse)} {'is' if len(worse) == 1 else 'are'} worse by more than chance."
    if level:
        said += f" {_names(level)} may be as good: the difference could be chance."
    return said


def _scores(entry: Entry) -> tuple[float, float] | None:
    return None if entry.pooled is None else (entry.pooled.accuracy, entry.pooled.macro_f1)


def short(number: float | None) -> str:
    """A large number as people say it: 4.01 M, 24.6 G."""
    if number is None:
        return "–"
    for size, letter in _STEPS:
        if number >= size:
            return f"{number / size:.3g} {letter}" if number < 999.5 * size else f"{number / size:,.0f} {letter}"
    return f"{number:,.0f}"


def signed(number: float, digits: int) -> str:
    """A difference with its sign, and none where it is rounded to nothing."""
    text = f"{number:+.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"


def seconds(number: float | None) -> str:
    """So many seconds as text, with two digits or more: "0.4 s", "47 s", "5.2 min", "24 min", "7.5 h"."""
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
        whole_file(path, alone=True) as part,
        part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


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
    }
