"""View of a prediction: the annotated video, the label, the frames that the model saw, and a form for corrections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import streamlit as st

from marey.app import charts, text
from marey.app.clip_sets import Corrections
from marey.app.reading import LIMITS, Reader, Reading, clip_chronophotograph
from marey.app.runs_index import Entry
from marey.app.settings import Settings
from marey.app.storage import safe_name
from marey.app.video_cache import annotated_clip, annotated_timeline
from marey.data import Clip
from marey.errors import MareyError, VideoError
from marey.prediction import UNKNOWN, Timeline
from marey.reports import phrases, write_segments
from marey.reports.style import clock_text
from marey.video import probe

LONG: Final = 12.0  # s; longer videos get a timeline
_TIMELINES: Final = 8  # in memory
_FRAMES: Final = 8  # shown of each stream


@st.cache_resource(max_entries=4, show_spinner="Loading the model")
def _reader(model: str, changed: float) -> Reader:
    return Reader(Path(model))


@st.cache_data(max_entries=64, show_spinner=False)
def _reading(model: str, changed: float, path: str, start: float | None, end: float | None) -> Reading:
    return _reader(model, changed).read(Clip(Path(path), start=start, end=end))


@st.cache_resource
def _timelines() -> dict[tuple[str, float, str], Timeline]:
    """Return the latest timelines of all users, so that a reload does not decode hours of video again."""
    return {}


def _timeline(entry: Entry, path: Path) -> Timeline:
    known, key = _timelines(), (str(entry.folder), entry.changed, str(path))
    if key not in known:
        with progress("Analysing the video") as advance:
            found = _reader(str(entry.folder), entry.changed).timeline(path, on_progress=advance)
        known[key] = found
        for old in list(known)[:-_TIMELINES]:
            known.pop(old, None)
        return found
    return known[key]


def read(entry: Entry, clip: Clip) -> Reading:
    """Return the prediction for a clip, cached.

    Raises:
        VideoError: the clip cannot be used.
        ModelFormatError: the model cannot be loaded.
    """
    return _reading(str(entry.folder), entry.changed, str(clip.path), clip.start, clip.end)


def show_result(clip: Clip, name: str, entry: Entry, settings: Settings) -> None:
    """Predict a clip and show the result."""
    try:
        span = (clip.end or probe(clip.path, limits=LIMITS).duration) - (clip.start or 0.0)
        over_time = clip.start is None and clip.end is None and span > LONG
        if over_time:
            modes = {"Over time": True, "As one clip": False}
            over_time = modes[st.segmented_control("Mode", list(modes), default="Over time", required=True)]
        if over_time:
            _show_timeline(clip, name, entry, settings)
            return
        with st.spinner("Decoding the clip"):
            reading = read(entry, clip)
        _show_clip(clip, name, reading, settings)
    except VideoError as error:
        st.error(text.fault(error, name), icon=":material/videocam_off:")
        return
    except MareyError as error:
        st.error(text.fault(error, name), icon=":material/error:")
        return
    _show_inside(clip, reading)
    _show_correction(clip, name, [label for label, _ in reading.top], settings)


@contextmanager
def progress(title: str) -> Iterator[Callable[[float], None]]:
    """Show a progress bar while the `with` lasts; yields a function that takes a share from 0 to 1."""
    bar = st.progress(0.0, text=title)
    shown = 0.0

    def advance(share: float) -> None:
        nonlocal shown
        if share - shown >= 0.01:
            shown = share
            bar.progress(min(1.0, share), text=title)

    try:
        yield advance
    finally:
        bar.empty()


def _show_clip(clip: Clip, name: str, reading: Reading, settings: Settings) -> None:
    left, right = st.columns([3, 2], gap="medium")
    with right:
        if reading.why:
            label, confidence = reading.top[0]
            st.warning(
                f"**{UNKNOWN}**: {reading.why}. Nearest: {text.escape(label)} ({phrases.percent_text(confidence)})",
                icon=":material/help:",
            )
        else:
            text.answer(*reading.top[0])
        text.bars(reading.top)
        seconds = reading.seconds
        head = f"{1000 * seconds.head:.1f} ms"
        st.caption(
            f"{reading.end - reading.start:.1f} s of video, decoded in {seconds.decode:.2f} s, "
            f"encoded in {seconds.encode:.2f} s, classified in {head}"
        )
    with left:
        with progress("Annotating the clip") as advance:
            video = annotated_clip(
                clip.path, reading.top, settings.video_cache, unknown=bool(reading.why), on_progress=advance
            )
        st.video(
            video, loop=True, autoplay=True, muted=True, start_time=clip.start or 0, end_time=clip.end,
            alt=f"{name}, annotated",
        )  # fmt: skip
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(text.escape(name))
            _download(video, name)


def _download(video: Path, name: str) -> None:
    """Offer an annotated video; its name on disk is no more than letters that every system takes."""
    file = f"{safe_name(Path(name).stem)}_marey.mp4"
    st.download_button("Annotated video", video.read_bytes(), file, mime="video/mp4")


def _show_inside(clip: Clip, reading: Reading) -> None:
    st.subheader("What the model sees")
    names = ["Frames", *(text.escape(stream.capitalize()) for stream in reading.streams), "Chronophotograph"]
    tabs = st.tabs(names, key="inside", on_change="rerun")
    with tabs[0]:
        count = len(reading.timestamps)
        text.lead(f"{count} timestamps from {reading.timestamps[0]:.2f} s to {reading.timestamps[-1]:.2f} s")
        charts.filmstrip(reading.frames, [f"{time:.2f} s" for time in reading.timestamps])
    for tab, (stream, images) in zip(tabs[1:-1], reading.streams.items(), strict=True):
        with tab:
            text.lead(reading.meanings[stream])
            chosen = np.unique(np.linspace(0, len(images) - 1, min(_FRAMES, len(images))).round().astype(int))
            charts.filmstrip(images[chosen], [f"{reading.timestamps[place]:.2f} s" for place in chosen])
    if not tabs[-1].open:
        return
    with tabs[-1]:
        text.lead("all phases of the movement in one image, as Étienne-Jules Marey photographed them")
        st.image(clip_chronophotograph(clip), width="stretch", alt="chronophotograph of the clip")


def _show_timeline(clip: Clip, name: str, entry: Entry, settings: Settings) -> None:
    timeline = _timeline(entry, clip.path)
    with progress("Annotating the video") as advance:
        video = annotated_timeline(clip.path, timeline, settings.video_cache, on_progress=advance)
    segments = timeline.segments
    left, right = st.columns([3, 2], gap="medium")
    key = f"segments of {clip.path}"
    at = st.session_state.get(key, {}).get("selection", {}).get("rows", [])
    start = segments[at[0]].start if at and at[0] < len(segments) else 0
    with left:
        st.video(video, start_time=start, autoplay=bool(at), alt=f"{name}, annotated")
        st.caption(text.escape(name))
    with right:
        _show_segments(timeline, key)
    charts.timeline(timeline)
    _downloads(timeline, video, name)


def _show_segments(timeline: Timeline, key: str) -> None:
    if not timeline.segments:
        text.lead("No segment was found.")
        return
    text.lead("Select a row to play the video from its start.")
    rows = [
        {
            "from": clock_text(segment.start),
            "to": clock_text(segment.end),
            "label": segment.label,
            **charts.confidence_cells(segment.confidence),
        }
        for segment in timeline.segments
    ]
    st.dataframe(
        rows,
        column_config=charts.confidence_columns(),
        hide_index=True,
        key=key,
        on_select="rerun",
        selection_mode="single-row",
        height="content" if len(rows) <= 9 else 360,
    )


def _downloads(timeline: Timeline, video: Path, name: str) -> None:
    stem = Path(name).stem
    with st.container(horizontal=True), TemporaryDirectory() as folder:
        named = replace(timeline, source=str(Path(folder) / Path(name).name))
        for suffix in (".csv", ".vtt", ".json"):
            path = Path(folder) / f"segments{suffix}"
            write_segments([named], path)
            st.download_button(f"Segments as {suffix[1:].upper()}", path.read_bytes(), f"{stem}{suffix}")
        _download(video, name)


def _show_correction(clip: Clip, name: str, labels: list[str], settings: Settings) -> None:
    st.subheader("Is this correct?")
    corrections = Corrections(settings.corrections)
    known = sorted({*labels, *(other.label or "" for other in corrections.clips())})
    with st.form("correction", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        label = st.selectbox(
            "Correct label", known, index=known.index(labels[0]), accept_new_options=True, width=320,
            help="Select a class, or type a new one.",
        )  # fmt: skip
        sent = st.form_submit_button("Save for the next training")
    if sent and label:
        try:
            corrections.add(clip, str(label), name=name)
        except MareyError as error:
            st.error(text.fault(error, name))
            return
        saved = phrases.count(len(corrections.clips()), "corrected clip")
        st.success(f"Saved as **{text.escape(str(label))}**: {saved} for the next training.")
