"""The report of an evaluation: one HTML file that contains its images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from marey.atomic import write_atomic
from marey.evaluation import (
    ClipResult,
    DataFindings,
    Evaluation,
    Guarantees,
    Metrics,
    OrderEffect,
    ShiftResult,
    StreamRow,
    StreamSelection,
    UnknownActions,
    reasons,
    reliability,
)
from marey.reports import phrases
from marey.reports.embedding import EmbeddedImage, embed, embed_pixels
from marey.reports.findings import FEW, ClipImage, show_findings
from marey.reports.image_io import save_image
from marey.reports.plots import History, plot_confusion, plot_curves, plot_per_class, plot_reliability
from marey.reports.risk_plot import plot_risk

MISTAKES = 12
PLOTS = ("confusion", "per_class", "reliability", "risk", "curves")
MISTAKE_SIDE = 640  # pixels; the longer side of the image of a mistake

ImageOf = Callable[[ClipResult], npt.NDArray[np.uint8] | None]
"""Function that returns an image of a clip, uint8 RGB `(H, W, 3)`, or None if there is none."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong clip with its image, if there is one."""

    row: ClipResult
    predicted: str
    image: EmbeddedImage | None


def write_report(
    evaluation: Evaluation,
    out_dir: str | Path,
    *,
    title: str,
    recipe_text: str | None = None,
    histories: Sequence[History] | None = None,
    facts: Mapping[str, str] | None = None,
    frame_order: OrderEffect | None = None,
    selections: Sequence[StreamSelection] = (),
    unknown: UnknownActions | None = None,
    guarantees: Guarantees | None = None,
    shifts: Sequence[ShiftResult] = (),
    findings: DataFindings | None = None,
    clip_image: ClipImage | None = None,
    mistake_image: ImageOf | None = None,
    mistakes: int = MISTAKES,
) -> Path:
    """Write `report.html`, which contains its images, and the same images as PNG in `plots/`.

    Args:
        evaluation: what to report.
        out_dir: folder of the run; made if it does not exist. Images of an earlier report are replaced.
        title: heading of the page.
        recipe_text: recipe of the run, shown as it is.
        histories: training curves, one a fold.
        facts: name -> value of what else is needed to reproduce the numbers (versions, machine, command).
        frame_order: effect of another order of the frames, if it was tested.
        selections: the choice of streams of each training, where they were chosen.
        unknown: how well unknown actions are told, if it was tested.
        guarantees: what sets of labels and confident answers are worth, if it was measured.
        shifts: results of the clips under each shift, if that was tested.
        findings: what the training says about its data.
        clip_image: function that makes the image of a clip, for the findings.
        mistake_image: function that makes the image of a wrong clip.
        mistakes: number of mistakes to show, the most confident first.

    Returns:
        The path of the page.
    """
    out = Path(out_dir)
    plots = out / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    for stale in plots.glob("mistake_*.png"):
        stale.unlink()
    metrics = evaluation.metrics
    own = {"protocol": metrics.protocol, "seed": str(metrics.seed), "data hash": metrics.data_hash}
    write_page(
        out / "report.html",
        "report",
        title=title,
        evaluation=evaluation,
        metrics=metrics,
        remarks=phrases.remarks(evaluation),
        classes=[(row, phrases.mistaken_for(metrics, index)) for index, row in enumerate(metrics.classes)],
        images=_plots(evaluation, histories or (), unknown, plots),
        mistakes=_mistakes(evaluation, mistakes, mistake_image, plots),
        mistake_count=len(evaluation.most_confident_mistakes(metrics.clips)),
        recipe=recipe_text,
        facts={name: value for name, value in own.items() if value} | dict(facts or {}),
        frame_order=frame_order,
        unknown=unknown,
        guarantees=guarantees,
        shifts=shifts,
        findings=None if findings is None else show_findings(findings, clip_image, most=FEW),
        streams=StreamRow.of(selections),
        trainings=len(selections),
        reasons=reasons(selections),
    )
    return out / "report.html"


def _plots(
    evaluation: Evaluation, histories: Sequence[History], unknown: UnknownActions | None, folder: Path
) -> dict[str, EmbeddedImage]:
    metrics = evaluation.metrics
    figures: dict[str, tuple[Figure, str]] = {
        "confusion": (plot_confusion(metrics), _describe_confusion(metrics)),
        "per_class": (
            plot_per_class(metrics),
            "Bars of the F1 of each class, best first, with precision and recall; the table has the numbers.",
        ),
    }
    scored = ~np.isnan(evaluation.probabilities[:, 0])
    if scored.any():
        probabilities = evaluation.probabilities[scored]
        bins = reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == evaluation.target[scored])
        alt = f"Accuracy against confidence in 15 bins; expected calibration error {bins.error:.3f}."
        figures["reliability"] = plot_reliability(bins), alt
    if unknown is not None and unknown.selective is not None:
        curve = unknown.selective
        alt = f"Share of wrong answers against share of clips answered; area below the line {curve.area:.3f}."
        figures["risk"] = plot_risk(curve), alt
    if any(history.get("train_loss") for history in histories):
        alt = "Loss and validation macro F1 over the epochs of training."
        figures["curves"] = plot_curves(histories), alt
    images = {}
    for name in PLOTS:
        path = folder / f"{name}.png"
        path.unlink(missing_ok=True)
        if name in figures:
            figure, alt = figures[name]
            images[name] = embed(figure, path, alt)
    return images


def _mistakes(evaluation: Evaluation, k: int, image_of: ImageOf | None, folder: Path) -> list[Mistake]:
    shown = []
    for number, row in enumerate(evaluation.most_confident_mistakes(k), start=1):
        predicted = evaluation.predicted(row) or ""
        pixels = image_of(row) if image_of is not None else None
        embedded = None
        if pixels is not None:
            image = Image.fromarray(pixels)
            image.thumbnail((MISTAKE_SIDE, MISTAKE_SIDE))
            save_image(np.asarray(image), folder / f"mistake_{number:02d}.png")
            alt = f"Chronophotograph of {row.clip}: {row.label}, predicted as {predicted}."
            embedded = embed_pixels(np.asarray(image), alt)
        shown.append(Mistake(row, predicted, embedded))
    return shown


def _describe_confusion(metrics: Metrics) -> str:
    pairs = sorted(
        (
            (-number, target, predicted)
            for index, target in enumerate(metrics.labels)
            for other, (predicted, number) in enumerate(zip(metrics.labels, metrics.confusion[index][:-1], strict=True))
            if other != index and number
        ),
    )[:3]
    if not pairs:
        return "Confusion matrix: no class is predicted as another."
    worst = "; ".join(f"{target} predicted as {predicted} {-number} times" for number, target, predicted in pairs)
    return f"Confusion matrix. Most frequent: {worst}."


def write_page(path: Path, template: str, *, single_writer: bool = False, **values: Any) -> None:
    """Render the template `TEMPLATE.html.j2`, and write the page atomically; `single_writer` as in `write_atomic`."""
    write_atomic(path, _environment().get_template(f"{template}.html.j2").render(values), single_writer=single_writer)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("marey.reports"),
        autoescape=True,  # labels and paths are untrusted
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "answer": phrases.answer,
        "confidence": phrases.confidence_text,
        "correct_clips": phrases.correct_clips,
        "count": phrases.count,
        "frame_order": phrases.frame_order,
        "sentence": phrases.sentence,
        "share": phrases.share,
        "span": phrases.span,
    }
    return environment
