"""The explanation of an answer as a figure, and as a video with heat maps."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from marey.prediction import MEANING, Explanation, SpanAnswer
from marey.reports import style
from marey.reports.annotation import check_other_file
from marey.reports.caption import Caption, draw_caption
from marey.reports.heat_map import COLOURS, draw_heat, heat_at
from marey.reports.image_io import reduced_size
from marey.reports.phrases import confidence_text, signed
from marey.video import TIME_TOLERANCE, Limits, VideoWriter, decode, play

WIDTH: Final = 9.0  # inches of the time axis
LEFT: Final = 0.85
RIGHT: Final = 0.3
TALLEST: Final = 1.45  # inches of a frame
FEWEST_FRAMES, MOST_FRAMES = 4, 10
GAP: Final = 0.06  # inches between frames
CURVE: Final = 1.7  # inches
BRACKET: Final = 0.27  # inches of a line for a span
LINE: Final = 0.19  # inches of a line of small text
FOR, AGAINST = style.ORANGE, style.BLUE

_DEFAULT_LIMITS: Final = Limits()


def plot_explanation(explanation: Explanation, source: str | Path, *, limits: Limits = _DEFAULT_LIMITS) -> Figure:
    """Plot frames with heat maps, and below them what each span, each stream and each place contributes.

    Args:
        explanation: of a clip.
        source: the file that the clip is a span of.
        limits: of decoding.

    Raises:
        VideoError: a frame cannot be decoded.
    """
    frames, middles = _frames_of(explanation, Path(source), limits)
    count, (height, width) = len(frames), frames[0].shape[:2]
    across = (WIDTH - GAP * (count - 1)) / count
    tall = across * height / width
    spans = _spans_of(explanation)
    notes = _lines_of(explanation)
    names = max(1, len(explanation.streams))
    panels = max(0.75, 0.3 * names + 0.1)
    foot = 0.25 + LINE * len(notes)
    below = foot + 0.65 + panels + 0.5
    strips = below + 0.55 + CURVE
    top = strips + BRACKET * len(spans) + 0.12
    figure = style.new_figure(LEFT + WIDTH + RIGHT, top + tall + 0.75)
    for number, (image, time) in enumerate(zip(frames, middles, strict=True)):
        axes = style.add_axes(figure, LEFT + number * (across + GAP), top, across, tall)
        _draw_frame(axes, image, time)
    _write_title(figure, explanation, top + tall)
    curve = style.add_axes(figure, LEFT, below + 0.55, WIDTH, CURVE)
    _draw_curve(curve, explanation)
    for number, (text, colour, span) in enumerate(spans):
        bottom = strips + BRACKET * (len(spans) - 1 - number) + 0.04
        _draw_span(style.add_axes(figure, LEFT, bottom, WIDTH, BRACKET - 0.05), explanation, text, colour, span)
    _draw_streams(figure, explanation, foot + 0.65, panels)
    _draw_places(figure, explanation, foot + 0.5, panels + 0.15, height / width)
    for number, text in enumerate(notes):
        place = (foot - LINE * (number + 0.6)) / figure.get_figheight()
        figure.text(0.25 / figure.get_figwidth(), place, text, fontsize=style.BASE - 1.5, color=style.MUTED)
    return figure


def write_explanation_video(
    explanation: Explanation,
    source: str | Path,
    out: str | Path,
    *,
    limits: Limits = _DEFAULT_LIMITS,
    on_progress: Callable[[float], None] | None = None,
) -> None:
    """Write the clip with a heat map on every frame, and a caption that names the answer.

    Args:
        explanation: of a clip.
        source: the file that the clip is a span of.
        out: the new video, `.mp4`; of a whole file it keeps the sound.
        limits: of reading.
        on_progress: called after each frame with the finished seconds.

    Raises:
        VideoError: the source cannot be read to its end.
        UsageError: `out` is the source, or is not `.mp4`.
    """
    source, out = Path(source), Path(out)
    check_other_file(source, out)
    start, end = explanation.span
    ranked = sorted(zip(explanation.labels, explanation.probabilities.tolist(), strict=True), key=lambda pair: -pair[1])
    note = f"for {explanation.explained}, not {explanation.rival}"
    with play(source, limits=limits) as playback:
        whole = start <= 0 and (playback.duration is None or end >= playback.duration - 1 / playback.frame_rate)
        sound = source if whole else None
        with VideoWriter(out, size=playback.size, frame_rate=playback.frame_rate, sound_of=sound) as writer:
            first: float | None = None
            for frame in playback:
                if frame.end <= start + TIME_TOLERANCE and not whole:
                    continue
                if frame.time >= end - TIME_TOLERANCE and not whole:
                    break
                first = frame.time if first is None else first
                image = playback.to_rgb(frame, size=playback.size).permute(1, 2, 0).numpy()
                heat = heat_at(explanation, frame.time)
                if heat is not None:
                    image = draw_heat(image, heat, explanation.region)
                caption = Caption(
                    explanation.label,
                    explanation.confidence,
                    tuple(ranked[:3]),
                    frame.time,
                    playback.duration,
                    (note,),
                )
                writer.write(draw_caption(image, caption), time=frame.time - first, end=frame.end - first)
                if on_progress is not None:
                    on_progress(frame.end - start)


def _frames_of(
    explanation: Explanation, source: Path, limits: Limits
) -> tuple[list[npt.NDArray[np.uint8]], list[float]]:
    """Return frames with heat maps, evenly spaced over the clip, and their times."""
    height, width = reduced_size(source, 480, limits=limits)
    count = int(np.clip(np.ceil(WIDTH / (TALLEST * width / height)), FEWEST_FRAMES, MOST_FRAMES))
    start, end = explanation.span
    times = [start + (end - start) * (number + 0.5) / count for number in range(count)]
    found = decode(source, times, size=(height, width), interpolation="area", limits=limits).data
    images = []
    for image, time in zip(found, times, strict=True):
        pixels = image.permute(1, 2, 0).contiguous().numpy()
        heat = heat_at(explanation, time)
        images.append(pixels if heat is None else draw_heat(pixels, heat, explanation.region))
    return images, times


def _draw_frame(axes: Axes, image: npt.NDArray[np.uint8], time: float) -> None:
    axes.imshow(image, aspect="auto", interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.text(
        0.5,
        1.0,
        style.clock_text(time),
        transform=axes.transAxes,
        ha="center",
        va="bottom",
        fontsize=style.BASE - 1.5,
        color=style.MUTED,
    )


def _write_title(figure: Figure, explanation: Explanation, bottom: float) -> None:
    target, rival = (style.plot_text(name) for name in (explanation.explained, explanation.rival))
    ours, theirs = (
        confidence_text(explanation.probability_of(name)) for name in (explanation.explained, explanation.rival)
    )
    title = f"Why {target} ({ours}) and not {rival} ({theirs})"
    if explanation.label != explanation.explained:
        title = f"Why {rival} ({theirs}) and not {target} ({ours}): what speaks for {target}"
    place = (LEFT / figure.get_figwidth(), (bottom + 0.36) / figure.get_figheight())
    text = figure.text(*place, title, fontsize=style.BASE + 3, color=style.INK, fontweight="bold", va="baseline")
    text.set_parse_math(False)


def _spans_of(explanation: Explanation) -> list[tuple[str, str, SpanAnswer]]:
    """Return the spans to mark, each with a text and a colour."""
    alone, missing = explanation.sufficient, explanation.needed
    answer = style.plot_text(explanation.label)
    found = [(f"alone enough for {answer} ({confidence_text(alone.confidence)})", style.GREEN, alone)]
    if missing is not None:
        other = style.plot_text(missing.label)
        found.append((f"without it: {other} ({confidence_text(missing.confidence)})", style.MUTED, missing))
    return found


def _draw_span(axes: Axes, explanation: Explanation, text: str, colour: str, span: SpanAnswer) -> None:
    """Draw a span as a bar over the time axis, and its text beside it where there is more room."""
    start, end = explanation.span
    axes.set_xlim(start, end)
    axes.set_ylim(0, 1)
    axes.axis("off")
    axes.barh(0.5, span.end - span.start, left=span.start, height=0.42, color=colour, linewidth=0)
    shown = f"{text}, {span.start:.2f}–{span.end:.2f} s"
    inch = (end - start) / WIDTH
    room = 0.08 * inch
    wide = style.text_width(shown, style.BASE - 1) * inch
    left, right = span.start - start, end - span.end
    if max(left, right) >= wide:
        on_right = right >= wide
        place, side = (span.end + room, "left") if on_right else (span.start - room, "right")
        ink = style.INK
    else:  # neither side has room: on the bar, which then is wide
        place, side, ink = (span.start + span.end) / 2, "center", style.ink_on(colour)
    label = axes.text(place, 0.46, shown, ha=side, va="center", fontsize=style.BASE - 1, color=ink)
    label.set_parse_math(False)


def _draw_curve(axes: Axes, explanation: Explanation) -> None:
    """Draw the contribution of each part in time as a bar."""
    values, edges = explanation.when, explanation.edges
    colours = [FOR if value >= 0 else AGAINST for value in values]
    axes.bar(
        edges[:-1], values, width=np.diff(edges), align="edge", color=colours, edgecolor=style.PAPER, linewidth=0.8
    )
    axes.axhline(0, color=style.MUTED, lw=0.8)
    axes.set_xlim(*explanation.span)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    spare = 0.08 * (high - low or 1.0)  # of a clip in which nothing moves, all may be zero
    axes.set_ylim(low - (spare if low < 0 else 0), high + (spare if high > 0 or low == high else 0))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.grid(axis="y", color=style.LINE, lw=0.6)
    against = f"; blue speaks for {style.plot_text(explanation.rival)}" if (values < 0).any() else ""
    style.label_axes(axes, x=f"seconds{against}", y="contribution")
    axes.xaxis.label.set_parse_math(False)


def _draw_streams(figure: Figure, explanation: Explanation, bottom: float, height: float) -> None:
    """Draw a bar for each stream, with its number."""
    names = [style.plot_text(stream.name, longest=22) for stream in explanation.streams]
    values = [stream.contribution for stream in explanation.streams]
    left = max(LEFT, 0.35 + max(style.text_width(name, style.BASE) for name in names))
    axes = style.add_axes(figure, left, bottom, 4.9 - left, height)
    axes.barh(range(len(names)), values, height=0.6, color=[FOR if value >= 0 else AGAINST for value in values])
    axes.axvline(0, color=style.MUTED, lw=0.8)
    low, high = min(0.0, *values), max(0.0, *values)
    wide = high - low or 1.0
    axes.set_xlim(low - (0.22 * wide if low < 0 else 0), high + 0.22 * wide)
    for place, value in enumerate(values):
        shift, side = (0.02 * wide, "left") if value >= 0 else (-0.02 * wide, "right")
        axes.text(value + shift, place, signed(value), va="center", ha=side, fontsize=style.BASE - 1, color=style.INK)
    axes.set_yticks(range(len(names)), names, fontsize=style.BASE)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
    style.label_axes(axes, x="contribution", title="Streams" if len(names) > 1 else "Stream", pad=6)


def _draw_places(figure: Figure, explanation: Explanation, bottom: float, height: float, shape: float) -> None:
    """Draw the share of each cell in what speaks for the class; `shape` is the height of a frame by its width."""
    shares = explanation.place_shares()
    if shares is None:
        return
    region = explanation.region
    width = height / shape * (region.right - region.left) / (region.bottom - region.top)
    width = float(np.clip(width, 0.9, 3.2))
    axes = style.add_axes(figure, 6.1, bottom, width, height)
    image = axes.imshow(shares, cmap=COLOURS, vmin=0, vmax=float(shares.max()) or 1.0, aspect="auto")
    colours = np.asarray(image.to_rgba(shares))
    rows, columns = shares.shape
    size = min(style.BASE - 1, 62 * height / rows)
    if width / columns >= style.text_width("100 %", size) and size >= 5.5:
        for row in range(rows):
            for column in range(columns):
                red, green, blue = (float(value) for value in colours[row, column, :3])
                ink = style.ink_on(to_hex((red, green, blue)))
                axes.text(
                    column,
                    row,
                    f"{100 * shares[row, column]:.0f} %",
                    ha="center",
                    va="center",
                    fontsize=size,
                    color=ink,
                )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    style.label_axes(axes, title="Places in the frame", pad=6)


def _lines_of(explanation: Explanation) -> Sequence[str]:
    """Return what has to be known beside the figure, as lines."""
    target, rival = (style.plot_text(name) for name in (explanation.explained, explanation.rival))
    sentences = [
        f"Contributions are to the logarithm of p({target}) / p({rival}): {signed(explanation.margin)} in all.",
        f"Times: {MEANING[explanation.when_by]}.",
        f"Places: {MEANING[explanation.where_by]}.",
        *explanation.notes,
    ]
    return textwrap.wrap(" ".join(sentences), 170)
