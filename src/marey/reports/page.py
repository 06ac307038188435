"""The report of an evaluation: one page that can be mailed, read anywhere and printed."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from marey.atomic import write_whole
from marey.evaluation import Evaluation, Metrics, OrderEffect, Row, reliability
from marey.reports import phrases
from marey.reports.image_io import save_picture
from marey.reports.phrases import confidence_text
from marey.reports.plots import History, plot_confusion, plot_curves, plot_per_class, plot_reliability
from marey.reports.style import save_png

MISTAKES = 12
PLOTS = ("confusion", "per_class", "reliability", "curves")
PLATE = 640  # pixels; the longer side of a chronophotograph in the report

Plate = Callable[[Row], npt.NDArray[np.uint8] | None]
"""Gives the picture of a clip, `(H, W, 3)` uint8 RGB, or None where none can be made."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image inside the page: its data as a URL, its size in pixels, and its content in words."""

    source: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong clip with its picture, where there is one."""

    row: Row
    predicted: str
    picture: Picture | None


def write_report(
    evaluation: Evaluation,
    out_dir: str | Path,
    *,
    title: str,
    recipe_text: str | None = None,
    histories: Sequence[History] | None = None,
    facts: Mapping[str, str] | None = None,
    frame_order: OrderEffect | None = None,
    mistake_plates: Plate | None = None,
    mistakes: int = MISTAKES,
) -> Path:
    """Writes `report.html`, which holds all its pictures, and the same pictures as PNG in `plots/`.

    Args:
        evaluation: what to report.
        out_dir: the run's folder; made if it is not there. An earlier report's pictures are replaced.
        title: the heading of the page.
        recipe_text: the recipe of the run, shown as it is.
        histories: the training curves, one a fold.
        facts: name -> value of what else is needed to have the numbers again (versions, machine, command).
        frame_order: what another order of the frames changes, where that was tested.
        mistake_plates: makes the picture of a mistaken clip.
        mistakes: how many mistakes to show, the most confident first.

    Returns:
        The path of the page.
    """
    out = Path(out_dir)
    plots = out / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for stale in plots.glob("mistake_*.png"):
        stale.unlink()
    metrics = evaluation.metrics
    page = environment().get_template("report.html.j2")
    text = page.render(
        title=title,
        evaluation=evaluation,
        metrics=metrics,
        remarks=phrases.remarks(evaluation),
        classes=[(row, phrases.mistaken_for(metrics, index)) for index, row in enumerate(metrics.classes)],
        pictures=_plots(evaluation, histories or (), plots),
        mistakes=_mistakes(evaluation, mistakes, mistake_plates, plots),
        mistake_count=len(evaluation.most_confident_mistakes(metrics.clips)),
        recipe=recipe_text,
        facts=facts or {},
        frame_order=frame_order,
    )
    path = out / "report.html"
    write_whole(path, text)
    return path


def _plots(evaluation: Evaluation, histories: Sequence[History], folder: Path) -> dict[str, Picture]:
    metrics = evaluation.metrics
    figures: dict[str, tuple[Figure, str]] = {
        "confusion": (plot_confusion(metrics), _describe_confusion(metrics)),
        "per_class": (
            plot_per_class(metrics),
            "Bars of each class's F1, best first, with precision and recall; the table has the numbers.",
        ),
    }
    scored = ~np.isnan(evaluation.probabilities[:, 0])
    if scored.any():
        probabilities = evaluation.probabilities[scored]
        bins = reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == evaluation.true[scored])
        alt = f"Accuracy against confidence in 15 bins; expected calibration error {bins.error:.3f}."
        figures["reliability"] = plot_reliability(bins), alt
    if any(history.get("train_loss") for history in histories):
        alt = "Loss and validation macro F1 over the epochs of training."
        figures["curves"] = plot_curves(histories), alt
    pictures = {}
    for name in PLOTS:
        path = folder / f"{name}.png"
        path.unlink(missing_ok=True)
        if name in figures:
            figure, alt = figures[name]
            pictures[name] = embedded(figure, path, alt)
    return pictures


def embedded(figure: Figure, path: Path, alt: str) -> Picture:
    """Write a figure as PNG, and give it for a page that holds its pictures."""
    save_png(figure, path)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(_data_url(path.read_bytes(), "png"), width, height, alt)


def _mistakes(evaluation: Evaluation, k: int, plate: Plate | None, folder: Path) -> list[Mistake]:
    shown = []
    for number, row in enumerate(evaluation.most_confident_mistakes(k), start=1):
        predicted = evaluation.predicted(row) or ""
        pixels = plate(row) if plate is not None else None
        picture = None
        if pixels is not None:
            image = Image.fromarray(pixels)
            image.thumbnail((PLATE, PLATE))
            save_picture(np.asarray(image), folder / f"mistake_{number:02d}.png")
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=85)  # a tenth of the PNG: the page has to fit into a mail
            alt = f"All instants of {row.clip} on one plate: {row.label}, taken for {predicted}."
            picture = Picture(_data_url(buffer.getvalue(), "jpeg"), *image.size, alt)
        shown.append(Mistake(row, predicted, picture))
    return shown


def _describe_confusion(metrics: Metrics) -> str:
    pairs = sorted(
        (
            (-number, true, predicted)
            for index, true in enumerate(metrics.labels)
            for other, (predicted, number) in enumerate(zip(metrics.labels, metrics.confusion[index][:-1], strict=True))
            if other != index and number
        ),
    )[:3]
    if not pairs:
        return "Confusion matrix: no class is taken for another."
    worst = "; ".join(f"{true} taken for {predicted} {-number} times" for number, true, predicted in pairs)
    return f"Confusion matrix. Most frequent: {worst}."


def _data_url(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


@cache
def environment() -> jinja2.Environment:
    """Where the templates of all pages are, and what they can say."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("marey.reports"),
        autoescape=True,  # labels and paths come from strangers
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "answer": phrases.answer,
        "confidence": confidence_text,
        "count": phrases.count,
        "frame_order": phrases.frame_order,
        "right_clips": phrases.right_clips,
        "share": phrases.share,
        "span": phrases.span,
    }
    return environment
