from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from marey.errors import UsageError
from marey.reports import Caption, draw_caption
from marey.reports.style import contrast
from marey.reports.text_rendering import measure, shorten

Picture = npt.NDArray[np.uint8]

SIZES = [(32, 32), (64, 64), (96, 128), (120, 160), (160, 120), (240, 320), (480, 640), (100, 600), (600, 100)]
LARGE = [(1920, 1080), (2160, 3840)]
FIVE = (("handwaving", 0.87), ("handclapping", 0.08), ("boxing", 0.03), ("walking", 0.01), ("jogging", 0.01))
CAPTION = Caption("handwaving", 0.87, FIVE, 4.2, 12.0, ("12.4 frames/s", "latency 83 ms", "3 dropped"))
STRANGE = ("拍手", "", " ", "a\nb\tc\x00", "\udcff", "🙂" * 50, "x" * 10_000, "<b>&", "עברית")


def even(height: int, width: int, grey: int = 110) -> Picture:
    return np.full((height, width, 3), grey, dtype=np.uint8)


def noise(height: int, width: int) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def changed(one: Picture, other: Picture) -> Picture:
    result: Picture = (np.maximum(one, other) - np.minimum(one, other)).max(axis=2)
    return result


def hexadecimal(pixel: Picture) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in pixel)


@pytest.mark.parametrize("size", [*SIZES, *LARGE])
def test_a_caption_keeps_the_size_and_the_edge_of_a_frame(size: tuple[int, int]) -> None:
    picture = noise(*size)
    before = picture.copy()
    drawn = draw_caption(picture, CAPTION)
    np.testing.assert_array_equal(picture, before)
    assert drawn.shape == picture.shape
    assert changed(drawn, picture).any()
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        np.testing.assert_array_equal(drawn[edge], picture[edge])


@pytest.mark.parametrize("size", [(1, 1), (2, 500), (500, 2), (9, 9), (16, 16), (20, 2000), (2000, 20)])
def test_a_tiny_frame_gets_no_caption(size: tuple[int, int]) -> None:
    assert draw_caption(even(*size), CAPTION).shape == (*size, 3)


@pytest.mark.parametrize("size", [size for size in SIZES if min(size) >= 64])
def test_the_time_and_the_label_do_not_touch(size: tuple[int, int]) -> None:
    picture = even(*size)
    rows = changed(draw_caption(picture, CAPTION), picture).any(axis=1)
    edges = np.flatnonzero(np.diff(rows.astype(int)))
    assert len(edges) == 4  # two bands of changed rows, apart and away from the edges


def test_a_small_frame_has_the_label_without_the_time() -> None:
    small, later = even(32, 200), replace(CAPTION, time=8.8)
    np.testing.assert_array_equal(draw_caption(small, CAPTION), draw_caption(small, later))
    assert changed(draw_caption(even(64, 200), CAPTION), draw_caption(even(64, 200), later)).any()


