"""What was found in a clip: the annotated film, the answer, what the model looked at, and the way to put it right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import streamlit as st

from marey.app import charts, words
from marey.app.corrections import Corrections
from marey.app.films import film_of_clip, film_of_timeline
from marey.app.library import Entry
from marey.app.reading import Reader, Reading, plate
from marey.app.settings import Settings
from marey.data import Clip
from marey.errors import MareyError, VideoError
from marey.prediction import Timeline
from marey.reports import write_segments
from marey.reports.style import clock_text
from marey.video import probe

LONG: Final = 12.0  # s; what lasts longer is looked at over time
_TIMELINES: Final = 8  # kept
_FRAMES: Final = 8  # shown of each stream


@st.cache_resource(max_entries=4, show_spinner="Loading the model")
def _reader(model: str, changed: float) -> Reader:
    return Reader(Path(model))


@st.cache_data(max_entries=64, show_spinner=False)
def _reading(model: str, changed: float, path: str, start: float | None, end: float | None) -> Reading:
    return _reader(model, changed).read(Clip(Path(path), start=start, end=end))


@st.cache_resource
def _timelines() -> dict[tuple[str, float, str], Timeline]:
    """The latest ones of everybody: a page that is loaded again does not look at hours of video again."""
    return {}


def _timeline(entry: Entry, path: Path) -> Timeline:
    known, key = _timelines(), (str(entry.folder), entry.changed, str(path))
    if key not in known:
        with progress("Looking at the video") as advance:
            found = _reader(str(entry.folder), entry.changed).timeline(path, on_progress=advance)
        known[key] = found
        for old in list(known)[:-_TIMELINES]:
            known.pop(old, None)
        return found
    return known[key]


def read(entry: Entry, clip: Clip) -> Reading:
    """What a model says to a clip; asked again, the same answer at once.

    Raises:
        VideoError: the clip cannot be used.
        ModelFormatError: the model cannot.
    """
    return _reading(str(entry.folder), entry.changed, str(clip.path), clip.start, clip.end)


def show_finding(clip: Clip, name: str, entry: Entry, settings: Settings) -> None:
    """Recognise a clip, and show all that is to be seen of it."""
    try:
        span = (clip.end or probe(clip.path).duration) - (clip.start or 0.0)
        over_time = clip.start is None and clip.end is None and span > LONG
        if over_time:
            ways = {"Over time": True, "As one clip": False}
            way = st.segmented_control("Look at it", list(ways), default="Over time", required=True)
            over_time = ways[way]
        if over_time:
            _show_timeline(clip, name, entry, settings)
            return
        with st.spinner("Reading the clip"):
            reading = read(entry, clip)
        _show_clip(clip, name, reading, settings)
    except VideoError as error:
        st.error(words.fault(error, name), icon=":material/videocam_off:")
        return
    except MareyError as error:
        st.error(words.fault(error, name), icon=":material/error:")
        return
    _show_inside(clip, reading)
    _show_correction(clip, name, [label for label, _ in reading.top], settings)


@contextmanager
def progress(text: str) -> Iterator[Callable[[float], None]]:
    """A bar for a share from 0 to 1, which is gone in the end."""
    bar = st.progress(0.0, text=text)
    shown = 0.0

    def advance(share: float) -> None:
        nonlocal shown
        if share - shown >= 0.01:
            shown = share
            bar.progress(min(1.0, share), text=text)

    try:
        yield advance
    finally:
        bar.empty()


def _show_clip(clip: Clip, name: str, reading: Reading, settings: Settings) -> None:
    left, right = st.columns([3, 2], gap="medium")
    with right:
        words.answer(*reading.top[0])
        words.bars(reading.top)
        seconds = reading.seconds
        head = f"{1000 * seconds.head:.1f} ms"
        st.caption(
            f"{reading.end - reading.start:.1f} s of video, decoded in {seconds.decode:.2f} s, "
            f"encoded in {seconds.encode:.2f} s, classified in {head}"
        )
    with left:
        with progress("Drawing the answer on the clip") as advance:
            film = film_of_clip(clip.path, reading.top, settings.films, on_progress=advance)
        st.video(
            film, loop=True, autoplay=True, muted=True, start_time=clip.start or 0, end_time=clip.end,
            alt=f"{name} with the answer drawn on it",
        )  # fmt: skip
        st.caption(words.plain(name))


def _show_inside(clip: Clip, reading: Reading) -> None:
    st.subheader("What the model looked at")
    names = ["Frames", *(words.plain(stream.capitalize()) for stream in reading.streams), "On one plate"]
    tabs = st.tabs(names, key="inside", on_change="rerun")
    with tabs[0]:
        count = len(reading.instants)
        words.lead(f"{count} instants from {reading.instants[0]:.2f} s to {reading.instants[-1]:.2f} s")
        charts.filmstrip(reading.frames, [f"{instant:.2f} s" for instant in reading.instants])
    for tab, (stream, pictures) in zip(tabs[1:-1], reading.streams.items(), strict=True):
        with tab:
            words.lead(_STREAMS.get(stream, f"the stream '{stream}', as the network gets it"))
            chosen = np.unique(np.linspace(0, len(pictures) - 1, min(_FRAMES, len(pictures))).round().astype(int))
            charts.filmstrip(pictures[chosen], [f"{reading.instants[place]:.2f} s" for place in chosen])
    if not tabs[-1].open:
        return
    with tabs[-1]:
        words.lead("all instants of the clip on one plate, as Marey photographed them")
        st.image(plate(clip), width="stretch", alt="all instants of the clip on one plate")


_STREAMS: Final = {
    "difference": "what changed between two instants: grey where nothing moved",
    "triplet": "three instants as red, green and blue: what stands still is grey, what moves is coloured",
    "appearance": "the frames themselves, at the size that the network gets",
}


def _show_timeline(clip: Clip, name: str, entry: Entry, settings: Settings) -> None:
    timeline = _timeline(entry, clip.path)
    with progress("Drawing the answers on the video") as advance:
        film = film_of_timeline(clip.path, timeline, settings.films, on_progress=advance)
    segments = timeline.segments
    left, right = st.columns([3, 2], gap="medium")
    key = f"segments of {clip.path}"
    at = st.session_state.get(key, {}).get("selection", {}).get("rows", [])
    start = segments[at[0]].start if at and at[0] < len(segments) else 0
    with left:
        st.video(film, start_time=start, autoplay=bool(at), alt=f"{name} with the answers drawn on it")
        st.caption(words.plain(name))
    with right:
        _show_segments(timeline, key)
    charts.timeline(timeline)
    _downloads(timeline, film, name)


def _show_segments(timeline: Timeline, key: str) -> None:
    if not timeline.segments:
        words.lead("None of the classes is seen for long enough.")
        return
    words.lead("Choose a row to play the video from there.")
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


def _downloads(timeline: Timeline, film: Path, name: str) -> None:
    stem = Path(name).stem
    with st.container(horizontal=True), TemporaryDirectory() as folder:
        named = replace(timeline, source=str(Path(folder) / Path(name).name))
        for suffix in (".csv", ".vtt", ".json"):
            path = Path(folder) / f"segments{suffix}"
            write_segments([named], path)
            st.download_button(f"Segments as {suffix[1:].upper()}", path.read_bytes(), f"{stem}{suffix}")
        st.download_button("Annotated video", film.read_bytes(), f"{stem}_marey.mp4", mime="video/mp4")


def _show_correction(clip: Clip, name: str, labels: list[str], settings: Settings) -> None:
    st.subheader("Is that right?")
    corrections = Corrections(settings.corrections)
    known = sorted({*labels, *(other.label or "" for other in corrections.clips())})
    with st.form("correction", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        label = st.selectbox(
            "What it shows", known, index=known.index(labels[0]), accept_new_options=True, width=320,
            help="Choose a class, or type a new one.",
        )  # fmt: skip
        sent = st.form_submit_button("Keep for the next training")
    if sent and label:
        try:
            corrections.add(clip, str(label), name=name)
        except MareyError as error:
            st.error(words.fault(error, name))
            return
        count = len(corrections.clips())
        st.success(f"Kept as **{words.plain(str(label))}**: {count} {'clip waits' if count == 1 else 'clips wait'}.")
