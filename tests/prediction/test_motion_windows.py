"""`fit: motion` in windows and live: one region for all frames of a sample, which follows what moves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from marey.data import Clip
from marey.encoders import ClipFit, Contract, EncoderSpec, Photometric, Stream, load_encoder, read_clip
from marey.prediction.frame_sampler import FrameSampler, Sample
from marey.video import Sampling, play, write_video
from moving_figure import RATE, scene

PERIOD = 0.2
KINDS = {kind: Stream(kind=kind) for kind in ("appearance", "chronophotograph", "difference", "triplet")}
FIGURE = 245  # of 255: brighter than the scene


def contract(fit: ClipFit = "motion", *, count: int = 10, photometric: Photometric = "none") -> Contract:
    encoder = load_encoder(EncoderSpec(name="pixels", size=(64, 64)))
    return encoder.contract(sampling=Sampling(count=count), streams=KINDS, fit=fit, photometric=photometric)


def sample(video: Path, how: Contract) -> list[Sample]:
    with play(video) as playback:
        return [each for _, found in FrameSampler(playback, how, PERIOD) for each in found]


def write(path: Path, frames: Tensor) -> Path:
    write_video(path, frames, frame_rate=RATE, crf=0)  # lossless: equal frames are decoded as equal frames
    return path


def size_of_figure(image: Tensor) -> float:
    return (image > FIGURE).all(0).float().mean().item()


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("windows") / "moving.mp4", scene(seconds=3.0))


@pytest.mark.parametrize("photometric", ["none", "auto"])
def test_windows_and_clips_agree_where_nothing_moves(tmp_path: Path, photometric: Photometric) -> None:
    video = write(tmp_path / "still.mp4", scene(until=0.0))
    how = contract(photometric=photometric)
    read, samples = read_clip(Clip(video), how), sample(video, how)
    assert len(samples) == 10
    for kind in KINDS:
        for place in range(10):
            assert torch.equal(samples[place].images[kind], read[kind][place])


def test_the_whole_frame_is_read_until_the_movement_is_known(moving: Path) -> None:
    samples, whole = sample(moving, contract()), sample(moving, contract("stretch"))
    assert torch.equal(samples[0].images["appearance"], whole[0].images["appearance"])
    for after, before in zip(samples[4:], whole[4:], strict=True):
        assert size_of_figure(after.images["appearance"]) > 3 * size_of_figure(before.images["appearance"]) > 0


def test_windows_come_to_the_region_of_the_clip(moving: Path) -> None:
    read = read_clip(Clip(moving), contract(count=15))
    late = sample(moving, contract())[12]
    share = size_of_figure(read["appearance"][12])
    assert size_of_figure(late.images["appearance"]) == pytest.approx(share, rel=0.3)


def test_a_region_that_changes_is_not_taken_for_movement(tmp_path: Path) -> None:
    frames = torch.cat([scene(at=(0.25, 0.25), until=1.0), scene(at=(0.25, 0.25), until=0.0, seconds=14.0)])
    samples = sample(write(tmp_path / "stops.mp4", frames), contract())
    after = [each for each in samples if each.time > 2.5]
    assert not torch.equal(after[0].images["appearance"], after[-1].images["appearance"])  # the whole frame again
    assert all((each.images["difference"] == 127).all() for each in after)
    assert all((each.images["chronophotograph"] == 0).all() for each in after)


def test_what_has_not_been_seen_yet_changes_nothing(tmp_path: Path) -> None:
    first = scene(at=(0.25, 0.25))
    seen, other = (
        sample(write(tmp_path / f"{name}.mp4", torch.cat([first, then])), contract())
        for name, then in (("same", first), ("other", scene(at=(0.75, 0.75))))
    )
    for place in range(8):  # the chronophotograph of the eighth looks ahead to 1.75 s
        for kind in KINDS:
            assert torch.equal(seen[place].images[kind], other[place].images[kind])


def test_streams_beside_it_do_not_change_an_image(moving: Path) -> None:
    encoder = load_encoder(EncoderSpec(name="pixels", size=(64, 64)))
    alone = encoder.contract(sampling=Sampling(count=10), streams={"seen": KINDS["appearance"]}, fit="motion")
    late, expected = sample(moving, alone)[-1], sample(moving, contract())[-1]
    assert torch.equal(late.images["seen"], expected.images["appearance"])


def test_memory_does_not_grow_with_the_source(tmp_path: Path) -> None:
    held = []
    for seconds in (3.0, 12.0):
        video = write(tmp_path / f"{seconds}.mp4", scene(seconds=seconds))
        with play(video) as playback:
            sampler = FrameSampler(playback, contract(), PERIOD)
            held.append(max(len(sampler._moments) for _ in sampler))
    assert held[1] <= held[0] + 2  # of about a hundred: the grid of the samples and that of the frames drift


@pytest.mark.parametrize("fit", ["stretch", "motion"])
def test_timestamps_with_the_same_frames_have_the_same_image(tmp_path: Path, fit: ClipFit) -> None:
    write_video(tmp_path / "slow.mp4", scene(seconds=0.4), frame_rate=2.0, crf=0)
    seen: dict[tuple[int, ...], Tensor] = {}
    for each in sample(tmp_path / "slow.mp4", contract(fit)):
        image = each.images["triplet"]
        assert torch.equal(seen.setdefault(each.seen["triplet"], image), image)
    assert len(seen) > 3
