"""The figure and the video of an explanation: heat where it belongs, and text that can be read."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from marey.errors import UsageError
from marey.prediction import Explanation, SpanAnswer, StreamShare
from marey.reports import draw_heat, plot_explanation, save_png, write_explanation_video
from marey.reports.heat_map import heat_at
from marey.synthetic import FRAME_RATE, draw
from marey.video import Region, decode, probe, write_video

WHOLE = Region(0, 0, 1, 1)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of a walking person; not to be changed."""
    path = tmp_path_factory.mktemp("clip") / "walk.mp4"
    write_video(path, draw("walking", actor=1, duration=1.0), frame_rate=FRAME_RATE)
    return path


@pytest.fixture
def explanation() -> Explanation:
    """One in which the lower left cell speaks for walking, more and more."""
    where = np.zeros((4, 2, 2))
    where[:, 1, 0] = [0.1, 0.2, 0.3, 0.4]
    where[:, 0, 1] = -0.1
    return Explanation(
        source="walk.mp4",
        labels=("running", "walking"),
        probabilities=np.array([0.2, 0.8]),
        label="walking",
        explained="walking",
        rival="running",
        margin=1.386,
        span=(0.0, 1.0),
        edges=np.linspace(0, 1, 5),
        when=np.array([-0.2, 0.2, 0.5, 0.6]),
        where=where,
        region=WHOLE,
        streams=(StreamShare("appearance", 1.5, None, None), StreamShare("difference", -0.114, None, None)),
        sufficient=SpanAnswer(0.5, 0.75, 2, 2, "walking", 0.7),
        needed=SpanAnswer(0.25, 1.0, 1, 3, "running", 0.6),
        when_by="left out",
        where_by="decomposition",
    )


def texts(figure: Figure) -> list[Text]:
    found = figure.findobj(Text)
    return [each for each in found if isinstance(each, Text) and each.get_visible() and each.get_text().strip()]


def crowded(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that lie on each other, and texts that leave the figure."""
    figure.canvas.draw()
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [(each.get_text(), each.get_window_extent()) for each in texts(figure)]
    wrong = [(one, other) for (one, a), (other, b) in combinations(boxes, 2) if a.shrunk(0.9, 0.7).overlaps(b)]
    outside = [text for text, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]
    return [*wrong, *((text, "leaves the figure") for text in outside)]


def test_heat_is_drawn_where_it_is_and_leaves_the_rest_its_colours() -> None:
    image = np.full((80, 120, 3), 100, np.uint8)
    drawn = draw_heat(image, np.array([[0.0, 0.0], [1.0, 0.0]]), WHOLE)
    assert drawn.shape == image.shape
    assert (image == 100).all()
    red = drawn[..., 0].astype(int) - drawn[..., 2]
    assert red[60:, :30].min() > 40
    assert np.abs(red[:20, 80:]).max() <= 2


def test_heat_stays_in_the_region_that_the_model_sees() -> None:
    drawn = draw_heat(np.full((80, 120, 3), 100, np.uint8), np.ones((2, 2)), Region(0.5, 0.5, 1, 1))
    red = drawn[..., 0].astype(int) - drawn[..., 2]
    assert red[40:, 60:].min() > 40
    assert np.abs(red[:40]).max() == np.abs(red[:, :60]).max() == 0


def test_an_image_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="float64"):
        draw_heat(np.zeros((8, 8, 3)), np.ones((2, 2)), WHOLE)  # type: ignore[arg-type]


def test_the_heat_of_a_time_lies_between_those_of_the_nearest_parts(explanation: Explanation) -> None:
    def lower_left(time: float) -> float:
        heat = heat_at(explanation, time)
        assert heat is not None
        return float(heat[1, 0])

    assert [lower_left(time) for time in (-1.0, 0.125, 0.25, 0.875, 5.0)] == pytest.approx([0.25, 0.25, 0.375, 1, 1])
    assert heat_at(replace(explanation, where=None), 0.5) is None


def test_the_texts_of_a_figure_can_be_read(explanation: Explanation, video: Path, tmp_path: Path) -> None:
    figure = plot_explanation(explanation, video)
    assert crowded(figure) == []
    said = " ".join(each.get_text() for each in texts(figure))
    assert "Why walking (0.80) and not running (0.20)" in said
    assert "alone enough for walking (0.70), 0.50–0.75 s" in said
    assert "without it: running (0.60), 0.25–1.00 s" in said
    save_png(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 20_000


def test_long_names_and_one_part_and_nothing_that_speaks_for_a_class_can_be_read(
    explanation: Explanation, video: Path
) -> None:
    long = "$x_1$ a very long name of an action that nobody would write down"
    extreme = replace(
        explanation,
        labels=(long, "walking"),
        label=long,
        rival=long,
        edges=np.array([0.0, 1.0]),
        when=np.array([-3.0]),
        where=-np.ones((1, 3, 2)),
        sufficient=SpanAnswer(0.0, 1.0, 0, 0, long, 0.2),
        needed=None,
        streams=tuple(StreamShare(f"a stream with a long name {number}", -1.0, None, None) for number in range(4)),
        notes=("The model averages 3 readings of a clip; this explains the first of them.",) * 3,
    )
    assert crowded(plot_explanation(extreme, video)) == []
    assert crowded(plot_explanation(replace(extreme, where=None, when=np.zeros(1)), video)) == []


@pytest.mark.parametrize("size", [(240, 60), (36, 200)])
def test_frames_of_any_shape_stand_in_a_row(size: tuple[int, int], explanation: Explanation, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    frames = draw("walking", actor=1, duration=1.0)[:, :, : size[0], : size[1]]
    height, width = size
    wide = frames.repeat(1, 1, -(-height // frames.shape[2]), -(-width // frames.shape[3]))[:, :, :height, :width]
    write_video(path, wide.contiguous(), frame_rate=FRAME_RATE)
    figure = plot_explanation(explanation, path)
    assert crowded(figure) == []
    assert max(figure.get_size_inches()) < 14


def test_the_video_has_the_frames_of_the_clip_with_heat(explanation: Explanation, video: Path, tmp_path: Path) -> None:
    reached: list[float] = []
    write_explanation_video(explanation, video, tmp_path / "out.mp4", on_progress=reached.append)
    before, after = probe(video), probe(tmp_path / "out.mp4")
    assert (after.width, after.height) == (before.width, before.height)
    assert after.duration == pytest.approx(before.duration, abs=0.02)
    assert len(reached) == 25
    first, last = decode(tmp_path / "out.mp4", [0.02, 0.98]).data
    red = [
        int(image[0, 70:80, 10:30].float().mean() - image[2, 70:80, 10:30].float().mean()) for image in (first, last)
    ]
    assert red[1] > red[0] + 20


def test_the_video_of_a_span_has_that_span_alone(explanation: Explanation, video: Path, tmp_path: Path) -> None:
    span = replace(explanation, span=(0.4, 0.8), edges=np.linspace(0.4, 0.8, 5))
    write_explanation_video(span, video, tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").duration == pytest.approx(0.4, abs=0.05)
    with pytest.raises(UsageError, match="its own source"):
        write_explanation_video(span, tmp_path / "out.mp4", tmp_path / "out.mp4")
