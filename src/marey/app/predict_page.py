"""Page \"Predict\": the user brings clips, the page shows the predictions."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final

import streamlit as st

from marey.app import charts, text
from marey.app.class_examples import show_classes
from marey.app.components import recorder
from marey.app.result_view import progress, read, show_result
from marey.app.runs_index import Entry, find_runs, labels_of
from marey.app.settings import Settings
from marey.app.storage import save_upload, typed_path
from marey.data import Clip
from marey.errors import MareyError, UsageError, VideoError
from marey.evaluation import read_predictions
from marey.prediction import UNKNOWN
from marey.remote_path import as_path
from marey.video import WEB_SUFFIX, fetch_video

_RECORDED: Final = 15  # s
_MOST_EXAMPLES: Final = 200
_LONGEST_FETCH: Final = 3600  # s


@dataclass(frozen=True, slots=True)
class Input:
    """A clip that a user brought, and its name on their machine."""

    clip: Clip
    name: str


def page() -> None:
    """Show the page."""
    settings = Settings.from_environment()
    entries = [entry for entry in find_runs(settings.models) if entry.has_model]
    st.title("Predict the action in a clip")
    if not entries:
        _show_no_model(settings)
        return
    entry = _choose_model(entries)
    _inputs(entry, settings)
    given: list[Input] = st.session_state.get("given", [])
    if not given:
        return
    st.divider()
    chosen = given[0] if len(given) == 1 else _choose_clip(given, entry)
    if chosen is not None:
        show_result(chosen.clip, chosen.name, entry, settings)


def _show_no_model(settings: Settings) -> None:
    where = f" in {settings.models}" if settings.local else ""
    text.lead(f"There is no trained model{where} yet.")
    st.page_link(st.session_state["pages"]["train"], label="Train one from a folder of clips")
    st.markdown("Or run the demo in a terminal; it draws its own clips:")
    st.code("marey demo", language="bash")


def _choose_model(entries: list[Entry]) -> Entry:
    by_name = {entry.name: entry for entry in entries}
    selected = st.session_state.pop("use_model", None)
    if selected in by_name:
        st.session_state["model"] = selected
    elif st.session_state.get("model") not in by_name:
        st.session_state["model"] = entries[0].name
    return by_name[st.selectbox("Model", list(by_name), key="model", width=420)]


def _inputs(entry: Entry, settings: Settings) -> None:
    names = ["Video file", "Camera", "Example", *(["File on this machine", "URL"] if settings.local else [])]
    tabs = st.tabs(names)
    with tabs[0]:
        st.file_uploader(
            "Drop one or several clips",
            accept_multiple_files=True,
            key="upload",
            on_change=_uploaded,
            args=(settings,),
        )
    with tabs[1]:
        recorder(key="recorder", seconds=_RECORDED, on_clip=lambda data, name: _recorded(data, name, settings))
    with tabs[2]:
        _examples(entry)
    if settings.local:
        with tabs[3], st.form("path", border=False):
            path = st.text_input("Path of a video", placeholder="/home/me/videos/game.mp4")
            if st.form_submit_button("Open") and path.strip():
                _open(path)
        with tabs[4], st.form("url", border=False):
            url = st.text_input("URL of a video, a page or a stream", placeholder="rtsp://camera/1")
            seconds = st.number_input("Seconds to take, from its beginning", 1, _LONGEST_FETCH, 30)
            if st.form_submit_button("Fetch") and url.strip():
                _fetch(url.strip(), int(seconds), settings)


def _fetch(url: str, seconds: int, settings: Settings) -> None:
    """Fetch a video by its URL: on this machine alone, as a page for others could reach what they cannot."""
    st.session_state["given"] = []
    try:
        with TemporaryDirectory() as folder, progress("Fetching the video") as advance:
            path = Path(folder) / f"fetched{WEB_SUFFIX}"
            name = fetch_video(url, path, seconds=seconds, on_progress=lambda done: advance(done / seconds))
            with path.open("rb") as file:
                kept = save_upload(file, path.name, settings.uploads)
        st.session_state["given"] = [Input(Clip(kept), name)]
    except VideoError as error:
        st.error(text.fault(error, error.name))
    except (MareyError, OSError) as error:
        st.error(text.escape(text.message(error)))


def _open(typed: str) -> None:
    st.session_state["given"] = []
    try:
        file = typed_path(typed)
        if not file.exists():
            raise UsageError(f"there is no file {file}: check the spelling")
        st.session_state["given"] = [Input(Clip(file), file.name or str(file))]
    except (UsageError, OSError) as error:
        st.error(text.escape(text.message(error)))


def _uploaded(settings: Settings) -> None:
    _keep([(file, file.name) for file in st.session_state["upload"]], settings)


def _recorded(data: bytes, name: str, settings: Settings) -> None:
    _keep([(io.BytesIO(data), name)], settings)


def _keep(files: list[tuple[BinaryIO, str]], settings: Settings) -> None:
    st.session_state["given"] = []
    try:
        st.session_state["given"] = [
            Input(Clip(save_upload(file, name, settings.uploads)), name) for file, name in files
        ]
    except OSError as error:  # such as a full disk
        st.error(text.escape(text.message(error)))


def _examples(entry: Entry) -> None:
    examples = _tested_on(entry) if entry.has_results else []
    if not examples:
        text.lead("The test clips of this model are not on this machine.")
        show_classes(labels_of(entry), {}, on_choice=lambda _: None)
        return
    by_name: dict[str, Input] = {}
    for given in examples:
        by_name.setdefault(f"{given.clip.label}: {given.name}", given)
    first = {str(given.clip.label): given for given in reversed(examples)}

    def choose(label: str) -> None:
        st.session_state["given"] = [first[label]]

    show_classes(labels_of(entry), {label: given.clip for label, given in first.items()}, on_choice=choose)
    chosen = st.selectbox(
        "A test clip of this model", list(by_name), index=None, placeholder="select one", key="example"
    )
    if chosen is not None and st.session_state.get("example_shown") != (entry.name, chosen):
        st.session_state["example_shown"] = (entry.name, chosen)
        st.session_state["given"] = [by_name[chosen]]


@st.cache_data(max_entries=16, show_spinner=False)
def _rows(path: str, changed: float) -> list[Input]:
    _, rows = read_predictions(path)
    return [Input(clip_of(row.clip, row.path, row.label, row.group), Path(row.path).name) for row in rows]


def _tested_on(entry: Entry) -> list[Input]:
    try:
        rows = _rows(str(entry.folder / "predictions.csv"), entry.changed)
    except MareyError:
        return []
    return [given for given in rows if given.clip.path.is_file()][:_MOST_EXAMPLES]


def clip_of(name: str, path: str, label: str | None, group: str | None) -> Clip:
    """Return the clip of a row of predictions.csv; its span is the end of its name."""
    start, _, end = name.removeprefix(path).removeprefix("@").partition("-")
    return Clip(as_path(path), label, group, float(start) if start else None, float(end) if end else None)


def _choose_clip(given: list[Input], entry: Entry) -> Input | None:
    rows = []
    with st.spinner(f"Predicting {len(given)} clips"):
        for one in given:
            try:
                found = read(entry, one.clip)
                label, share = found.top[0]
                label = f"{UNKNOWN} (nearest: {label})" if found.why else label
                rows.append({"clip": one.name, "label": label, **charts.confidence_cells(share), "error": ""})
            except MareyError as error:
                why = str(getattr(error, "detail", error))
                rows.append({"clip": one.name, "label": "", **charts.confidence_cells(None), "error": why})
    st.dataframe(rows, column_config=charts.confidence_columns(), hide_index=True)
    return st.selectbox("Show", given, format_func=lambda one: one.name)