@pytest.mark.parametrize("size", [(120, 160), (480, 640)])
@pytest.mark.parametrize("background", ["black", "white", "noise"])
def test_every_text_stands_out_from_any_background(background: str, size: tuple[int, int]) -> None:
    picture = {"black": even(*size, 0), "white": even(*size, 255), "noise": noise(*size)}[background]
    drawn = draw_caption(picture, CAPTION)
    without = {
        "label": replace(CAPTION, label=" "),
        "confidence": replace(CAPTION, confidence=None),
        "classes": replace(CAPTION, top=tuple((" ", value) for _, value in FIVE)),
    }
    for part, caption in without.items():
        bare = draw_caption(picture, caption)
        difference = changed(drawn, bare)
        lower = difference[size[0] // 2 :, : size[1] // 2] if part == "classes" else difference
        if part == "classes" and size == (120, 160):
            assert not lower.any()  # there is no room for them
            continue
        rows, columns = np.nonzero(difference > 0.8 * difference.max())
        pairs = list(zip(drawn[rows, columns], bare[rows, columns], strict=True))
        assert len(pairs) > 10, part
        ratios = [contrast(hexadecimal(text), hexadecimal(plate)) for text, plate in pairs[:100]]
        assert np.quantile(ratios, 0.1) >= 4.5, part


@pytest.mark.parametrize("size", [(120, 160), (480, 640)])
@pytest.mark.parametrize("background", ["black", "white", "noise"])
def test_the_time_and_the_notes_stand_out_from_any_background(background: str, size: tuple[int, int]) -> None:
    picture = {"black": even(*size, 0), "white": even(*size, 255), "noise": noise(*size)}[background]
    drawn = draw_caption(picture, CAPTION)
    height = size[0] // 4
    touched = changed(drawn, picture)[:height] > 0
    rows = np.flatnonzero(touched.any(axis=1))
    inside = np.s_[rows[0] + 1 : rows[-1]]
    for half in (np.s_[size[1] // 2 :], np.s_[: size[1] // 2]):
        columns = np.flatnonzero(touched[:, half].sum(axis=0) > 0.8 * len(rows))
        if len(columns) < 10:
            assert size == (120, 160)  # there is no room for the notes
            continue
        plate = drawn[inside, half][:, columns[3:-3]].reshape(-1, 3)
        edge = drawn[rows[0] + 1, half][columns[3:-3]]  # above the letters
        order = plate.mean(axis=1).argsort()
        text = plate[order[-20]]
        behind = edge[edge.mean(axis=1).argsort()[int(0.9 * len(edge))]]
        assert contrast(hexadecimal(text), hexadecimal(behind)) >= 4.5


@pytest.mark.parametrize("size", [(96, 128), (120, 160), (240, 320), (640, 360)])
@pytest.mark.parametrize("label", ["boxing", "handclapping", "both_arms_sideways_very_slowly_up_and_down"])
def test_a_label_of_any_length_ends_before_the_confidence(size: tuple[int, int], label: str) -> None:
    picture = even(*size)
    half = size[0] // 2  # the label stands in the lower one
    for value in (0.87, 1.0):
        caption = replace(CAPTION, label=" ", confidence=value, top=(("other", value),))
        bare = draw_caption(picture, caption)
        confidence = changed(bare, draw_caption(picture, replace(caption, confidence=None)))
        written = changed(bare, draw_caption(picture, replace(caption, label=label)))
        assert np.flatnonzero(written[half:].any(axis=0)).max() < np.flatnonzero(confidence[half:].any(axis=0)).min()


def test_bars_are_as_long_as_their_values() -> None:
    def accent(value: float) -> int:
        drawn = draw_caption(even(480, 640), Caption("a", value, (("a", value),), 0.0, None))
        return int(np.count_nonzero((drawn.astype(int)[..., 2] - drawn[..., 0]) > 50))

    assert accent(0.0) == 0
    assert accent(0.5) / accent(1.0) == pytest.approx(0.5, abs=0.03)
    assert accent(0.25) / accent(1.0) == pytest.approx(0.25, abs=0.03)
    assert accent(7.0) == accent(1.0)


def test_bars_are_drawn_while_there_is_room() -> None:
    def height(count: int, size: tuple[int, int]) -> int:
        picture = even(*size)
        top = tuple((f"class_{number}", 0.1) for number in range(count))
        drawn = draw_caption(picture, Caption("class_0", 0.1, top, 0.0, None))
        return int(np.count_nonzero(changed(drawn, picture)[size[0] // 3 :].any(axis=1)))

    assert height(1, (480, 640)) < height(2, (480, 640)) < height(5, (480, 640))
    assert height(5, (480, 640)) == height(101, (480, 640)) < 0.45 * 480
    assert height(1, (150, 300)) < height(101, (150, 300)) <= 0.45 * 150
    assert height(1, (120, 160)) == height(101, (120, 160))


def test_text_grows_with_the_frame() -> None:
    heights = []
    for size in ((120, 160), (480, 640), (720, 1280)):
        difference = changed(draw_caption(even(*size), CAPTION), draw_caption(even(*size), replace(CAPTION, time=8.8)))
        heights.append(np.count_nonzero(difference.any(axis=1)))
    assert heights == sorted(set(heights))
    assert heights[0] >= 6


@pytest.mark.parametrize("size", [(120, 160), (480, 640)])
def test_a_caption_without_label_has_no_colour(size: tuple[int, int]) -> None:
    picture = even(*size)
    drawn = draw_caption(picture, replace(CAPTION, label=None, confidence=None))
    other = draw_caption(picture, replace(CAPTION, label=" ", confidence=None))
    assert changed(drawn, other).any()  # it is said
    spread = drawn.max(axis=2).astype(int) - drawn.min(axis=2)
    assert spread.max() < 25


def test_an_unknown_duration_is_left_out() -> None:
    def wide(duration: float | None) -> int:
        picture = even(240, 320)
        drawn = draw_caption(picture, Caption("a", 0.5, (), 4.2, duration))
        return int(np.count_nonzero(changed(drawn, picture)[:60].any(axis=0)))

    assert 0 < wide(None) < wide(12.0) < wide(7200.0)


@pytest.mark.parametrize("label", STRANGE)
@pytest.mark.parametrize("size", [(32, 32), (120, 160), (480, 640)])
def test_untrusted_labels_are_drawn(label: str, size: tuple[int, int]) -> None:
    caption = Caption(label, float("nan"), ((label, float("nan")), (label, -1.0)), 1e9, 1e9, (label,))
    picture = even(*size)
    drawn = draw_caption(picture, caption)
    assert changed(drawn, picture).any()
    np.testing.assert_array_equal(drawn[0], picture[0])


@pytest.mark.parametrize(
    "picture",
    [np.zeros((4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))],
)
def test_an_array_of_another_kind_is_refused(picture: Picture) -> None:
    with pytest.raises(UsageError, match=r"uint8 \(H, W, 3\)"):
        draw_caption(picture, CAPTION)


@pytest.mark.parametrize("width", [8, 20, 60, 100, 1000])
@pytest.mark.parametrize("label", ["pick_up_the_red_cube", "拍手拍手拍手拍手", "a"])
def test_a_shortened_label_fits_and_keeps_both_its_ends(label: str, width: int) -> None:
    short = shorten(label, width, 12)
    assert not short or measure(short, 12) <= width
    if width == 1000:
        assert short == label
    if width == 100 and label.startswith("pick"):
        assert short.startswith("pick_")
        assert short.endswith("cube")
        assert "…" in short
