"""Plot of the errors that are left when only confident answers are given."""

from __future__ import annotations

from matplotlib.figure import Figure

from marey.evaluation import Selective
from marey.reports import style


def plot_risk(curve: Selective) -> Figure:
    """Plot the share of wrong answers against the share of clips that are answered, the most confident first."""
    figure = style.new_figure(4.6, 3.2)
    axes = style.add_axes(figure, 0.7, 0.6, 3.6, 2.3)
    axes.step(curve.coverage, curve.risk, where="pre", color=style.SKY)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(0.05, 1.1 * float(curve.risk.max())))
    axes.set_xlabel("share of clips answered")
    axes.set_ylabel("share of answers wrong")
    return figure
