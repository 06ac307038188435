"""`photometric: auto` in windows and live: from the frames seen so far, and as in clips where the light is constant."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from marey.data import Clip
from marey.encoders import Contract, EncoderSpec, Stream, load_encoder, read_clip
from marey.prediction.frame_sampler import FrameSampler, Sample
from marey.synthetic import draw
from marey.video import Sampling, play, write_video

RATE = 25.0
PERIOD = 0.2
KINDS = {kind: Stream(kind=kind) for kind in ("appearance", "chronophotograph", "difference", "triplet")}


def contract(photometric: Literal["none", "auto"], count: int = 10) -> Contract:
    encoder = load_encoder(EncoderSpec(name="pixels", size=(60, 80)))
    return encoder.contract(sampling=Sampling(count=count), streams=KINDS, fit="stretch", photometric=photometric)


def sample(video: Path, how: Contract) -> list[Sample]:
    with play(video) as playback:
        return [each for _, found in FrameSampler(playback, how, PERIOD) for each in found]


def standing(levels: list[float], *, seconds: float = 1.0) -> Tensor:
    """Return frames of a scene in which nothing moves; each level of light lasts as long."""
    frame = draw("standing", actor=2, duration=1 / RATE)[0].float()
    return torch.stack(
        [(frame * level).round().to(torch.uint8) for level in levels for _ in range(int(seconds * RATE))]
    )


def write(path: Path, frames: Tensor) -> Path:
    write_video(path, frames, frame_rate=RATE, crf=0)  # lossless: equal frames are decoded as equal frames
    return path


def test_windows_and_clips_agree_where_the_light_is_constant(tmp_path: Path) -> None:
    video = write(tmp_path / "dark.mp4", standing([0.13, 0.13]))
    read = read_clip(Clip(video), contract("auto"))
    samples = sample(video, contract("auto"))
    assert len(samples) == 10
    assert read["appearance"].float().mean() > 2 * read_clip(Clip(video), contract("none"))["appearance"].float().mean()
    for kind in KINDS:
        for place in range(10):
            assert torch.equal(samples[place].images[kind], read[kind][place])


def test_what_has_not_been_seen_yet_changes_nothing(tmp_path: Path) -> None:
    seen, other = (
        sample(write(tmp_path / f"{level}.mp4", standing([0.13, level])), contract("auto")) for level in (0.13, 0.9)
    )
    for place in range(3):  # the chronophotograph of the third looks ahead to 0.75 s
        for kind in KINDS:
            assert torch.equal(seen[place].images[kind], other[place].images[kind])


def test_an_estimate_that_moves_is_not_taken_for_movement(tmp_path: Path) -> None:
    samples = sample(write(tmp_path / "lamp.mp4", standing([0.13, 0.4, 0.4])), contract("auto"))
    after = [each for each in samples if each.time > 1.4]
    assert not torch.equal(after[0].images["appearance"], after[-1].images["appearance"])  # it still adapts
    assert all((each.images["difference"] == 127).all() for each in after)
    assert all((each.images["chronophotograph"] == 0).all() for each in after)


@pytest.mark.parametrize("photometric", ["none", "auto"])
def test_timestamps_with_the_same_frames_have_the_same_image(
    tmp_path: Path, photometric: Literal["none", "auto"]
) -> None:
    frames = standing([0.1, 0.3, 0.5, 0.7], seconds=1 / RATE)
    write_video(tmp_path / "slow.mp4", frames, frame_rate=2.0, crf=0)
    seen: dict[tuple[int, ...], Tensor] = {}
    for each in sample(tmp_path / "slow.mp4", contract(photometric)):
        image = each.images["triplet"]
        assert torch.equal(seen.setdefault(each.seen["triplet"], image), image)
    assert len(seen) > 3
