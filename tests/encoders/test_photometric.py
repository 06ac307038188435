"""`photometric: auto`: dark video is read as bright video is, and what earlier versions stored stays valid."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import MakeVideo
from marey.data import Clip
from marey.encoders import (
    Contract,
    ContrastStretch,
    EncoderSpec,
    RunningStretch,
    Stream,
    View,
    luma,
    read_clip,
    read_clip_views,
    read_frames,
)
from marey.errors import RecipeError
from marey.synthetic import draw
from marey.training import load_recipe
from marey.video import Sampling, write_video

RATE = 25.0
DARK = 17.0  # of 255, the mean of a clip in the dark
CLOSE = 8.0  # of 255, the mean absolute difference of stream images in the dark and in the light
NOISE = 24  # of 255, changes that are left out: one level in the dark is seven in the light
KINDS = {kind: Stream(kind=kind) for kind in ("appearance", "chronophotograph", "difference", "triplet")}


def contract(**changes: Any) -> Contract:
    values: dict[str, Any] = {
        "sampling": Sampling(count=4),
        "streams": KINDS,
        "fit": "stretch",
        "encoder": EncoderSpec(),
        "encoder_hash": "0" * 32,
        "size": (60, 80),
        "interpolation": "bilinear",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "dim": 8,
    }
    return Contract(**{**values, **changes})


AUTO = contract(photometric="auto")


@cache
def light() -> Tensor:
    """Return a drawn clip without the noise of its camera, which rounding to a few levels would change."""
    frames = draw("handwaving", actor=3, duration=1.2)
    still = frames.median(0).values
    return torch.where((frames.int() - still.int()).abs() < NOISE, still, frames)


@cache
def dark() -> Tensor:
    return (light() * (DARK / light().float().mean())).round().to(torch.uint8)


def difference(left: Tensor, right: Tensor) -> float:
    return (left.float() - right.float()).abs().mean().item()


@pytest.mark.parametrize("kind", KINDS)
def test_the_images_of_a_dark_clip_are_close_to_those_in_the_light(kind: str) -> None:
    assert dark().float().mean() == pytest.approx(DARK, abs=0.5)
    wanted, found = (read_frames(clip, AUTO, frame_rate=RATE)[kind] for clip in (light(), dark()))
    plain = [read_frames(clip, contract(), frame_rate=RATE)[kind] for clip in (light(), dark())]
    assert difference(found, wanted) < CLOSE
    assert difference(found, wanted) < 0.3 * min(difference(plain[1], wanted), difference(*plain))


def test_a_file_is_read_as_its_frames_in_memory(tmp_path: Path) -> None:
    write_video(tmp_path / "dark.mp4", dark(), frame_rate=RATE, crf=0)
    wanted = read_frames(dark(), AUTO, frame_rate=RATE)
    found = read_clip(Clip(tmp_path / "dark.mp4"), AUTO)
    assert difference(found["appearance"], wanted["appearance"]) < CLOSE
    assert read_clip(Clip(tmp_path / "dark.mp4"), contract())["appearance"].float().mean() < 2 * DARK


def test_a_black_clip_stays_black_and_its_noise_dark() -> None:
    black = torch.zeros(40, 3, 60, 80, dtype=torch.uint8)
    assert read_frames(black, AUTO, frame_rate=RATE)["appearance"].max() == 0
    assert read_frames(black, AUTO, frame_rate=RATE)["chronophotograph"].max() == 0
    noisy = torch.randint(0, 2, black.shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert read_frames(noisy, AUTO, frame_rate=RATE)["appearance"].max() <= 16


@pytest.mark.parametrize("level", [0, 17, 128, 255])
def test_a_flat_clip_stays_as_it_is(level: int) -> None:
    flat = torch.full((40, 3, 60, 80), level, dtype=torch.uint8)
    assert read_frames(flat, AUTO, frame_rate=RATE)["appearance"].unique().tolist() == [level]


@pytest.mark.parametrize(
    ("low", "high", "ends"), [(10, 40, (0, 255)), (0, 4, (0, 64)), (251, 255, (191, 255)), (0, 255, (0, 255))]
)
def test_the_range_is_stretched_as_far_as_the_gain_allows(low: int, high: int, ends: tuple[int, int]) -> None:
    histogram = np.zeros(256)
    histogram[[low, high]] = 50
    stretch = ContrastStretch(histogram)
    assert (stretch.table[low], stretch.table[high]) == ends
    assert (np.diff(stretch.table.astype(int)) >= 0).all()


def test_the_images_of_a_stream_do_not_depend_on_those_beside_it(tmp_path: Path) -> None:
    dawn = light() * torch.linspace(0.05, 0.6, len(light()))[:, None, None, None]  # each stream sees another light
    write_video(tmp_path / "dawn.mp4", dawn.round().to(torch.uint8), frame_rate=RATE)
    clip = Clip(tmp_path / "dawn.mp4")
    how = AUTO.model_copy(update={"sampling": Sampling(count=1)})
    together = read_clip(clip, how)
    for kind in KINDS:
        assert torch.equal(read_clip(clip, how, streams=(kind,))[kind], together[kind])


def test_a_mirrored_view_is_the_mirror_image(tmp_path: Path) -> None:
    write_video(tmp_path / "dark.mp4", dark(), frame_rate=RATE)
    views = {View(): ("chronophotograph",), View(mirrored=True): ("chronophotograph",)}
    plain, mirrored = read_clip_views(Clip(tmp_path / "dark.mp4"), AUTO, views).values()
    assert torch.equal(mirrored["chronophotograph"], plain["chronophotograph"].flip(-1))


def test_key_frames_are_stretched_too(make_video: MakeVideo, tmp_path: Path) -> None:
    write_video(tmp_path / "dark.mp4", dark(), frame_rate=RATE)
    streams = {"frame": Stream(kind="appearance")}
    plain, auto = (
        read_clip(
            Clip(tmp_path / "dark.mp4"),
            contract(sampling=Sampling(count=4, frames="keyframes"), streams=streams, photometric=photometric),
        )["frame"]
        for photometric in ("none", "auto")
    )
    assert plain.float().mean() < 2 * DARK < 0.5 * auto.float().mean()


def test_where_nothing_is_stretched_the_contract_is_what_it_always_was() -> None:
    keys = "sampling testing streams fit encoder encoder_hash size interpolation mean std dim"
    assert list(contract().model_dump(mode="json")) == keys.split()
    assert Contract.model_validate_json(contract().model_dump_json()) == contract()
    assert Contract.model_validate_json(contract(photometric="none").model_dump_json()).photometric == "none"


def test_the_choice_survives_json_and_yaml(tmp_path: Path) -> None:
    assert Contract.model_validate_json(AUTO.model_dump_json()) == AUTO
    recipe = load_recipe("chronophotograph", changes=["photometric=auto"])
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    assert load_recipe(tmp_path / "again.yaml").photometric == recipe.photometric == "auto"
    assert load_recipe("auto").photometric == "none"


def test_an_unknown_value_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(RecipeError, match=r"'photometric': Input should be 'none' or 'auto' \(it is 'bright'\)"):
        load_recipe("auto", changes=["photometric=bright"])


def test_the_running_estimate_follows_a_lamp_within_seconds_and_a_flash_hardly() -> None:
    frame = dark()[0]
    running = RunningStretch()
    for index in range(100):
        running.add(luma(frame), index / RATE)
    settled = running.stretch
    flash = frame.clone()
    flash[:, :20] = 255  # a sixth of one frame
    running.add(luma(flash), 100 / RATE)
    assert difference(running.stretch(frame), settled(frame)) < CLOSE
    for index in range(101, 101 + 15 * round(RATE)):
        running.add(luma(light()[0]), index / RATE)
    alone = RunningStretch()
    alone.add(luma(light()[0]), 0.0)
    assert difference(running.stretch(light()[0]), alone.stretch(light()[0])) < CLOSE
