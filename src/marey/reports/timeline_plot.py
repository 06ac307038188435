"""Plot of a timeline: the segments of a video, and the probabilities below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from marey.data import Segment
from marey.prediction import Timeline
from marey.reports import style
from marey.reports.phrases import count

WIDTH: Final = 8.6  # inches of the time axis
STRIP: Final = 0.32  # inches of a strip of segments
GAP: Final = 0.1  # inches from one strip to the next
SEAM: Final = 0.012  # inches of gap at the end of a segment; less for narrow ones
MOST_ROWS: Final = 30
"""Maximum number of classes with a row: those with segments first, then those with the highest peaks."""

FEW: Final = 12  # classes; more have lower rows and smaller names
COLUMNS: Final = 1200  # at most, of the map of probabilities: beyond, the maximum of several timestamps is drawn
SHORTEST: Final = 5  # letters of a shortened name

TICKS: Final = 9
STEPS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def plot_timeline(timeline: Timeline, *, truth: Sequence[Segment] | None = None) -> Figure:
    """Plot the segments of a video as a strip over time, and the probabilities of each class as a row below it.

    Each class has one colour. The strip is empty where there is no segment. Segments that are wide enough contain their
    label.

    Args:
        timeline: of the video.
        truth: true segments, as a second strip; None if unknown.
    """
    strips: list[tuple[str, Sequence[Segment]]] = [("predicted", timeline.segments)]
    if truth is not None:
        strips.append(("true", truth))
    others = {segment.label for _, segments in strips for segment in segments} - set(timeline.labels)
    labels = [*timeline.labels, *sorted(others)]
    colours = dict(zip(labels, style.class_colours(len(labels)), strict=True))
    ends = [timeline.duration, *(segment.end for _, segments in strips for segment in segments)]
    end = max(ends) or 1.0

    shown = _rows_shown(timeline, {segment.label for _, segments in strips for segment in segments})
    names = [style.plot_text(timeline.labels[index]) for index in shown]
    pitch, font = (0.22, style.BASE - 0.5) if len(names) <= FEW else (0.155, 7.0)
    left = 0.25 + max(0.5, *(style.text_width(name, font) for name in names))
    rows, foot = pitch * len(names), 0.55
    height = foot + rows + len(strips) * (STRIP + GAP) + 0.42
    figure = style.new_figure(left + WIDTH + 0.3, height)

    bottom = height - 0.42 + GAP
    for name, segments in strips:
        bottom -= STRIP + GAP
        _draw_strip(style.add_axes(figure, left, bottom, WIDTH, STRIP), name, segments, colours, end)
    _write_title(figure.axes[0], timeline)
    axes = style.add_axes(figure, left, foot, WIDTH, rows)
    _draw_rows(axes, timeline, shown, colours, end)
    axes.set_yticks(range(len(names)), names, fontsize=font)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    unit = _mark_time(axes, end)
    left_out = len(timeline.labels) - len(shown)
    rest = f"; {left_out} more classes have no row" if left_out else ""
    style.label_axes(axes, x=f"time ({unit}); the darker a row, the more probable its class{rest}")
    return figure


def _rows_shown(timeline: Timeline, named: set[str]) -> list[int]:
    """Return the indices of the classes with a row, in the order of the labels."""
    classes = range(len(timeline.labels))
    peaks = timeline.probabilities.max(axis=0, initial=0.0)
    order = sorted(classes, key=lambda index: (timeline.labels[index] not in named, -float(peaks[index])))
    return sorted(order[:MOST_ROWS])


def _write_title(axes: Axes, timeline: Timeline) -> None:
    lasts = style.clock_text(timeline.duration, digits=1 if timeline.duration < 60 else 0)
    title = f"{count(len(timeline.segments), 'segment')} in {lasts}"
    style.label_axes(axes, title=title, pad=7)


def _draw_strip(axes: Axes, name: str, segments: Sequence[Segment], colours: Mapping[str, str], end: float) -> None:
    """Draw segments as coloured spans, with their labels if these fit."""
    inch = end / WIDTH
    pixel = inch / style.DPI
    axes.set_facecolor(style.FAINT)
    spans, faces = [], []
    for segment in segments:
        seam = min(SEAM * inch, 0.15 * segment.duration)
        # even the shortest segment of a long video is a pixel wide
        right = max(segment.end - seam, segment.start + pixel)
        spans.append([(segment.start, 0.0), (right, 0.0), (right, 1.0), (segment.start, 1.0)])
        faces.append(colours[segment.label])
        text = _fitting(segment.label, segment.duration / inch - 0.08)
        if text:
            axes.text(
                (segment.start + right) / 2,
                0.48,
                text,
                ha="center",
                va="center",
                fontsize=style.BASE - 1,
                color=style.ink_on(colours[segment.label]),
                parse_math=False,
            )
    axes.add_collection(PolyCollection(spans, facecolors=faces, linewidths=0))
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([0.5], [name], fontsize=style.BASE - 0.5, color=style.MUTED)
    axes.tick_params(axis="y", length=0)


def _fitting(label: str, width: float) -> str:
    """Return a label, shortened to a width in inches; empty if too little of it fits."""
    size = style.BASE - 1
    whole = style.plot_text(label)
    if style.text_width(whole, size) <= width:
        return whole
    letters = int(width / style.text_width("n", size))
    text = style.plot_text(label, longest=letters) if letters >= SHORTEST else ""
    return text if style.text_width(text, size) <= width else ""


def _draw_rows(axes: Axes, timeline: Timeline, shown: Sequence[int], colours: Mapping[str, str], end: float) -> None:
    """Draw a row for each class, from grey at probability 0 to its colour at 1."""
    if len(timeline.times):
        values, edges = _columns(timeline, shown)
        paper = np.array(to_rgb(style.FAINT))
        full = np.array([to_rgb(colours[timeline.labels[index]]) for index in shown])
        image = paper + values.T[..., None].clip(0, 1) * (full - paper)[:, None]
        axes.imshow(
            image,
            extent=(edges[0], edges[1], len(shown) - 0.5, -0.5),
            aspect="auto",
            interpolation="nearest",
        )
    axes.hlines(np.arange(1, len(shown)) - 0.5, 0, end, color=style.PAPER, lw=1.4)
    axes.set_xlim(0, end)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _columns(timeline: Timeline, shown: Sequence[int]) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """Return probabilities `(columns, classes)` of the classes with a row, and the times of the left and right edge."""
    values = np.asarray(timeline.probabilities[:, list(shown)], dtype=np.float64)
    times = timeline.times
    half = float(times[1] - times[0]) / 2 if len(times) > 1 else timeline.duration
    edges = (float(times[0]) - half, float(times[-1]) + half)
    if len(values) > COLUMNS:
        several = math.ceil(len(values) / COLUMNS)
        starts = np.arange(0, len(values), several)
        step = 2 * half
        edges = (edges[0], edges[0] + len(starts) * several * step)
        values = np.maximum.reduceat(values, starts, axis=0)
    return values, edges


def _mark_time(axes: Axes, end: float) -> str:
    """Set ticks at round times; return the format of their labels."""
    step = next((step for step in STEPS if end / step <= TICKS), end / TICKS)
    digits = 1 if step < 1 else 0
    with_hours = end >= 3600 and step >= 60

    def written(seconds: float, _: int | None = None) -> str:
        if with_hours:
            hours, minutes = divmod(round(seconds / 60), 60)
            return f"{hours}:{minutes:02d}"
        return style.clock_text(seconds, digits=digits)

    axes.xaxis.set_major_locator(ticker.MultipleLocator(step))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(written))
    return "h:mm" if with_hours else "m:ss"
