"""Charts that the browser draws in the colours of the page."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import altair as alt
import numpy as np
import numpy.typing as npt
import streamlit as st
from PIL import Image

from marey.data import Segment
from marey.evaluation import Reliability
from marey.prediction import Timeline
from marey.reports import percent_text

_BLUE, _ORANGE, _GREEN, _MUTED = "#2f86cc", "#d9701e", "#1f9d76", "#8a97a5"
_MOST_POINTS: Final = 1200  # of a curve; more are not seen
_MOST_CURVES: Final = 8


def filmstrip(frames: npt.NDArray[np.uint8], captions: Sequence[str]) -> None:
    """Show images side by side, as many in a row as fit.

    Args:
        frames: uint8 `(N, H, W, 3)`.
        captions: one an image.
    """
    figures = "".join(
        f'<figure><img src="{_url(frame)}" alt="{html.escape(caption)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for frame, caption in zip(frames, captions, strict=True)
    )
    st.html(f'<div class="marey-strip">{figures}</div>')


def _url(frame: npt.NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def timeline(found: Timeline) -> None:
    """Show segments as a strip, and below it the probabilities of the classes that occur."""
    peaks = found.probabilities.max(axis=0)
    occurring = [label for label in found.labels if any(segment.label == label for segment in found.segments)]
    by_peak = [found.labels[place] for place in np.argsort(-peaks) if found.labels[place] not in occurring]
    shown = [*occurring, *by_peak][:_MOST_CURVES]
    colour = alt.Color("label:N", scale=alt.Scale(domain=shown), legend=alt.Legend(orient="bottom", title=None))
    span = alt.Scale(domain=[0, found.duration], nice=False)
    axis = alt.Axis(title=None, labelExpr=_CLOCK, tickMinStep=1, grid=False)
    strip = (
        alt.Chart(_rows([_row(segment) for segment in found.segments if segment.label in shown]))
        .mark_bar(cornerRadius=3, height=26)
        .encode(
            x=alt.X("start:Q", scale=span, axis=None),
            x2="end:Q",
            color=colour,
            tooltip=["label:N", alt.Tooltip("start:Q", format=".1f"), alt.Tooltip("end:Q", format=".1f"),
                     "confidence:N"],
        )
        .properties(height=34)
    )  # fmt: skip
    every = max(1, len(found.times) // _MOST_POINTS)
    values = [
        {"time": time, "label": label, "probability": float(row[found.labels.index(label)])}
        for time, row in zip(found.times[::every].tolist(), found.probabilities[::every], strict=True)
        for label in shown
    ]
    curves = (
        alt.Chart(_rows(values))
        .mark_line(strokeWidth=1.8)
        .encode(
            x=alt.X("time:Q", scale=span, axis=axis),
            y=alt.Y(
                "probability:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", title=None, tickCount=3)
            ),
            color=colour,
        )
        .properties(height=130)
    )
    parts = [strip, curves] if found.segments else [curves]
    st.altair_chart(alt.vconcat(*parts, spacing=6).resolve_scale(x="shared"), width="stretch")


_CLOCK: Final = (
    "(datum.value < 3600 ? floor(datum.value / 60) : floor(datum.value / 3600) + ':' + "
    "format(floor(datum.value / 60) % 60, '02')) + ':' + format(floor(datum.value % 60), '02')"
)


def confidence_cells(probability: float | None) -> dict[str, Any]:
    """Return the cells of a table for a confidence: its text and its bar; empty for None."""
    return {"confidence": "" if probability is None else percent_text(probability), "bar": probability}


def confidence_columns() -> dict[str, Any]:
    """Return how a table shows the cells of `confidence_cells`."""
    # The bar is without a number: Streamlit would round 0.99996 to 100%.
    return {"bar": st.column_config.ProgressColumn("", format=" ", min_value=0, max_value=1, width="small")}


def _row(segment: Segment) -> dict[str, Any]:
    return {**segment.as_dict(), "confidence": percent_text(segment.confidence)}


def _rows(values: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    return alt.InlineData(list(values))


def reliability(bins: Reliability) -> None:
    """Show the share of correct clips against the confidence; larger dots hold more clips."""
    filled = bins.counts > 0
    found = zip(bins.confidence[filled], bins.accuracy[filled], bins.counts[filled], strict=True)
    table = [
        {"confidence": float(mean), "mean": percent_text(float(mean)), "correct": float(correct), "clips": int(clips)}
        for mean, correct, clips in found
    ]
    share = alt.Scale(domain=[0, 1])
    percent = alt.Axis(format="%")
    diagonal = (
        alt.Chart(_rows([{"confidence": 0.0, "correct": 0.0}, {"confidence": 1.0, "correct": 1.0}]))
        .mark_line(color=_MUTED, strokeDash=[4, 4], strokeWidth=1)
        .encode(x="confidence:Q", y="correct:Q")
    )
    points = (
        alt.Chart(_rows(table))
        .mark_circle(color=_BLUE, opacity=0.9)
        .encode(
            x=alt.X("confidence:Q", title="confidence", scale=share, axis=percent),
            y=alt.Y("correct:Q", title="share of correct clips", scale=share, axis=percent),
            size=alt.Size("clips:Q", scale=alt.Scale(range=[60, 600]), legend=None),
            tooltip=["clips:Q", alt.Tooltip("mean:N", title="confidence"), alt.Tooltip("correct:Q", format=".0%")],
        )
    )
    st.altair_chart((diagonal + points).properties(height=340), width="stretch")


def curves(histories: Sequence[Mapping[str, Sequence[float]]]) -> None:
    """Show loss, accuracy and validation macro F1 over the epochs, a thin line a training."""
    names = {
        "train_loss": "training loss",
        "val_loss": "validation loss",
        "train_accuracy": "training accuracy",
        "val_accuracy": "validation accuracy",
        "val_macro_f1": "validation macro F1",
    }
    rows: list[dict[str, Any]] = [
        {"training": str(number), "epoch": epoch, "quantity": names[key], "value": value}
        for number, history in enumerate(histories, start=1)
        for key in names
        for epoch, value in enumerate(history.get(key, ()), start=1)
        if np.isfinite(value)
    ]
    losses = [row for row in rows if row["quantity"].endswith("loss")]
    scores = [row for row in rows if not row["quantity"].endswith("loss")]
    colours = alt.Scale(domain=list(names.values()), range=[_BLUE, _ORANGE, _BLUE, _ORANGE, _GREEN])
    for part, top in ((losses, None), (scores, 1)):
        there = [name for name in names.values() if any(row["quantity"] == name for row in part)]
        if part:
            scale = alt.Scale(domain=[0, top]) if top else alt.Scale(domainMin=0)
            chart = (
                alt.Chart(_rows(part))
                .mark_line(strokeWidth=1.2, opacity=0.55)
                .encode(
                    x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, grid=False)),
                    y=alt.Y("value:Q", scale=scale, title=None),
                    color=alt.Color(
                        "quantity:N", scale=colours, legend=alt.Legend(orient="top", title=None, values=there)
                    ),
                    detail="training:N",
                    tooltip=["training:N", "epoch:Q", alt.Tooltip("value:Q", format=".3f")],
                )
                .properties(height=300)
            )
            st.altair_chart(chart, width="stretch")


def read_histories(run: Path) -> list[dict[str, list[float]]]:
    """Return the histories of all trainings of a run, from `folds/*/training.json`."""
    found: list[dict[str, list[float]]] = []
    for path in sorted(run.glob("folds/*/training.json")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        found += values.get("histories", []) if isinstance(values, dict) else []
    return found
