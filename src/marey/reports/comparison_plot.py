"""Plot of a comparison: accuracy with its interval against the cost of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.figure import Figure

from marey.reports import style

WIDTH, HEIGHT = 5.6, 3.6  # inches of the axes
LINE = 0.19  # inches from one name to the next
NEAR = 0.012  # share of the width; points that are closer are drawn side by side


class Mark(NamedTuple):
    """A recipe in the plot: accuracy with its interval, and FLOPs a clip."""

    name: str
    accuracy: float
    interval: tuple[float, float] | None
    flops: float | None


def plot_comparison(marks: Sequence[Mark]) -> Figure:
    """Plot accuracy with intervals against FLOPs a clip on a log scale; names are on the right, the best first."""
    ordered = sorted((mark for mark in marks if mark.flops), key=lambda mark: -mark.accuracy)
    names = [style.plot_text(mark.name) for mark in ordered]
    beside = 0.5 + max((style.text_width(name, style.BASE) for name in names), default=1.0)
    height = max(HEIGHT, LINE * len(names))
    figure = style.new_figure(0.65 + WIDTH + beside, height + 1.1)
    axes = style.add_axes(figure, 0.65, 0.6, WIDTH, height)
    style.label_axes(axes, x="FLOPs a clip", y="accuracy", title="Accuracy against cost")
    axes.grid(color=style.LINE, lw=0.6)
    axes.set_ylim(0, 1)
    if not ordered:
        return figure
    costs = np.array([mark.flops for mark in ordered], dtype=np.float64)
    low, high = costs.min() / 2, costs.max() * 2
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    if high / low < 100:
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    places = _apart(np.log(costs / low) / np.log(high / low))
    heights = _spread(np.array([mark.accuracy for mark in ordered]), LINE / height)
    for number, (mark, name, place, at) in enumerate(zip(ordered, names, places, heights, strict=True)):
        x = low * (high / low) ** place
        colour = style.ORANGE if number == 0 else style.BLUE
        if mark.interval is not None:
            axes.vlines(x, *mark.interval, color=colour, lw=1.6, alpha=0.55)
        axes.scatter([x], [mark.accuracy], s=30, color=colour, zorder=3, lw=0.8, edgecolor=style.PAPER, clip_on=False)
        axes.annotate(
            name,
            xy=(place, mark.accuracy),
            xytext=(1.03, at),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=style.BASE,
            color=colour if number == 0 else style.INK,
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": style.LINE, "lw": 0.8, "shrinkB": 4},
            annotation_clip=False,
            zorder=1,
        )
    return figure


def _apart(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return places on the axis, in shares of it, with overlapping ones moved a little apart."""
    moved = places.copy()
    order = np.argsort(places, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or places[order[end]] - places[order[end - 1]] > NEAR:
            row = order[start:end]
            moved[row] = places[row].mean() + NEAR * (np.arange(len(row)) - (len(row) - 1) / 2)
            start = end
    return moved


def _spread(heights: npt.NDArray[np.float64], gap: float) -> npt.NDArray[np.float64]:
    """Return the heights of the names, from the top down: near their points, `gap` apart, and inside [0, 1]."""
    at = heights.copy()
    for number in range(1, len(at)):
        at[number] = min(at[number], at[number - 1] - gap)
    floor = 0.0
    for number in reversed(range(len(at))):
        at[number] = max(at[number], floor)
        floor = at[number] + gap
    return at
