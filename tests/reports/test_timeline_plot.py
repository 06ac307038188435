from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from PIL import Image

from marey.data import Segment
from marey.prediction import Timeline
from marey.reports import plot_timeline, save_png
from marey.reports.style import class_colours

MIDDLES = np.linspace(0.5, 9.5, 10)
STRANGE = ("<b>wave</b>", r"$\frac$", "拍手", "a\tlabel\nof several lines and far too long to be drawn whole")


def made(
    classes: int, duration: float, count: int, *, names: tuple[str, ...] | None = None, stride: float = 0.5
) -> tuple[Timeline, list[Segment]]:
    """A timeline with so many segments at random places, and its truth."""
    generator = np.random.default_rng(classes)
    labels = names or tuple(f"an_action_{number}" for number in range(classes))
    cuts = np.sort(generator.uniform(0, duration, 2 * count)).tolist()
    chosen = generator.integers(len(labels), size=count)
    truth = [
        Segment(start, end, labels[index]) for start, end, index in zip(cuts[::2], cuts[1::2], chosen, strict=True)
    ]
    times = np.arange(stride / 2, duration, stride)
    values = np.full((len(times), len(labels)), 0.05, np.float32)
    for segment in truth:
        values[(times >= segment.start) & (times < segment.end), labels.index(segment.label)] = 0.9
    return Timeline("clip.mp4", duration, labels, times, values, tuple(truth), 1.0), truth


def spans(axes: Axes) -> PolyCollection:
    (found,) = [part for part in axes.collections if isinstance(part, PolyCollection)]
    return found


def faces(axes: Axes) -> list[str]:
    colours = np.asarray(spans(axes).get_facecolor(), dtype=np.float64)
    return [to_hex((red, green, blue)) for red, green, blue, _ in colours.tolist()]


@pytest.mark.parametrize("classes", [2, 30, pytest.param(101, marks=pytest.mark.long)])
@pytest.mark.parametrize(("duration", "count"), [(0.8, 1), (10.0, 3), (10_800.0, 500)])
def test_few_and_many_classes_over_seconds_and_hours_are_drawn_whole(
    classes: int, duration: float, count: int, tmp_path: Path
) -> None:
    timeline, truth = made(classes, duration, count, stride=duration / 100)
    save_png(plot_timeline(timeline, truth=truth), tmp_path / "timeline.png")
    with Image.open(tmp_path / "timeline.png") as image:
        pixels = np.asarray(image.convert("L"))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert border.min() == 255, "something is cut off at the edge"
    assert pixels.min() < 128
    assert max(pixels.shape) < 2000


@pytest.mark.parametrize("count", [3, 12, 500])
def test_labels_stay_inside_their_segments(count: int) -> None:
    timeline, _ = made(6, 60.0, count)
    figure = plot_timeline(timeline)
    figure.canvas.draw()
    strip = figure.axes[0]
    boxes = [text.get_window_extent() for text in strip.texts]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    for text, box in zip(strip.texts, boxes, strict=True):
        middle = text.get_position()[0]
        (segment,) = [one for one in timeline.segments if one.start <= middle < one.end]
        left, right = (strip.transData.transform((time, 0))[0] for time in (segment.start, segment.end))
        assert left < box.x0 < box.x1 < right
        assert text.get_text().startswith("an_")
    assert bool(boxes) == (count < 500)


@pytest.mark.parametrize("duration", [0.8, 5.0, 10.0, 61.0, 600.0, 3599.0, 3600.0, 10_800.0, 90_000.0, 1e6])
def test_the_times_do_not_overlap(duration: float) -> None:
    figure = plot_timeline(Timeline("x", duration, ("a",), np.array([0.1]), np.ones((1, 1), np.float32), (), 1.0))
    figure.canvas.draw()
    axes = figure.axes[-1]
    labels = [label for label in axes.get_xticklabels() if label.get_text()]
    shown = [label for label in labels if 0 <= label.get_position()[0] <= duration]
    assert 2 <= len(shown) <= 11
    assert len({label.get_text() for label in shown}) == len(shown)
    boxes = [label.get_window_extent() for label in shown]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize(
    ("duration", "unit", "second"), [(4.0, "m:ss", "0:00.5"), (60.0, "m:ss", "0:10"), (10_800.0, "h:mm", "0:30")]
)
def test_times_are_clock_times(duration: float, unit: str, second: str) -> None:
    timeline, _ = made(2, duration, 1, stride=duration / 10)
    figure = plot_timeline(timeline)
    figure.canvas.draw()
    axes = figure.axes[-1]
    assert f"time ({unit})" in axes.get_xlabel()
    assert second in [label.get_text() for label in axes.get_xticklabels()]


