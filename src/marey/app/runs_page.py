"""Page \"Runs\": metrics of a run, its confusion matrix, its mistakes, and the clips themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import streamlit as st

from marey.app import charts, text
from marey.app.components import matrix
from marey.app.predict_page import clip_of
from marey.app.result_view import progress
from marey.app.runs_index import Entry, find_runs
from marey.app.settings import Settings
from marey.app.video_cache import annotated_clip
from marey.errors import DatasetError, MareyError
from marey.evaluation import FAILED, ClipResult, metric_rows, read_predictions, reliability
from marey.prediction import sort_by_probability
from marey.reports import percent_text, phrases

_CLIPS: Final = 6  # shown at a time
_MISTAKES: Final = 24


def page() -> None:
    """Show the page."""
    settings = Settings.from_environment()
    entries = {entry.name: entry for entry in find_runs(settings.models) if entry.has_results}
    st.title("Test results of a run")
    if not entries:
        text.lead("No run has been tested yet.")
        st.page_link(st.session_state["pages"]["train"], label="Train one from a folder of clips")
        return
    selected = st.session_state.pop("look_at_run", None)
    if selected in entries:
        st.session_state["run"] = selected
    elif st.session_state.get("run") not in entries:
        st.session_state["run"] = next(iter(entries))
    entry = entries[st.selectbox("Run", list(entries), key="run", width=420)]
    try:
        metrics, labels, rows = _read(str(entry.folder), entry.changed)
    except MareyError as error:
        st.error(text.escape(str(error)))
        return
    _headline(metrics, entry)
    parts: dict[str, Callable[[], None]] = {
        "Confusion": lambda: _confusion(metrics, labels, rows, entry, settings),
        "Classes": lambda: _classes(metrics),
        "Mistakes": lambda: _mistakes(labels, rows, settings),
        "Confidence": lambda: _confidence(labels, rows),
        "Curves": lambda: _curves(entry),
    }
    for tab, show in zip(st.tabs(list(parts), key="part", on_change="rerun"), parts.values(), strict=True):
        if tab.open:
            with tab:
                show()


@st.cache_data(max_entries=8, show_spinner=False)
def _read(folder: str, changed: float) -> tuple[dict[str, Any], tuple[str, ...], tuple[ClipResult, ...]]:
    try:
        metrics = json.loads((Path(folder) / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"metrics.json of this run cannot be read: {error}") from error
    needed = {"accuracy", "macro_f1", "per_class", "confusion_matrix", "clips", "chance", "protocol"}
    if not isinstance(metrics, dict) or needed - metrics.keys():
        raise DatasetError("metrics.json of this run has another format than marey writes")
    labels, rows = read_predictions(Path(folder) / "predictions.csv")
    return metrics, labels, rows


def _headline(metrics: dict[str, Any], entry: Entry) -> None:
    leak = metrics.get("leaks", {}).get("note")
    if leak:
        st.warning(f"This split leaks: {text.escape(leak)}.", icon=":material/warning:")
    with st.container(horizontal=True):
        for row in metric_rows(metrics):
            if row.headline:
                digits = 3 if row.name.startswith("ece") else 2
                st.metric(row.title, phrases.share(row.value, digits), border=True, help=row.meaning, width=190)
        st.metric("clips", f"{metrics['clips']:,}", border=True, width=190)
    details = [f"protocol: {metrics['protocol']}", f"chance level {metrics['chance']:.2f}"]
    interval = metrics.get("accuracy_interval")
    if interval:
        level = metrics.get("interval", {}).get("level", 0.95)
        details.insert(0, f"{level:.0%} interval of the accuracy {interval[0]:.2f} to {interval[1]:.2f}")
    if _no_groups(metrics):
        details.append("no groups known: this may be too high")
    text.lead("; ".join(details))
    if entry.has_model and st.button("Use this model"):
        st.session_state["use_model"] = entry.name
        st.switch_page(st.session_state["pages"]["predict"])


def _no_groups(metrics: dict[str, Any]) -> bool:
    """Return True if the interval resamples clips, not groups."""
    return str(metrics.get("interval", {}).get("method", "")).endswith("over clips")


def _confusion(
    metrics: dict[str, Any], labels: tuple[str, ...], rows: tuple[ClipResult, ...], entry: Entry, settings: Settings
) -> None:
    counts = metrics["confusion_matrix"]["counts"]
    columns = list(metrics["confusion_matrix"]["columns"])
    if not any(row[-1] for row in counts):
        columns, counts = columns[:-1], [row[:-1] for row in counts]
    cell = matrix(labels, columns, counts, key=f"matrix-{entry.name}")
    if cell is None:
        return
    true, predicted = labels[cell[0]], columns[cell[1]]
    found = [row for row in rows if row.label == true and _predicted(row, labels) == predicted]
    outcome = "correct" if true == predicted else f"predicted as {text.escape(predicted)}"
    st.subheader(f"{text.escape(true)}, {outcome}", anchor=False)
    _clips(found, labels, settings, key="cell")


def _classes(metrics: dict[str, Any]) -> None:
    rows = [{"class": label, **scores} for label, scores in metrics["per_class"].items()]
    bar = st.column_config.ProgressColumn(format="%.2f", min_value=0, max_value=1)
    columns = {
        "f1": st.column_config.ProgressColumn("F1", format="%.2f", min_value=0, max_value=1),
        "precision": bar,
        "recall": bar,
        "support": st.column_config.NumberColumn("clips"),
    }
    rows.sort(key=lambda row: (row["f1"] is None, -(row["f1"] or 0)))
    st.dataframe(rows, column_config=columns, hide_index=True, height="content" if len(rows) < 30 else 600)


def _mistakes(labels: tuple[str, ...], rows: tuple[ClipResult, ...], settings: Settings) -> None:
    wrong = [row for row in rows if row.probabilities is not None and _predicted(row, labels) != row.label]
    wrong.sort(key=lambda row: -(row.confidence or 0.0))
    if not wrong:
        text.lead("All clips are correct.")
        return
    text.lead(f"{len(wrong)} of {len(rows)} clips, the most confident mistakes first.")
    _clips(wrong[:_MISTAKES], labels, settings, key="mistake")


def _confidence(labels: tuple[str, ...], rows: tuple[ClipResult, ...]) -> None:
    scored = [row for row in rows if row.confidence is not None]
    if not scored:
        text.lead("No clip could be decoded.")
        return
    confidence = [row.confidence or 0.0 for row in scored]
    correct = [_predicted(row, labels) == row.label for row in scored]
    text.lead(
        "Confidence equals accuracy on the dashed line; above it the model is underconfident, below it overconfident."
    )
    charts.reliability(reliability(confidence, correct))


def _curves(entry: Entry) -> None:
    histories = charts.read_histories(entry.folder)
    if not any(history.get("train_loss") for history in histories):
        text.lead("This run has no training curves.")
        return
    trainings = "training" if len(histories) == 1 else f"{len(histories)} trainings, a line each"
    text.lead(trainings)
    charts.curves(histories)


def _clips(rows: list[ClipResult], labels: tuple[str, ...], settings: Settings, *, key: str) -> None:
    """Show clips that play, a few at a time."""
    pages = -(-len(rows) // _CLIPS)
    first = 0
    if pages > 1:
        chosen = st.segmented_control(
            "Page",
            range(1, pages + 1),
            default=1,
            required=True,
            key=f"{key}-page-{pages}",
            label_visibility="collapsed",
        )
        first = ((chosen or 1) - 1) * _CLIPS
    columns = st.columns(3)
    for place, row in enumerate(rows[first : first + _CLIPS]):
        with columns[place % 3]:
            _clip(row, labels, settings)


def _clip(row: ClipResult, labels: tuple[str, ...], settings: Settings) -> None:
    name = text.escape(Path(row.path).name)
    if row.probabilities is None:
        st.error(f"**{name}**: {text.escape(row.detail)} (`{row.reason}`)")
        return
    clip = clip_of(row.clip, row.path, row.label, row.group)
    top = sort_by_probability(labels, row.probabilities)
    try:
        with progress("Annotating the clip") as advance:
            video = annotated_clip(clip.path, top, settings.video_cache, on_progress=advance)
    except MareyError as error:
        st.warning(text.fault(error, Path(row.path).name))
        return
    st.video(
        video, loop=True, autoplay=True, muted=True, start_time=clip.start or 0, end_time=clip.end,
        alt=Path(row.path).name,
    )  # fmt: skip
    predicted = f"{text.escape(top[0][0])} ({text.escape(percent_text(top[0][1]))})"
    st.caption(f"{text.escape(row.label)}, predicted {predicted}. {name}")


def _predicted(row: ClipResult, labels: tuple[str, ...]) -> str:
    return FAILED if row.probabilities is None else labels[int(np.argmax(row.probabilities))]
