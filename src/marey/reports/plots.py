"""Plots of a report, as matplotlib figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marey.evaluation import FAILED, ClassScores, Metrics, Reliability
from marey.reports import phrases, style

History: TypeAlias = Mapping[str, Sequence[float]]
"""Values by epoch: `train_` and `val_` `loss` and `accuracy`, `val_macro_f1`, `learning_rate`; any may be missing."""

LEGIBLE = 5.5  # points; smaller numbers are left out
MANY = 25  # more bars are drawn closer together
DARK = 0.62  # share of a row; darker cells have white numbers


def plot_confusion(metrics: Metrics) -> Figure:
    """Plot true classes down and predicted ones across; colour is the share of the row, numbers are clips.

    Failed clips, if any, have their own column. The figure grows with the classes, to about 16 inches for 101;
    numbers that are too small to read are left out.
    """
    counts = np.array(metrics.confusion, dtype=np.int64)
    names = [style.plot_text(label) for label in metrics.labels]
    if metrics.failed:
        columns = [*names, FAILED]
    else:
        columns, counts = names, counts[:, :-1]
    support = np.array([row.support for row in metrics.classes])
    share = counts / np.maximum(support, 1)[:, None]

    size = len(names)
    cell = float(np.clip(5.4 / size, 0.13, 0.85))
    font = min(style.BASE, cell * 72 * 0.8)
    rows = [f"{name}  {count}" for name, count in zip(names, support, strict=True)]
    widest = max(style.text_width(name, font) for name in columns)
    rotation = 0 if widest < 0.9 * cell else 40 if cell * 72 > 20 else 90
    below = {0: 0.2, 40: 0.15 + 0.65 * widest, 90: 0.1 + widest}[rotation]
    left = 0.5 + max(style.text_width(row, font) for row in rows)
    if rotation == 40:  # the first slanted label reaches to the left
        left = max(left, 0.77 * widest)
    width, height = cell * len(columns), cell * size
    figure = style.new_figure(left + width + 0.85, below + 0.45 + height + 0.45)
    axes = style.add_axes(figure, left, below + 0.45, width, height)
    image = axes.imshow(share, cmap=style.SCALE, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set_xticks(
        range(len(columns)),
        columns,
        fontsize=font,
        rotation=rotation,
        ha="right" if rotation == 40 else "center",
        rotation_mode="anchor" if rotation == 40 else "default",
    )
    axes.set_yticks(range(size), rows, fontsize=font)
    for text in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        text.set_parse_math(False)
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(False)
    seam = 1.5 if cell > 0.25 else 0.4
    axes.hlines(np.arange(size + 1) - 0.5, -0.5, len(columns) - 0.5, color=style.LINE, lw=seam / 2)
    axes.vlines(np.arange(len(columns) + 1) - 0.5, -0.5, size - 0.5, color=style.LINE, lw=seam / 2)
    if metrics.failed:
        axes.axvline(size - 0.5, color=style.INK, lw=1)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(size - 0.5, -0.5)

    _write_counts(axes, counts, share, cell)
    style.label_axes(axes, x="predicted", y="true, with number of clips", title="Confusion matrix")
    legend = style.add_axes(figure, left + width + 0.18, below + 0.45, 0.1, min(height, 3.0))
    bar = figure.colorbar(image, cax=legend, ticks=[0, 0.5, 1], format=ticker.PercentFormatter(xmax=1))
    bar.outline.set_visible(False)
    return figure


def plot_per_class(metrics: Metrics) -> Figure:
    """Plot F1 of each class as a bar, best first, with precision and recall as marks."""
    found = [row for row in metrics.classes if row.support]
    ordered = sorted(found, key=_best_first)
    absent = [row for row in metrics.classes if not row.support]
    beside = [(1.04, f"{_number(row.f1):.2f}   {phrases.count(row.support, 'clip')}") for row in ordered]
    figure, axes = named_bars(
        [row.label for row in (*ordered, *absent)],
        [_number(row.f1) for row in (*ordered, *absent)],
        beside=[*beside, *[(0.01, "no clip in this test set")] * len(absent)],
        width=4.6,
        right=1.15,
        legend="F1",
    )
    size = 26 if len(metrics.classes) <= MANY else 12
    for values, mark, colour, name in (
        ([_number(row.precision) for row in ordered], "D", style.ORANGE, "precision"),
        ([_number(row.recall) for row in ordered], "o", style.BLUE, "recall"),
    ):
        place = range(len(values))
        axes.scatter(values, place, s=size, marker=mark, color=colour, label=name, zorder=3, clip_on=False, lw=0)
    style.label_axes(axes, title="Classes", pad=26)  # above the legend
    style.legend_above(axes)
    return figure


def named_bars(
    names: Sequence[str],
    values: Sequence[float],
    *,
    beside: Sequence[tuple[float, str]],
    width: float,
    right: float,
    longest: int = 28,
    legend: str = "",
) -> tuple[Figure, Axes]:
    """Plot bars from 0 to 1 with their names on the left, the first one on top.

    Args:
        names: of the bars.
        values: their lengths.
        beside: for each bar, a text and the value where it begins.
        width: from 0 to 1, in inches.
        right: space for texts beyond 1, in inches.
        longest: letters of a name; longer ones are shortened.
        legend: name of the bars in a legend.
    """
    pitch, size = (0.3, style.BASE) if len(names) <= MANY else (0.17, 7.5)
    shown = [style.plot_text(name, longest=longest) for name in names]
    left = 0.3 + max(style.text_width(name, size) for name in shown)
    height = pitch * len(names) + 0.1
    figure = style.new_figure(left + width + right, height + 1.1)
    axes = style.add_axes(figure, left, 0.5, width, height)
    axes.barh(range(len(names)), values, height=0.62, color=style.SKY, label=legend)
    for place, (start, text) in enumerate(beside):
        axes.text(start, place, text, va="center", fontsize=size - 1, color=style.MUTED)
    axes.set_yticks(range(len(names)), shown, fontsize=size)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color=style.LINE, lw=0.6)
    return figure, axes


def plot_reliability(bins: Reliability) -> Figure:
    """Plot accuracy against confidence, the number of clips of each bin below, and the ECE in the title."""
    figure = style.new_figure(4.9, 5.6)
    axes = style.add_axes(figure, 0.65, 1.7, 3.95, 3.4)
    width = float(bins.edges[1])
    middle = (bins.edges[:-1] + bins.edges[1:]) / 2
    filled = bins.counts > 0
    confidence, accuracy, clips = bins.confidence[filled], bins.accuracy[filled], bins.counts[filled]
    axes.plot([0, 1], [0, 1], color=style.MUTED, lw=1, ls=(0, (4, 3)))
    axes.vlines(confidence, confidence, accuracy, color=style.ORANGE, lw=1.4)
    area = 14 + 110 * clips / clips.max(initial=1)
    axes.scatter(confidence, accuracy, s=area, color=style.BLUE, lw=0.8, edgecolor=style.PAPER, zorder=3, clip_on=False)
    axes.text(0.04, 0.93, "underconfident", fontsize=8, color=style.MUTED, va="top")
    axes.text(0.96, 0.07, "overconfident", fontsize=8, color=style.MUTED, ha="right")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.tick_params(labelbottom=False)
    axes.grid(color=style.LINE, lw=0.6)
    style.label_axes(axes, y="share of correct clips", title=f"Reliability: ECE {bins.error:.3f}")

    below = style.add_axes(figure, 0.65, 0.5, 3.95, 1.0)
    below.bar(middle, bins.counts, width=0.9 * width, color=style.BLUE)
    below.set_xlim(0, 1)
    below.yaxis.set_major_locator(ticker.MaxNLocator(3, integer=True))
    below.grid(axis="y", color=style.LINE, lw=0.6)
    style.label_axes(below, x="confidence in the predicted label", y="clips")
    return figure


def plot_curves(histories: Sequence[History]) -> Figure:
    """Plot loss, accuracy and validation macro F1 over the epochs: folds thin, their mean thick.

    A dot marks each epoch that is kept: of those with the highest macro F1, the last one.
    """
    pairs = [
        (what, f"{known}_{what}")
        for what in ("loss", "accuracy")
        for known in ("train", "val")
        if any(len(history.get(f"{known}_{what}", ())) for history in histories)
    ]
    panels = list(dict.fromkeys(what for what, _ in pairs))
    scores = [np.asarray(history.get("val_macro_f1", ()), dtype=np.float64) for history in histories]
    scores = [fold for fold in scores if np.isfinite(fold).any()]
    figure = style.new_figure(0.35 + 4.25 * (len(panels) + bool(scores)), 3.5)
    folds = f", {len(histories)} trainings and their mean" if len(histories) > 1 else ""
    for place, what in enumerate(panels):
        axes = style.add_axes(figure, 0.65 + 4.25 * place, 0.55, 3.6, 2.4)
        for name, colour, label in (("train", style.BLUE, "training"), ("val", style.ORANGE, "validation")):
            _draw_folds(axes, [history.get(f"{name}_{what}", ()) for history in histories], colour, label)
        style.label_axes(axes, x="epoch", y=what, title=f"{what.capitalize()}{folds}")
        axes.set_ylim(0, 1.02 if what == "accuracy" else None)
        axes.legend(frameon=False, fontsize=style.BASE - 1)
    if scores:
        axes = style.add_axes(figure, 0.65 + 4.25 * len(panels), 0.55, 3.6, 2.4)
        _draw_folds(axes, scores, style.GREEN, "validation")
        epochs = [len(fold) - int(np.nanargmax(fold[::-1])) for fold in scores]
        axes.scatter(
            epochs, [float(np.nanmax(fold)) for fold in scores], s=20, color=style.INK, zorder=4, clip_on=False
        )
        first, last = min(epochs), max(epochs)
        when = f"epoch {first} kept" if first == last else f"epochs {first} to {last} kept"
        style.label_axes(axes, x="epoch", y="macro F1", title=f"Validation macro F1, {when}")
        axes.set_ylim(0, 1.02)
    return figure


def _write_counts(axes: Axes, counts: npt.NDArray[np.int64], share: npt.NDArray[np.float64], cell: float) -> None:
    size = min(style.BASE + 1, cell * 72 * 0.42, cell * 72 / (0.75 * len(str(counts.max()))))
    if size < LEGIBLE:
        return
    for row, column in np.argwhere(counts > 0):
        colour = style.PAPER if share[row, column] > DARK else style.INK
        text = str(counts[row, column])
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


def _draw_folds(axes: Axes, folds: Sequence[npt.ArrayLike], colour: str, label: str) -> None:
    drawn = [fold for fold in (np.asarray(fold, dtype=np.float64) for fold in folds) if len(fold)]
    if not drawn:
        return
    alone = len(drawn) == 1
    for fold in drawn:
        axes.plot(
            np.arange(1, len(fold) + 1),
            fold,
            color=colour,
            lw=1.8 if alone else 0.7,
            alpha=1 if alone else 0.45,
            marker="o" if len(fold) == 1 else None,
            markersize=3,
            label=label if alone else None,
        )
    if not alone:
        mean = _mean_of_running(drawn)
        axes.plot(np.arange(1, len(mean) + 1), mean, color=colour, lw=2, label=label)
    axes.grid(axis="y", color=style.LINE, lw=0.6)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))


def _mean_of_running(folds: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    # folds stop at different epochs: the mean of fewer than half of them would jump
    running = sorted((len(fold) for fold in folds), reverse=True)
    epochs = running[(len(folds) - 1) // 2]
    table = np.full((len(folds), epochs), np.nan)
    for row, fold in zip(table, folds, strict=True):
        row[: len(fold)] = fold[:epochs]
    finite = np.isfinite(table)
    total = np.where(finite, table, 0.0).sum(axis=0)
    mean: npt.NDArray[np.float64] = total / np.where(finite.any(axis=0), finite.sum(axis=0), np.nan)
    return mean


def _best_first(row: ClassScores) -> tuple[float, str]:
    return -_number(row.f1), row.label


def _number(value: float | None) -> float:
    return 0.0 if value is None else value