def test_a_class_has_one_colour_in_both_strips_and_in_its_row() -> None:
    labels = ("walking", "boxing", "waving")
    segments = (Segment(1.0, 3.0, "waving", 0.9), Segment(4.0, 6.0, "walking", 0.9))
    values = np.zeros((10, 3), np.float32)
    values[5, 0], values[1, 2] = 1.0, 1.0
    timeline = Timeline("x", 10.0, labels, MIDDLES, values, segments, 1.0)
    found, truth, rows = plot_timeline(timeline, truth=[Segment(1.0, 3.0, "waving"), Segment(7, 8, "unheard of")]).axes
    blue, _, green, other = class_colours(4)
    assert faces(found) == [green.lower(), blue.lower()]
    assert faces(truth) == [green.lower(), other.lower()]
    picture = np.asarray(rows.images[0].get_array())
    assert to_hex(picture[0, 5]) == blue.lower()
    assert to_hex(picture[2, 1]) == green.lower()
    assert len({to_hex(picture[1, column]) for column in range(10)}) == 1
    assert [label.get_text() for label in rows.get_yticklabels()] == list(labels)


def test_between_segments_the_strip_is_empty() -> None:
    timeline = Timeline("x", 10.0, ("a",), MIDDLES, np.zeros((10, 1), np.float32), (Segment(2.0, 4.0, "a", 0.9),), 1.0)
    (path,) = spans(plot_timeline(timeline).axes[0]).get_paths()
    times = np.asarray(path.vertices)[:, 0]
    assert times.min() == 2.0
    assert 3.9 < times.max() <= 4.0


def test_the_shortest_segment_of_hours_is_a_pixel_wide() -> None:
    timeline = Timeline(
        "x", 36_000.0, ("a",), np.array([1.0]), np.ones((1, 1), np.float32), (Segment(100.0, 100.2, "a", 0.9),), 1.0
    )
    figure = plot_timeline(timeline)
    figure.canvas.draw()
    axes = figure.axes[0]
    (path,) = spans(axes).get_paths()
    ends = axes.transData.transform(np.asarray(path.vertices))[:, 0]
    assert np.ptp(ends) >= 0.99


def test_of_many_classes_those_with_segments_have_rows() -> None:
    timeline, truth = made(101, 600.0, 20)
    rows = plot_timeline(timeline).axes[-1]
    names = [label.get_text() for label in rows.get_yticklabels()]
    assert len(names) == 30
    assert {segment.label for segment in truth} <= set(names)
    assert "71 more classes have no row" in rows.get_xlabel()
    assert "no row" not in plot_timeline(made(30, 600.0, 20)[0]).axes[-1].get_xlabel()


def test_a_short_peak_in_hours_is_visible() -> None:
    values = np.zeros((40_000, 2), np.float32)
    values[31_234, 1] = 1.0
    times = (np.arange(40_000) + 0.5) / 4
    timeline = Timeline("x", 10_000.0, ("a", "b"), times, values, (), 1.0)
    (image,) = plot_timeline(timeline).axes[-1].images
    picture = np.asarray(image.get_array())
    assert picture.shape[1] <= 1200
    column = int(np.flatnonzero(picture[1].sum(axis=-1) < picture[0].sum(axis=-1))[0])
    left, right, *_ = image.get_extent()
    assert left + (column + 0.5) * (right - left) / picture.shape[1] == pytest.approx(times[31_234], abs=5.0)


def test_a_video_without_segments_is_drawn(tmp_path: Path) -> None:
    nothing = Timeline("x", 5.0, ("a", "b"), np.zeros(0), np.zeros((0, 2), np.float32), (), 1.0)
    figure = plot_timeline(nothing, truth=())
    assert figure.axes[0].get_title(loc="left") == "0 segments in 0:05.0"
    save_png(figure, tmp_path / "a.png")


def test_untrusted_labels_are_drawn_as_they_are(tmp_path: Path) -> None:
    timeline, truth = made(4, 10.0, 4, names=STRANGE)
    save_png(plot_timeline(timeline, truth=truth), tmp_path / "a.png")
