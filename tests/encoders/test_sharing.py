"""Several that extract the same clips into one cache."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from conftest import MakeVideo
from marey.data import Clip, content_hash
from marey.encoders import Contract, EncoderSpec, FeatureCache, FrameEncoder, Progress, Stream, View, extract
from marey.encoders.extract import _Extraction, _Job
from marey.encoders.timm_encoder import load_frame_encoder
from marey.errors import VideoError
from marey.video import Limits, Sampling
from waiting import PATIENCE, Clock, wait_until

T = 3
SPEC = EncoderSpec(name="test_efficientnet", weights="random")


@pytest.fixture(scope="module")
def clips(make_video: MakeVideo, tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("clips")
    return [
        Clip(make_video(folder / f"{number}.mp4", seconds=0.4 + 0.2 * number, size=(64, 80))) for number in range(6)
    ]


@pytest.fixture(params=[1, 2], ids=["one core", "two cores"])
def cores(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def contract(encoder: FrameEncoder) -> Contract:
    return encoder.contract(sampling=Sampling(count=T), streams={"frame": Stream(kind="appearance")}, fit="stretch")


def key_of(clip: Clip, how: Contract) -> str:
    return FeatureCache("unused").key(clip, how, "frame", content=content_hash(clip.path), view=View(), order="given")


def test_two_that_extract_one_data_set_into_one_cache_encode_each_clip_once(
    clips: list[Clip], tmp_path: Path, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders = [load_frame_encoder(SPEC) for _ in range(2)]
    both = threading.Barrier(2)
    encode = FrameEncoder.encode_clips

    def encode_beside_the_other(self: FrameEncoder, clips: torch.Tensor) -> torch.Tensor:
        if self.images == 0:
            both.wait(PATIENCE)
        return encode(self, clips)

    if cores == 1:  # each has one clip in hand
        monkeypatch.setattr(FrameEncoder, "encode_clips", encode_beside_the_other)
    how = contract(encoders[0])
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda encoder: extract(clips, encoder, how, cache=FeatureCache(tmp_path)), encoders)
    if cores == 1:
        assert [encoder.images > 0 for encoder in encoders] == [True, True]  # both took part
    assert sum(encoder.images for encoder in encoders) == len(clips) * T
    for left, right in zip(first, second, strict=True):
        assert not isinstance(left, VideoError)
        assert not isinstance(right, VideoError)
        assert torch.equal(left["frame"], right["frame"])
    assert torch.get_num_threads() == cores


def test_a_clip_in_another_process_hands_is_left_to_it_and_taken_over_when_that_process_dies(
    clips: list[Clip], tmp_path: Path, cores: int
) -> None:
    encoder = load_frame_encoder(SPEC)
    how = contract(encoder)
    claim = FeatureCache(tmp_path).lock(key_of(clips[1], how))
    assert claim is not None
    claim.release()
    script = (  # as `FeatureCache.lock` does it
        "import sys, filelock; filelock.FileLock(sys.argv[1]).acquire(timeout=0)\n"
        "print('claimed', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, claim.lock_file]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:  # noqa: S603
        assert other.stdout is not None
        assert other.stdout.readline() == "claimed\n"

        def watch(progress: Progress) -> None:
            if progress.done == 1:
                wait_until(lambda: encoder.images >= 2 * T)  # it goes on with others
                other.kill()

        found = extract(clips, encoder, how, cache=FeatureCache(tmp_path), on_progress=watch)
    assert encoder.images == len(clips) * T
    assert not any(isinstance(result, VideoError) for result in found)


def test_a_process_that_holds_a_clip_for_ever_is_not_waited_for_for_ever(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock("marey.video.limits", patch=monkeypatch)  # decoding has all the time that it wants
    encoder = load_frame_encoder(SPEC)
    how, cache = contract(encoder), FeatureCache(tmp_path)
    held = cache.lock(key_of(clips[0], how))
    assert held is not None
    found = extract(clips[:2], encoder, how, cache=cache, limits=Limits(timeout=0.2))
    held.release()
    assert not any(isinstance(result, VideoError) for result in found)
    assert encoder.images == 2 * T


def test_a_clip_that_cannot_be_used_is_not_held(tmp_path: Path) -> None:
    encoder = load_frame_encoder(SPEC)
    how, cache = contract(encoder), FeatureCache(tmp_path / "cache")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    assert isinstance(extract([Clip(broken)], encoder, how, cache=cache)[0], VideoError)
    claim = cache.lock(key_of(Clip(broken), how))
    assert claim is not None
    claim.release()


def test_batches_filled_across_clips_give_each_clip_its_own_features(clips: list[Clip], tmp_path: Path) -> None:
    encoder = load_frame_encoder(SPEC)
    how = contract(encoder)
    alone = extract(clips, encoder, how, cache=FeatureCache(tmp_path / "alone"))
    together = _Extraction(encoder, how, FeatureCache(tmp_path / "together"), "given", Limits())
    missing = Clip(tmp_path / "missing.mp4")
    prepared = [together._prepare((clip, (View(),))) for clip in clips]
    jobs: list[_Job | VideoError] = [
        *prepared[:3],
        VideoError(missing.path, "missing", "it is not there"),
        *prepared[3:],
    ]
    found = list(together._filling_batches(iter(jobs)))
    assert [isinstance(job, VideoError) for job in found] == [False] * 3 + [True] + [False] * 3
    for result, job in zip(alone, (job for job in found if isinstance(job, _Job)), strict=True):
        assert not isinstance(result, VideoError)
        assert torch.allclose(job.found[View()]["frame"], result["frame"], atol=1e-5)
        assert job.lock is None
