"""`fit: motion`: the region of a clip where something moves, and the whole frame where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import MakeVideo
from marey.data import Clip
from marey.encoders import (
    THUMBNAIL,
    Contract,
    EncoderSpec,
    FeatureCache,
    MultiView,
    RunningRegion,
    Stream,
    View,
    read_clip,
    read_clip_views,
    read_frames,
)
from marey.encoders.motion_region import find_region
from marey.errors import RecipeError
from marey.synthetic import draw
from marey.training import load_recipe
from marey.video import Region, Sampling, frames_at, write_video
from moving_figure import FIGURE, RATE, SIZE, SWING, scene

KINDS = {kind: Stream(kind=kind) for kind in ("appearance", "chronophotograph", "difference", "triplet")}
FRAME = {"appearance": KINDS["appearance"]}


def contract(**changes: Any) -> Contract:
    values: dict[str, Any] = {
        "sampling": Sampling(count=4),
        "streams": KINDS,
        "fit": "motion",
        "encoder": EncoderSpec(),
        "encoder_hash": "0" * 32,
        "size": (64, 64),
        "interpolation": "bilinear",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "dim": 8,
    }
    return Contract(**{**values, **changes})


def region_of(frames: Tensor, rate: float = RATE) -> Region | None:
    def thumbnails(timestamps: np.ndarray[Any, Any]) -> Any:
        return enumerate(frames_at(frames, timestamps, frame_rate=rate, size=THUMBNAIL, interpolation="area").data)

    return find_region(0.0, len(frames) / rate - 1e-5, thumbnails)


def holds_figure(region: Region | None, at: tuple[float, float]) -> bool:
    height, width = FIGURE[0] / SIZE[0], (FIGURE[1] + SWING) / SIZE[1]
    figure = Region(at[0] - height / 2, at[1] - width / 2, at[0] + height / 2, at[1] + width / 2)
    return region is not None and region.contains(figure)


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left | right)


@pytest.mark.parametrize("at", [(0.25, 0.25), (0.75, 0.8), (0.5, 0.5), (0.15, 0.88)])
def test_the_region_holds_the_figure_that_moves_and_little_else(at: tuple[float, float]) -> None:
    region = region_of(scene(at=at))
    assert holds_figure(region, at)
    assert region is not None
    assert region.area < 0.16


def test_a_figure_in_the_dark_is_found() -> None:
    assert holds_figure(region_of((scene(at=(0.3, 0.7)).float() * 0.1).round().to(torch.uint8)), (0.3, 0.7))


def test_a_figure_is_found_in_the_noise_of_a_camera() -> None:
    region = region_of(scene(at=(0.3, 0.7), noise=12.0))
    assert holds_figure(region, (0.3, 0.7))
    assert region is not None
    assert region.area < 0.3


def test_a_drawn_person_is_found_whole() -> None:
    region = region_of(draw("handwaving", actor=3, duration=1.2))
    assert region is not None
    assert 0.3 < region.area < 0.7


@pytest.mark.parametrize("pan", [0.4, 1.0, 2.5, -1.7])
def test_a_camera_that_pans_does_not_hide_what_moves(pan: float) -> None:
    at = (0.4, 0.6)
    region = region_of(scene(at=at, pan=abs(pan)).flip(0 if pan < 0 else ()))
    assert region is None or holds_figure(region, at)


def test_the_movement_of_a_camera_is_undone() -> None:
    region = region_of(scene(at=(0.4, 0.6), pan=1.0))
    assert holds_figure(region, (0.4, 0.6))
    assert region is not None
    assert region.area < 0.4


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(scene(at=None), id="still"),
        pytest.param(scene(at=None, noise=20.0), id="noise"),
        pytest.param(scene(until=0.0), id="still figure"),
        pytest.param(scene(at=None, pan=1.0), id="pan"),
        pytest.param(scene(at=None, pan=7.0), id="fast pan"),
        pytest.param(torch.zeros(40, 3, 64, 64, dtype=torch.uint8), id="black"),
        pytest.param(scene(seconds=1 / RATE), id="one frame"),
        pytest.param(
            torch.randint(0, 256, (40, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
            id="noise alone",
        ),
    ],
)
def test_the_whole_frame_is_read_where_no_part_of_it_moves(frames: Tensor) -> None:
    assert region_of(frames) is None
    plain, found = (read_frames(frames, contract(fit=fit), frame_rate=RATE) for fit in ("stretch", "motion"))
    assert same(plain, found)


def test_a_light_that_is_switched_on_is_not_movement() -> None:
    frames = scene(at=None).float()
    frames[25:] += 40
    assert region_of(frames.clamp(0, 255).to(torch.uint8)) is None


def test_a_cut_is_not_movement() -> None:
    frames = scene(at=(0.3, 0.3), seconds=3.0)
    frames[40:] = frames[40:].flip(-2).roll(33, -1).flip(-2)
    assert holds_figure(region_of(frames[:38]), (0.3, 0.3))
    region = region_of(frames)
    assert region is not None
    assert region.area < 0.6


def test_no_region_is_smaller_than_a_third_of_the_frame() -> None:
    frames = scene(at=None)
    frames[::10, :, 60:66, 80:86] = 255
    region = region_of(frames)
    assert region is not None
    assert region.bottom - region.top == pytest.approx(1 / 3)
    assert region.right - region.left == pytest.approx(1 / 3)


@pytest.mark.parametrize("size", [(61, 83), (160, 90), (33, 201)])
def test_frames_of_odd_sizes_are_read(size: tuple[int, int], tmp_path: Path) -> None:
    frames = scene(at=(0.5, 0.5), size=size, seconds=1.0)
    read = read_frames(frames, contract(), frame_rate=RATE)
    assert read["appearance"].shape == (4, 3, 64, 64)
    assert not torch.equal(
        read["appearance"], read_frames(frames, contract(fit="stretch"), frame_rate=RATE)["appearance"]
    )


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("motion") / "figure.mp4"
    write_video(path, scene(), frame_rate=RATE, crf=0)
    return path


def test_a_file_is_read_as_its_frames_in_memory(video: Path) -> None:
    read, held = read_clip(Clip(video), contract()), read_frames(scene(), contract(), frame_rate=RATE)
    plain = read_clip(Clip(video), contract(fit="stretch"))
    for name in KINDS:
        error = (read[name].float() - held[name].float()).abs().mean()
        assert error < 4
        assert error < 0.2 * (read[name].float() - plain[name].float()).abs().mean()


def test_the_figure_is_larger_than_in_the_whole_frame(video: Path) -> None:
    share = [
        (read_clip(Clip(video), contract(fit=fit))["appearance"] == 250).float().mean().item()
        for fit in ("motion", "stretch")
    ]
    assert share[0] > 3 * share[1] > 0


def test_all_streams_and_views_read_the_same_region(video: Path) -> None:
    alone = read_clip(Clip(video), contract(streams=FRAME))["appearance"]
    views = dict.fromkeys((View(), View(mirrored=True), View(index=2), View(part=(1, 3))), ("appearance",))
    read = read_clip_views(Clip(video), contract(), views)
    assert torch.equal(read[View()]["appearance"], alone)
    assert torch.equal(read[View(mirrored=True)]["appearance"], alone.flip(-1))
    still = alone[:, :, -8:].float().mean(0)  # below the figure only the scene is seen: the same in all views
    for view in (View(index=2), View(part=(1, 3))):
        assert (read[view]["appearance"][:, :, -8:].float().mean(0) - still).abs().mean() < 1


def test_the_order_of_frames_does_not_change_the_region(video: Path) -> None:
    how = contract(streams=FRAME)
    given, back = (read_clip(Clip(video), how, order=order)["appearance"] for order in ("given", "reversed"))
    assert torch.equal(back, given.flip(0))


def test_a_span_has_the_region_of_what_moves_in_it(tmp_path: Path) -> None:
    write_video(tmp_path / "two.mp4", torch.cat([scene(at=(0.25, 0.2)), scene(at=(0.75, 0.8))]), frame_rate=RATE, crf=0)
    for start, at in ((0.0, (0.25, 0.2)), (2.0, (0.75, 0.8))):
        span = read_clip(Clip(tmp_path / "two.mp4", start=start, end=start + 1.96), contract())["appearance"]
        alone = read_frames(scene(at=at)[:49], contract(), frame_rate=RATE)["appearance"]
        assert (span.float() - alone.float()).abs().mean() < 4


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_rotated_video_is_cut_where_it_moves(make_video: MakeVideo, tmp_path: Path, rotation: int) -> None:
    path = make_video(tmp_path / "turned.mp4", size=(120, 160), rotation=rotation, codec="libx264")
    upright = make_video(tmp_path / "upright.mp4", size=(120, 160), codec="libx264")
    read, wanted = (read_clip(Clip(each), contract(streams=FRAME))["appearance"] for each in (path, upright))
    assert (read.float() - wanted.float()).abs().mean() < 6


def test_key_frames_are_compared_with_the_next_ones(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "keys.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10", "sc_threshold": "0"})
        stream.width, stream.height, stream.gop_size = SIZE[1], SIZE[0], 7
        for image in scene(seconds=4.0).permute(0, 2, 3, 1).numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    plain, found = (
        read_clip(
            Clip(tmp_path / "keys.mp4"),
            contract(sampling=Sampling(count=4, frames="keyframes"), streams=FRAME, fit=fit),
        )["appearance"]
        for fit in ("stretch", "motion")
    )
    assert (found > 235).float().mean() > 3 * (plain > 235).float().mean() > 0


def test_torchcodec_finds_the_region_that_pyav_finds(torchcodec: None, video: Path) -> None:
    read = [
        read_clip(Clip(video), contract(sampling=Sampling(count=4, decoder=decoder), streams=FRAME))["appearance"]
        for decoder in ("pyav", "torchcodec")
    ]
    assert (read[0].float() - read[1].float()).abs().mean() < 3


def test_dark_video_is_stretched_after_it_is_cut() -> None:
    dark = (scene().float() * 0.1).round().to(torch.uint8)
    both = read_frames(dark, contract(photometric="auto"), frame_rate=RATE)["appearance"]
    bright = read_frames(scene(), contract(photometric="auto"), frame_rate=RATE)["appearance"]
    assert (both.float() - bright.float()).abs().mean() < 8


def test_the_cache_tells_fits_apart_and_old_keys_stay() -> None:
    clip = Clip(Path("clip.mp4"))
    keys = {
        FeatureCache.key(
            FeatureCache("none"), clip, contract(fit=fit), "appearance", content="0", view=View(), order="given"
        )
        for fit in ("stretch", "crop", "motion")
    }
    assert len(keys) == 3
    assert "fit" in contract().model_dump()
    assert Contract.model_validate_json(contract().model_dump_json()).fit == "motion"


def test_several_crops_do_not_go_with_motion() -> None:
    with pytest.raises(RecipeError, match=r"needs fit: crop; fit: motion reads one region"):
        load_recipe("chronophotograph", changes=["fit=motion", "testing.crops=3"])
    with pytest.raises(ValueError, match="one region of a clip, so take testing"):
        contract(testing=MultiView(crops=3))


def test_a_recipe_may_say_motion() -> None:
    assert load_recipe("auto", changes=["fit=motion"]).fit == "motion"
    assert load_recipe("auto").fit == "stretch"


def running(frames: Tensor, rate: float = RATE) -> list[Region | None]:
    small = frames_at(frames, np.arange(len(frames)) / rate, frame_rate=rate, size=THUMBNAIL, interpolation="area").data
    region, found = RunningRegion(), []
    for number, image in enumerate(small):
        if region.is_due((number + 1) / rate):
            region.add(image, number, number / rate)
        found.append(region.region)
    return found


def test_the_running_region_follows_what_moves_and_ends_with_it() -> None:
    first, then = (0.25, 0.2), (0.75, 0.8)
    found = running(torch.cat([scene(at=first), scene(at=then, seconds=20.0), scene(at=None, seconds=20.0)]))
    assert found[5] is None
    assert holds_figure(found[45], first)
    assert found[75] is None  # both places: a whole frame
    assert holds_figure(found[500], then)
    assert found[500] is not None
    assert found[500].area < 0.2
    assert found[-1] is None


def test_the_running_region_does_not_swing() -> None:
    assert len(set(running(scene(seconds=8.0))[75:])) == 1
