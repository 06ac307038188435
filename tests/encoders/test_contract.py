from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from conftest import MakeVideo, draw
from marey.data import Clip
from marey.encoders import (
    FRAME_ORDERS,
    Contract,
    EncoderSpec,
    FrameOrder,
    Stream,
    View,
    clip_span,
    read_clip,
    read_frames,
)
from marey.errors import UnknownNameError, UsageError, VideoError
from marey.video import Limits, Sampling, decode, write_video

ReadIndex = Callable[[Tensor], int]

APPEARANCE = {"frame": Stream(kind="appearance")}
THREE = {
    "frame": Stream(kind="appearance"),
    "change": Stream(kind="difference", span=0.2),
    "colours": Stream(kind="triplet", span=0.4),
}


def contract(streams: dict[str, Stream], **changes: Any) -> Contract:
    values: dict[str, Any] = {
        "sampling": Sampling(count=4),
        "streams": streams,
        "fit": "stretch",
        "encoder": EncoderSpec(),
        "encoder_hash": "0" * 32,
        "size": (48, 80),
        "interpolation": "bilinear",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "dim": 8,
    }
    return Contract(**{**values, **changes})


@pytest.fixture(scope="module")
def video(make_video: MakeVideo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, 50 frames."""
    return make_video(tmp_path_factory.mktemp("clips") / "a.mp4")


def indices(pictures: Tensor, read_index: ReadIndex) -> list[int]:
    return [read_index(picture) for picture in pictures]


def test_the_frames_are_those_on_screen_in_the_middle_of_each_segment(video: Path, read_index: ReadIndex) -> None:
    pictures = read_clip(Clip(video), contract(APPEARANCE))["frame"]
    assert pictures.dtype == torch.uint8
    assert pictures.shape == (4, 3, 48, 80)
    assert indices(pictures, read_index) == [6, 18, 31, 43]  # at 0.25, 0.75, 1.25 and 1.75 s


def test_the_frames_of_a_stream_lie_its_span_apart(video: Path, read_index: ReadIndex) -> None:
    pictures = read_clip(Clip(video), contract({"colours": Stream(kind="triplet", span=0.4)}))["colours"]
    shown = [[read_index(colour.unsqueeze(0)) for colour in picture] for picture in pictures]
    assert shown == [[1, 6, 11], [13, 18, 23], [26, 31, 36], [38, 43, 48]]


def test_a_difference_is_made_of_the_frames_around_its_instant(video: Path) -> None:
    how = contract({"change": Stream(kind="difference", span=0.2)})
    instants = np.array([0.25, 0.75, 1.25, 1.75])
    earlier, later = (
        decode(video, instants + offset, size=how.size, interpolation="bilinear").data.int() for offset in (-0.1, 0.1)
    )
    expected = (later - earlier + 127).clamp(0, 255)
    assert torch.equal(read_clip(Clip(video), how)["change"].int(), expected)


def test_offsets_stay_inside_the_span_of_the_clip(video: Path, read_index: ReadIndex) -> None:
    how = contract({"colours": Stream(kind="triplet", span=2.0)}, sampling=Sampling(count=2))
    whole = read_clip(Clip(video), how)["colours"]
    assert [read_index(colour.unsqueeze(0)) for colour in whole.flatten(0, 1)] == [0, 12, 37, 12, 37, 49]
    span = read_clip(Clip(video, start=0.4, end=1.6), how)["colours"]
    assert [read_index(colour.unsqueeze(0)) for colour in span.flatten(0, 1)] == [10, 17, 39, 10, 32, 39]


def test_the_span_of_a_clip_is_all_that_is_looked_at(video: Path, read_index: ReadIndex) -> None:
    how = contract(APPEARANCE)
    assert clip_span(Clip(video, start=0.4, end=1.2)) == (0.4, 1.2)
    shown = indices(read_clip(Clip(video, start=0.4, end=1.2), how)["frame"], read_index)
    assert shown == [12, 17, 22, 27]
    assert clip_span(Clip(video, start=1.0)) == pytest.approx((1.0, 2.0))
    assert indices(read_clip(Clip(video, start=1.0), how)["frame"], read_index) == [28, 34, 40, 46]
    assert clip_span(Clip(video, end=1.0)) == (0.0, 1.0)
    assert indices(read_clip(Clip(video, end=1.0), how)["frame"], read_index) == [3, 9, 15, 21]


def test_random_views_take_one_moment_of_each_segment_the_same_each_time(video: Path, read_index: ReadIndex) -> None:
    how = contract(APPEARANCE, sampling=Sampling(count=8))
    clip = Clip(video, start=0.4, end=1.6)
    views = [indices(read_clip(clip, how, view=View(number))["frame"], read_index) for number in range(6)]
    for shown in views:
        for segment, frame in enumerate(shown):  # 3.75 frames a segment
            assert 10 + 3.75 * segment - 1 < frame < 10 + 3.75 * (segment + 1)
    assert len({tuple(shown) for shown in views}) == 6
    assert indices(read_clip(clip, how, view=View(3))["frame"], read_index) == views[3]


@pytest.mark.parametrize("order", FRAME_ORDERS)
def test_chance_does_not_depend_on_where_a_file_lies(video: Path, tmp_path: Path, order: FrameOrder) -> None:
    elsewhere = Path(shutil.copy(video, tmp_path / "ein anderer Name.mp4"))
    how = contract(THREE)
    here = read_clip(Clip(video), how, view=View(2), order=order)
    there = read_clip(Clip(elsewhere, label="waving", group="7"), how, view=View(2), order=order)
    assert all(torch.equal(here[stream], there[stream]) for stream in THREE)


def test_a_mirrored_view_exchanges_left_and_right(video: Path) -> None:
    how = contract(THREE)
    plain, mirrored = (read_clip(Clip(video), how, view=View(0, mirrored)) for mirrored in (False, True))
    assert all(torch.equal(mirrored[stream], plain[stream].flip(-1)) for stream in THREE)


def test_reversed_order_shows_the_same_frames_back_to_front(video: Path, read_index: ReadIndex) -> None:
    how = contract({"frame": Stream(kind="appearance"), "colours": Stream(kind="triplet", span=0.4)})
    pictures = read_clip(Clip(video), how, order="reversed")
    assert indices(pictures["frame"], read_index) == [43, 31, 18, 6]
    shown = [[read_index(colour.unsqueeze(0)) for colour in picture] for picture in pictures["colours"]]
    assert shown == [[48, 43, 38], [36, 31, 26], [23, 18, 13], [11, 6, 1]]


def test_shuffled_order_is_another_order_of_the_same_frames_the_same_each_time(
    video: Path, read_index: ReadIndex
) -> None:
    how = contract(APPEARANCE, sampling=Sampling(count=12))
    given, shuffled, again = (
        indices(read_clip(Clip(video), how, order=order)["frame"], read_index)
        for order in ("given", "shuffled", "shuffled")
    )
    assert sorted(shuffled) == given
    assert shuffled not in (given, given[::-1])
    assert again == shuffled
    part = indices(read_clip(Clip(video, end=1.9), how, order="shuffled")["frame"], read_index)
    assert np.argsort(part).tolist() != np.argsort(shuffled).tolist()


def test_shuffled_frames_of_all_streams_are_those_of_the_clip(video: Path, read_index: ReadIndex) -> None:
    how = contract({"frame": Stream(kind="appearance"), "colours": Stream(kind="triplet", span=0.4)})
    pictures = read_clip(Clip(video), how, order="shuffled")
    shown = [read_index(colour.unsqueeze(0)) for colour in pictures["colours"].flatten(0, 1)]
    assert sorted(shown) == [1, 6, 11, 13, 18, 23, 26, 31, 36, 38, 43, 48]
    assert indices(pictures["frame"], read_index) == shown[1::3]


@pytest.mark.parametrize("order", FRAME_ORDERS)
@pytest.mark.parametrize("view", [View(), View(1), View(2, mirrored=True)])
def test_a_stream_is_the_same_whichever_others_are_read_with_it(video: Path, order: FrameOrder, view: View) -> None:
    how = contract(THREE)
    together = read_clip(Clip(video), how, view=view, order=order)
    assert list(together) == list(THREE)
    for stream in THREE:
        alone = read_clip(Clip(video), how, streams=(stream,), view=view, order=order)
        assert list(alone) == [stream]
        assert torch.equal(alone[stream], together[stream])


def test_an_unknown_order_answers_with_what_was_probably_meant(video: Path) -> None:
    with pytest.raises(UnknownNameError, match="no frame order is called 'shufled'; did you mean 'shuffled'"):
        read_clip(Clip(video), contract(APPEARANCE), order="shufled")  # type: ignore[arg-type]


@pytest.mark.parametrize("view", [View(), View(1)])
@pytest.mark.parametrize("end", [None, 1.0])
@pytest.mark.parametrize("order", FRAME_ORDERS)
def test_a_file_that_is_not_there_is_missing(tmp_path: Path, view: View, end: float | None, order: FrameOrder) -> None:
    with pytest.raises(VideoError) as caught:
        read_clip(Clip(tmp_path / "absent.mp4", end=end), contract(APPEARANCE), view=view, order=order)
    assert caught.value.reason == "missing"


def test_a_clip_that_starts_after_the_end_of_its_file_is_too_short(video: Path) -> None:
    for clip in (Clip(video, start=5.0), Clip(video, start=5.0, end=6.0), Clip(video, end=60.0)):
        with pytest.raises(VideoError) as caught:
            read_clip(clip, contract(APPEARANCE))
        assert caught.value.reason == "too_short"


def test_limits_hold_for_a_clip(video: Path) -> None:
    with pytest.raises(VideoError) as caught:
        read_clip(Clip(video, end=1.0), contract(APPEARANCE), limits=Limits(max_pixels=100))
    assert caught.value.reason == "too_large"


def drawn(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.stack([draw(index, (120, 160)) for index in range(count)])


@pytest.mark.parametrize(("rate", "count"), [(25.0, 50), (30.0, 41), (29.97, 7), (10.0, 1)])
def test_frames_in_memory_give_what_their_file_gives(
    tmp_path: Path, read_index: ReadIndex, rate: float, count: int
) -> None:
    how = contract({"frame": Stream(kind="appearance"), "change": Stream(kind="difference")}, fit="crop")
    how = how.model_copy(update={"size": (120, 160)})
    pictures = drawn(count)
    path = tmp_path / "a.mp4"
    write_video(path, torch.from_numpy(pictures).permute(0, 3, 1, 2), frame_rate=rate, crf=10)
    from_file = read_clip(Clip(path), how)
    from_memory = read_frames(pictures, how, frame_rate=rate)
    assert indices(from_memory["frame"], read_index) == indices(from_file["frame"], read_index)
    for stream in from_file:
        assert (from_memory[stream].int() - from_file[stream].int()).abs().float().mean() < 2


def test_frames_in_memory_may_have_their_channels_first_or_last() -> None:
    how = contract(THREE)
    pictures = drawn(20)
    last = read_frames(pictures, how, frame_rate=10.0)
    first = read_frames(torch.from_numpy(pictures).permute(0, 3, 1, 2), how, frame_rate=10.0)
    assert all(torch.equal(last[stream], first[stream]) for stream in THREE)


@pytest.mark.parametrize("rate", [0.0, -5.0, float("nan"), float("inf")])
def test_a_frame_rate_that_is_none_is_wrong_use(rate: float) -> None:
    with pytest.raises(UsageError):
        read_frames(drawn(4), contract(THREE), frame_rate=rate)


def test_frames_of_another_type_or_shape_are_wrong_use() -> None:
    wrong: Any
    for wrong in (np.zeros((4, 8, 8), np.uint8), np.zeros((4, 8, 8, 3)), np.zeros((0, 8, 8, 3), np.uint8)):
        with pytest.raises(UsageError, match="images have to be uint8 RGB"):
            read_frames(wrong, contract(THREE), frame_rate=10.0)


def test_frames_in_memory_that_are_too_few_are_too_short() -> None:
    how = contract(APPEARANCE, sampling=Sampling(kind="dense", count=8, rate=4.0, short="error"))
    with pytest.raises(VideoError) as caught:
        read_frames(drawn(5), how, frame_rate=10.0)
    assert caught.value.reason == "too_short"


def test_a_contract_survives_json() -> None:
    how = contract(
        THREE,
        sampling=Sampling(kind="dense", count=7, rate=12.5, short="wrap"),
        encoder=EncoderSpec(name="resnet18.a1_in1k", precision="bfloat16", size=160, grid=(3, 2)),
        mean=(0.485, 0.456, 0.406),
    )
    again = Contract.model_validate_json(how.model_dump_json())
    assert again == how
    assert list(again.streams) == list(THREE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"streams": {}},
        {"fit": "squeeze"},
        {"size": (0, 5)},
        {"size": (5000, 5)},
        {"colour": "bgr"},
        {"encoder": {"name": "resnet18", "grid": [0, 2]}},
        {"encoder": {"precision": "float16"}},
        {"interpolation": "lanczos"},
    ],
)
def test_a_contract_that_cannot_be_kept_is_refused(wrong: dict[str, object]) -> None:
    values = contract(APPEARANCE).model_dump()
    with pytest.raises(ValidationError):
        Contract.model_validate({**values, **wrong})


def test_each_frame_is_decoded_once_for_all_streams(video: Path) -> None:
    how = contract({"near": Stream(kind="difference", span=0.2), "again": Stream(kind="difference", span=0.2, gain=2)})
    pictures = read_clip(Clip(video), how)
    expected = ((pictures["near"].int() - 127) * 2 + 127).clamp(0, 255)
    assert torch.equal(pictures["again"].int(), expected)


def test_a_video_without_frames_is_refused_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    with pytest.raises(VideoError) as caught:
        read_clip(Clip(path), contract(APPEARANCE))
    assert caught.value.reason in ("no_frames", "truncated", "corrupt")


def test_key_frames_are_refused_where_streams_compare_frames_in_time() -> None:
    with pytest.raises(ValidationError, match="'change' and 'colours' compare frames a fraction of a second apart"):
        contract(THREE, sampling=Sampling(frames="keyframes"))
    with pytest.raises(ValidationError, match="key frames are read by decoder 'pyav'"):
        Sampling(frames="keyframes", decoder="torchcodec")


def test_a_contract_says_which_frames_are_read(make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4.0, gop=40)
    exact, keyframes = (
        read_clip(Clip(path), contract(APPEARANCE, sampling=Sampling(count=4, frames=frames)))["frame"]
        for frames in ("exact", "keyframes")
    )
    assert indices(exact, read_index) == [12, 37, 62, 87]
    assert indices(keyframes, read_index) == [0, 40, 80, 80]


def test_a_contract_says_by_which_decoder_frames_are_read(
    make_video: MakeVideo, read_index: ReadIndex, tmp_path: Path, torchcodec: None
) -> None:
    path = make_video(tmp_path / "a.mp4", seconds=4.0, gop=40)
    pictures = []
    for decoder in ("pyav", "torchcodec"):
        how = contract(APPEARANCE, sampling=Sampling(count=4, decoder=decoder))
        pictures.append(read_clip(Clip(path), how)["frame"])
        assert indices(pictures[-1], read_index) == [12, 37, 62, 87]
    assert not torch.equal(*pictures)  # another conversion to RGB: its features have entries of their own


def test_frames_in_memory_have_no_key_frames() -> None:
    how = contract(APPEARANCE, sampling=Sampling(count=4, frames="keyframes"))
    with pytest.raises(UsageError, match="frames in memory have none"):
        read_frames(drawn(20), how, frame_rate=10.0)
