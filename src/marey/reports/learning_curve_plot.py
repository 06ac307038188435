"""Plot of a learning curve."""

from __future__ import annotations

from matplotlib import ticker
from matplotlib.figure import Figure

from marey.evaluation import LearningCurve
from marey.reports import style


def plot_learning_curve(curve: LearningCurve) -> Figure:
    """Plot accuracy against the number of groups: measured, and continued by the power law, with 95 % intervals."""
    figure = style.new_figure(7.0, 4.2)
    axes = style.add_axes(figure, 0.75, 0.7, 6.0, 2.85)
    measured = [point for point in curve.points if point.measured]
    ahead = [measured[-1], *(point for point in curve.points if not point.measured)]
    for points, colour, line, name in (
        (measured, style.BLUE, "o-", "measured"),
        (ahead, style.ORANGE, "--", "continued by a power law"),
    ):
        sizes = [point.groups for point in points]
        if all(point.interval is not None for point in points):
            low, high = zip(*(point.interval or (0.0, 0.0) for point in points), strict=True)
            axes.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(sizes, [point.accuracy for point in points], line, color=colour, linewidth=1.8, ms=5, label=name)
    axes.axvline(curve.groups, color=style.MUTED, linewidth=1, linestyle=":")
    axes.annotate(
        f"{curve.groups} groups now",
        (curve.groups, 0.03),
        xycoords=("data", "axes fraction"),
        xytext=(5, 0),
        textcoords="offset points",
        color=style.MUTED,
        fontsize=style.BASE - 1,
    )
    axes.set_xscale("log")
    sizes = sorted({point.groups for point in curve.points})
    axes.set_xticks(_apart(sizes), [str(size) for size in _apart(sizes)])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    lowest = min((point.interval or (point.accuracy,))[0] for point in curve.points)
    axes.set_ylim(max(0.0, lowest - 0.05), 1.01)
    style.label_axes(axes, x="groups to train on", y="accuracy", title="Learning curve", pad=24)
    style.legend_above(axes)
    return figure


def _apart(sizes: list[int], *, least: float = 1.22) -> list[int]:
    """Return the sizes that are far enough apart for their labels on an axis of logarithms."""
    kept: list[int] = []
    for size in sizes:
        if not kept or size >= least * kept[-1]:
            kept.append(size)
    return kept
