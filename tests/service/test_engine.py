from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from marey.errors import UnknownNameError, UsageError, VideoError
from marey.prediction import Predictor
from marey.service import Layout, Settings, batching, default_layout
from marey.service.batching import Engine, _Ticket
from marey.service.metrics import Metrics
from marey.service.models import ServedModel, find_models, load_models
from marey.video import Limits, probe
from waiting import PATIENCE, wait_until

pytest_plugins = ["service_fixtures"]

ONE = Layout(decoders=1, encoders=1, threads=1, batch=4, batch_wait=0.0)


@pytest.fixture(scope="module")
def model(small_run: Path) -> ServedModel:
    return load_models(find_models([small_run]), device="cpu")["small"]


def start(layout: Layout = ONE, **options: Any) -> Engine:
    return Engine(layout, limits=Limits(), metrics=Metrics(), **{"max_duration": 60.0, **options})


def test_closing_finishes_what_was_submitted(model: ServedModel, small_set: Path, small_run: Path) -> None:
    clips = sorted(small_set.rglob("*.mp4"))
    started = start(Layout(decoders=2, encoders=2, threads=1, batch=3, batch_wait=0.001))
    futures = [started.submit(model, clip) for clip in clips]
    started.close()
    assert all(future.done() for future in futures)
    wanted = Predictor(small_run).predict(clips)
    for future, each in zip(futures, wanted, strict=True):
        found = dict(zip(model.predictor.labels, future.result().probabilities, strict=True))
        assert found == pytest.approx(dict(zip(each.labels, each.probabilities, strict=True)), abs=1e-5)
    with pytest.raises(RuntimeError, match="closed"):
        started.submit(model, clips[0])


