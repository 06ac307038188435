from __future__ import annotations

import importlib
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import MakeVideo
from marey.data import Clip
from marey.encoders import (
    Contract,
    EncoderSpec,
    FeatureCache,
    FrameEncoder,
    FrameOrder,
    Progress,
    Stream,
    View,
    extract,
    iterate_views,
    read_clip,
)
from marey.encoders.timm_encoder import load_frame_encoder
from marey.errors import VideoError
from marey.video import Sampling
from waiting import wait_until

extraction = importlib.import_module("marey.encoders.extract")  # the package has a function of that name
T = 3
CHANGE = Stream(kind="difference")
FRAME = Stream(kind="appearance")


@pytest.fixture
def encoder() -> FrameEncoder:
    return load_frame_encoder(EncoderSpec(name="test_efficientnet", weights="random"))


@pytest.fixture(scope="module")
def clips(make_video: MakeVideo, tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Eight clips of different content."""
    folder = tmp_path_factory.mktemp("clips")
    return [
        Clip(make_video(folder / f"{number}.mp4", seconds=0.4 + 0.2 * number, size=(64, 80))) for number in range(8)
    ]


def contract(encoder: FrameEncoder, **streams: Stream) -> Contract:
    return encoder.contract(sampling=Sampling(count=T), streams=streams or {"change": CHANGE}, fit="stretch")


def features_of(result: dict[str, torch.Tensor] | VideoError) -> dict[str, torch.Tensor]:
    assert not isinstance(result, VideoError)
    return result


def test_each_clip_has_its_features_in_its_place(clips: list[Clip], encoder: FrameEncoder, tmp_path: Path) -> None:
    how = contract(encoder, change=CHANGE, frame=FRAME)
    found = extract(clips, encoder, how, cache=FeatureCache(tmp_path))
    assert len(found) == len(clips)
    for clip, result in zip(clips, found, strict=True):
        features = features_of(result)
        assert list(features) == ["change", "frame"]
        for stream, images in read_clip(clip, how).items():
            assert features[stream].shape == (T, encoder.dim)
            assert features[stream].dtype == torch.float32
            torch.testing.assert_close(features[stream], encoder.encode(images), rtol=1e-5, atol=1e-5)


def test_cached_clips_are_not_encoded_again(clips: list[Clip], encoder: FrameEncoder, tmp_path: Path) -> None:
    cache, how = FeatureCache(tmp_path), contract(encoder)
    first = extract(clips, encoder, how, cache=cache)
    assert encoder.images == len(clips) * T
    seen: list[Progress] = []
    second = extract(clips, encoder, how, cache=cache, on_progress=seen.append)
    assert encoder.images == len(clips) * T
    assert seen[-1] == Progress(done=len(clips), total=len(clips), cached=len(clips), failed=0)
    for left, right in zip(first, second, strict=True):
        assert torch.equal(features_of(left)["change"], features_of(right)["change"])


def test_a_file_that_was_moved_is_still_in_the_cache(clips: list[Clip], encoder: FrameEncoder, tmp_path: Path) -> None:
    cache, how = FeatureCache(tmp_path / "cache"), contract(encoder)
    extract(clips[:1], encoder, how, cache=cache)
    moved = Path(shutil.copy(clips[0].path, tmp_path / "moved.mp4"))
    extract([Clip(moved, label="other")], encoder, how, cache=cache)
    assert encoder.images == T


def test_a_file_that_was_changed_is_encoded_again(make_video: MakeVideo, encoder: FrameEncoder, tmp_path: Path) -> None:
    cache, how = FeatureCache(tmp_path / "cache"), contract(encoder)
    path = make_video(tmp_path / "a.mp4", seconds=0.4, size=(64, 80))
    (before,) = extract([Clip(path)], encoder, how, cache=cache)
    make_video(path, seconds=1.4, size=(64, 80))
    (after,) = extract([Clip(path)], encoder, how, cache=cache)
    assert encoder.images == 2 * T
    assert not torch.equal(features_of(before)["change"], features_of(after)["change"])


def test_spans_of_one_file_have_features_of_their_own(clips: list[Clip], encoder: FrameEncoder, tmp_path: Path) -> None:
    path = clips[-1].path
    spans = [Clip(path, start=0.0, end=0.8), Clip(path, start=0.8, end=1.6)]
    left, right = extract(spans, encoder, contract(encoder, frame=FRAME), cache=FeatureCache(tmp_path))
    assert encoder.images == 2 * T
    assert not torch.equal(features_of(left)["frame"], features_of(right)["frame"])


def test_a_clip_that_cannot_be_used_says_why_in_its_place(
    clips: list[Clip], encoder: FrameEncoder, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    mixed = [
        Clip(tmp_path / "absent.mp4"),
        clips[0],
        Clip(tmp_path / "text.mp4"),
        Clip(tmp_path / "empty.mp4"),
        clips[1],
        Clip(clips[2].path, start=30.0, end=40.0),
    ]
    seen: list[Progress] = []
    found = extract(mixed, encoder, contract(encoder), cache=FeatureCache(tmp_path / "c"), on_progress=seen.append)
    reasons = [result.reason if isinstance(result, VideoError) else None for result in found]
    assert reasons == ["missing", None, "not_video", "empty", None, "too_short"]
    assert [progress.done for progress in seen] == [1, 2, 3, 4, 5, 6]
    assert [progress.failed for progress in seen] == [1, 1, 2, 3, 3, 4]
    assert seen[-1].total == 6


class _Stop(Exception):  # noqa: N818 - it is no error
    pass


@pytest.mark.parametrize("interruption", [_Stop, KeyboardInterrupt])
def test_an_interrupted_extraction_goes_on_where_it_was(
    clips: list[Clip], encoder: FrameEncoder, tmp_path: Path, interruption: type[BaseException]
) -> None:
    cache, how = FeatureCache(tmp_path), contract(encoder)

    def interrupt(progress: Progress) -> None:
        if progress.done == 3:
            raise interruption

    with pytest.raises(interruption):
        extract(clips, encoder, how, cache=cache, on_progress=interrupt)
    before = encoder.images // T
    assert 3 <= before < len(clips)  # with those that were in hand
    seen: list[Progress] = []
    found = extract(clips, encoder, how, cache=cache, on_progress=seen.append)
    assert encoder.images == len(clips) * T  # none of them twice
    assert seen[-1].cached == before
    assert not any(isinstance(result, VideoError) for result in found)
    assert not list(tmp_path.rglob("*.part"))


def test_recipes_that_share_a_stream_share_its_features(
    clips: list[Clip], encoder: FrameEncoder, tmp_path: Path
) -> None:
    cache = FeatureCache(tmp_path)
    extract(clips, encoder, contract(encoder, motion=CHANGE), cache=cache)
    assert encoder.images == len(clips) * T
    seen: list[Progress] = []
    both = contract(encoder, frame=FRAME, change=CHANGE)
    found = extract(clips, encoder, both, cache=cache, on_progress=seen.append)
    assert encoder.images == 2 * len(clips) * T
    assert seen[-1].cached == 0  # something of each had to be made
    assert [list(features_of(result)) for result in found] == [["frame", "change"]] * len(clips)
    extract(clips, encoder, contract(encoder, frame=FRAME), cache=cache)
    assert encoder.images == 2 * len(clips) * T


@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_features_in_another_order_do_not_depend_on_what_was_cached_before(
    clips: list[Clip], encoder: FrameEncoder, tmp_path: Path, order: FrameOrder
) -> None:
    def run(cache: str, view: View, **streams: Stream) -> list[Any]:
        how = contract(encoder, **streams)
        return extract(clips[:3], encoder, how, cache=FeatureCache(tmp_path / cache), view=view, order=order)

    wide = Stream(kind="triplet", span=0.5)
    for view in (View(), View(1)):
        fresh = run("fresh", view, change=CHANGE, other=wide)
        run("used", view, change=CHANGE, other=FRAME)
        run("used", view, other=wide)
        used = run("used", view, change=CHANGE, other=wide)
        for left, right in zip(fresh, used, strict=True):
            for stream in left:
                torch.testing.assert_close(left[stream], right[stream], rtol=1e-5, atol=1e-5)


def test_views_and_orders_have_features_of_their_own(clips: list[Clip], encoder: FrameEncoder, tmp_path: Path) -> None:
    cache, how = FeatureCache(tmp_path), contract(encoder, frame=FRAME)
    readings: list[dict[str, Any]] = [
        {},
        {"view": View(1)},
        {"view": View(2)},
        {"view": View(0, mirrored=True)},
        {"order": "reversed"},
    ]
    found = [
        features_of(extract(clips[-1:], encoder, how, cache=cache, **how_read)[0])["frame"] for how_read in readings
    ]
    assert encoder.images == len(readings) * T
    assert len({tuple(features.flatten().tolist()) for features in found}) == len(readings)


def test_no_clips_give_no_features(encoder: FrameEncoder, tmp_path: Path) -> None:
    assert extract([], encoder, contract(encoder), cache=FeatureCache(tmp_path)) == []
    assert not list(tmp_path.iterdir())


def test_a_damaged_entry_of_the_cache_is_made_again(clips: list[Clip], encoder: FrameEncoder, tmp_path: Path) -> None:
    cache, how = FeatureCache(tmp_path), contract(encoder)
    first = extract(clips[:2], encoder, how, cache=cache)
    damaged = sorted(tmp_path.rglob("*.safetensors"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-7])
    second = extract(clips[:2], encoder, how, cache=cache)
    assert encoder.images == 3 * T
    for left, right in zip(first, second, strict=True):
        assert torch.equal(features_of(left)["change"], features_of(right)["change"])


_opened: set[str] | None = None


def _watch_files(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event == "open" and str(arguments[0]).endswith(".mp4"):
        _opened.add(str(arguments[0]))


sys.addaudithook(_watch_files)


def test_decoding_runs_a_few_clips_ahead_and_no_more(clips: list[Clip], encoder: FrameEncoder, tmp_path: Path) -> None:
    global _opened
    folder = tmp_path / "clips"
    folder.mkdir()
    many = [Clip(Path(shutil.copy(clips[number % 8].path, folder / f"{number}.mp4"))) for number in range(16)]
    ahead: list[int] = []
    _opened = set()

    def watch(progress: Progress) -> None:
        assert _opened is not None
        opened = _opened
        wait_until(lambda: len(opened) > progress.done or len(opened) == len(many))  # nobody waits for the encoder
        time.sleep(0.02)  # and decoding could run away
        ahead.append(len(opened) - progress.done)

    try:
        extract(many, encoder, contract(encoder), cache=FeatureCache(tmp_path / "cache"), on_progress=watch)
    finally:
        _opened = None
    assert 1 <= max(ahead) <= 4


def test_a_clip_and_its_mirror_image_are_what_each_alone_is(
    clips: list[Clip], encoder: FrameEncoder, tmp_path: Path
) -> None:
    how = contract(encoder)
    views = (View(), View(1), View(mirrored=True))
    together = list(
        iterate_views([(clip, views) for clip in clips[:2]], encoder, how, cache=FeatureCache(tmp_path / "a"))
    )
    for view in views:
        alone = extract(clips[:2], encoder, how, cache=FeatureCache(tmp_path / "b"), view=view)
        for both, one in zip(together, alone, strict=True):
            assert not isinstance(both, VideoError)
            assert not isinstance(one, VideoError)
            assert all(torch.allclose(both[view][stream], one[stream], atol=1e-5) for stream in one)
    encoded = encoder.images
    again = list(
        iterate_views([(clips[0], views), (clips[1], views[:1])], encoder, how, cache=FeatureCache(tmp_path / "a"))
    )
    assert encoder.images == encoded
    assert [len(found) for found in again if not isinstance(found, VideoError)] == [3, 1]


def test_a_file_that_changes_while_it_is_read_leaves_no_entry(
    make_video: MakeVideo, encoder: FrameEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, how = FeatureCache(tmp_path / "cache"), contract(encoder)
    path = make_video(tmp_path / "a.mp4", seconds=0.4, size=(64, 80))
    read = extraction.read_clip_views

    def change_then_read(*given: Any, **named: Any) -> Any:
        make_video(path, seconds=1.4, size=(64, 80))
        return read(*given, **named)

    with monkeypatch.context() as during:
        during.setattr(extraction, "read_clip_views", change_then_read)
        (mixed,) = extract([Clip(path)], encoder, how, cache=cache)
    assert list((tmp_path / "cache").rglob("*.safetensors")) == []
    (after,) = extract([Clip(path)], encoder, how, cache=cache)
    assert torch.equal(features_of(mixed)["change"], features_of(after)["change"])
    assert encoder.images == 2 * T


def test_a_damaged_entry_is_made_anew_and_said(
    clips: list[Clip], encoder: FrameEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, how = FeatureCache(tmp_path), contract(encoder)
    before = extract(clips[:1], encoder, how, cache=cache)
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    after = extract(clips[:1], encoder, how, cache=cache)
    assert torch.equal(features_of(before[0])["change"], features_of(after[0])["change"])
    assert path.read_bytes() == whole
    assert f"{path} is damaged (its checksum is another), and is made again" in caplog.text


def test_a_cache_that_cannot_be_written_to_costs_no_answer(
    clips: list[Clip], encoder: FrameEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    how = contract(encoder)
    found = extract(clips[:3], encoder, how, cache=FeatureCache(tmp_path / "file"))
    for one, other in zip(found, extract(clips[:3], encoder, how, cache=FeatureCache(tmp_path / "c")), strict=True):
        assert torch.equal(features_of(one)["change"], features_of(other)["change"])
    assert caplog.text.count("features cannot be kept") == 1


def test_features_that_are_not_finite_are_an_error_of_their_clip(
    clips: list[Clip], encoder: FrameEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = contract(encoder)
    encode = encoder.encode_clips
    monkeypatch.setattr(encoder, "encode_clips", lambda given: encode(given) * torch.inf)
    found = extract(clips[:2], encoder, how, cache=FeatureCache(tmp_path))
    assert [result.reason for result in found if isinstance(result, VideoError)] == ["not_finite"] * 2
    assert list(tmp_path.rglob("*.safetensors")) == []
