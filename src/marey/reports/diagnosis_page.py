"""The page of `marey diagnose`: what would help most."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from marey.evaluation import DataFindings
from marey.reports.embedding import embed
from marey.reports.findings import ClipImage, curve_text, show_findings
from marey.reports.learning_curve_plot import plot_learning_curve
from marey.reports.page import write_page


def write_diagnosis(
    findings: DataFindings, out: Path, *, title: str, image_of: ClipImage | None, facts: Mapping[str, str]
) -> Path:
    """Write `diagnosis.html`, which contains its images, and the learning curve as PNG beside it.

    Args:
        findings: what to show.
        out: the folder.
        title: heading of the page.
        image_of: function that makes the image of a clip.
        facts: name -> value of what is needed to have the numbers again.

    Returns:
        The path of the page.
    """
    out.mkdir(parents=True, exist_ok=True)
    curve = findings.curve
    plotted = None
    if curve is not None:
        alt = "Accuracy against the number of groups, measured and continued; the table has the numbers."
        plotted = embed(plot_learning_curve(curve), out / "learning_curve.png", alt)
    page = out / "diagnosis.html"
    write_page(
        page,
        "diagnosis",
        single_writer=True,
        title=title,
        findings=show_findings(findings, image_of),
        curve=curve,
        curve_text=None if curve is None else curve_text(curve),
        curve_image=plotted,
        facts=dict(facts),
    )
    return page