class Watched:
    """An encoder that can be held, refuses one clip, and notes how many it is given at a time."""

    def __init__(self, model: ServedModel) -> None:
        self._encoder = model.encoder
        self.free = threading.Event()
        self.free.set()
        self.refused: torch.Tensor | None = None
        self.batches: list[int] = []

    def encode_clips(self, clips: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(clips) // 2)  # of two streams each
        assert self.free.wait(PATIENCE)
        if self.refused is not None and any(torch.equal(self.refused, each) for each in clips):
            raise RuntimeError("out of memory")
        return self._encoder.encode_clips(clips)


def watched(model: ServedModel) -> tuple[ServedModel, Watched]:
    encoder = Watched(model)
    return ServedModel("small", model.predictor, encoder), encoder  # type: ignore[arg-type]


def test_a_clip_that_nobody_waits_for_is_not_begun(
    model: ServedModel, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []

    def look(path: Path, **options: Any) -> Any:
        looked.append(path)
        return probe(path, **options)

    monkeypatch.setattr(batching, "probe", look)
    started = start()
    with started._changed:
        unwanted = [started.submit(model, clip) for _ in range(5)]
        wanted = started.submit(model, clip)
        for future in unwanted:
            future.cancel()
    wanted.result(PATIENCE)
    started.close()
    assert len(looked) == 1


def test_what_waits_goes_together_and_no_more_is_decoded_ahead_than_stated(
    model: ServedModel, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, encoder = watched(model)
    encoder.free.clear()
    started = start(replace(ONE, batch=3))
    ahead: list[int] = []

    def look(path: Path, **options: Any) -> Any:
        ahead.append(started.decoded + started._decoding)
        return probe(path, **options)

    monkeypatch.setattr(batching, "probe", look)
    futures = [started.submit(slow, clip)]
    wait_until(lambda: encoder.batches == [1])  # nothing else was there to go with it
    futures += [started.submit(slow, clip) for _ in range(19)]
    wait_until(lambda: started.decoded == 4)  # a batch, and one for the decoder
    assert started.waiting == 15
    encoder.free.set()
    started.close()
    assert all(future.done() for future in futures)
    assert (len(ahead), max(ahead)) == (20, 4)
    assert max(encoder.batches) == 3


def test_what_cannot_be_encoded_harms_no_other_of_its_batch(model: ServedModel, small_set: Path) -> None:
    fragile, encoder = watched(model)
    clips = sorted(small_set.rglob("*.mp4"))[:4]
    started = start(replace(ONE, batch_wait=PATIENCE))
    encoder.refused = next(iter(started._decode(_Ticket(fragile, clips[1], Future())).pop().parts.values()))
    with started._changed:
        futures = [started.submit(fragile, clip) for clip in clips]
    found = [future.exception(PATIENCE) for future in futures]
    started.close()
    assert [type(error) for error in found] == [type(None), RuntimeError, type(None), type(None)]
    assert encoder.batches == [4, 1, 1, 1, 1]


def test_an_encoder_that_lingers_waits_for_clips_that_are_not_begun_yet(
    model: ServedModel, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, encoder = watched(model)
    take = Engine._next_ticket

    def take_late(self: Engine) -> _Ticket | None:
        time.sleep(0.05)  # between two clips nothing is being decoded
        return take(self)

    monkeypatch.setattr(Engine, "_next_ticket", take_late)
    started = start(replace(ONE, batch_wait=PATIENCE))
    with started._changed:
        futures = [started.submit(slow, clip) for _ in range(4)]
    for future in futures:
        future.result(PATIENCE)
    started.close()
    assert encoder.batches == [4]


def test_clips_of_models_that_differ_are_not_encoded_together(model: ServedModel, clip: Path) -> None:
    (first, encoder), (second, other) = watched(model), watched(model)
    started = start(replace(ONE, batch_wait=PATIENCE))
    with started._changed:
        futures = [started.submit(each, clip) for each in (first, first, second, first)]
    answers = [future.result(PATIENCE) for future in futures]
    started.close()
    first_answer = answers[0].probabilities
    assert all(answer.probabilities == pytest.approx(first_answer, abs=1e-6) for answer in answers)
    assert (encoder.batches, other.batches) == ([2, 1], [1])


def test_a_video_that_is_too_long_is_refused_before_it_is_decoded(model: ServedModel, clip: Path) -> None:
    started = start(max_duration=0.5)
    with pytest.raises(VideoError, match=r"lasts 1 s, and 0\.5 are predicted at once"):
        started.submit(model, clip).result(PATIENCE)
    started.close()


def test_models_with_the_same_encoder_share_it(small_run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").symlink_to(small_run / "model")
    # resolve() would follow the links to one model of one name
    loaded = load_models({name: tmp_path / name for name in ("a", "b")}, device="cpu")
    assert loaded["a"].encoder is loaded["b"].encoder


def test_what_a_stop_finds_accepted_is_answered(
    serve: Any, tmp_path: Path, predict: Any, gate: threading.Event
) -> None:
    def open_once_it_stops(running: Any, gate: threading.Event) -> None:
        wait_until(lambda: running.service.status == "stopping")
        gate.set()

    with ThreadPoolExecutor(7) as pool:
        with serve(tmp_path) as running:
            asked = [pool.submit(predict, running.url) for _ in range(6)]
            wait_until(lambda: running.service._engine.waiting == 4)  # two of the six are with the decoders
            opening = pool.submit(open_once_it_stops, running, gate)
        replies: list[httpx.Response] = [each.result() for each in asked]
        opening.result()
    assert [reply.status_code for reply in replies] == [200] * 6


def test_limits_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="max_upload has to be more than 0, not 0"):
        Settings(max_upload=0)
    with pytest.raises(UsageError, match="the token is empty"):
        Settings(token=" ")  # noqa: S106
    with pytest.raises(UnknownNameError, match="no choice of urls is called 'all'"):
        Settings(urls="all")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="encoders=0"):
        replace(ONE, encoders=0)
    with pytest.raises(UnknownNameError, match="no share is called 'picture'"):
        replace(ONE, share="picture")  # type: ignore[arg-type]
    assert default_layout("cpu").threads == 1
    assert default_layout("cuda").encoders == 1
