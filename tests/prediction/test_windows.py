from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marey.data import Clip
from marey.encoders import (
    Contract,
    Encoder,
    EncoderSpec,
    FeatureCache,
    Stream,
    feature_streams,
    load_encoder,
    read_clip,
    stream_kinds,
)
from marey.errors import UsageError, VideoError
from marey.models import ActionModel, HeadSpec, ModelConfig, new_classifier
from marey.prediction import Predictor, Segmentation
from marey.prediction.frame_sampler import FrameSampler
from marey.prediction.windows import plan_grid
from marey.video import Sampling, decode, play

RATE = 25.0
MakeModel = Callable[..., tuple[Predictor, Encoder]]
RAW = Segmentation(smooth=0.0)


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Return a function that makes an untrained model whose predictions differ from clip to clip."""

    def make(
        head: str = "gru",
        *,
        streams: dict[str, Stream] | None = None,
        sampling: Sampling = Sampling(count=8),  # noqa: B008 - frozen
        encoder: str = "mobilenetv3_small_050",
        options: dict[str, Any] | None = None,
    ) -> tuple[Predictor, Encoder]:
        spec = EncoderSpec(name=encoder, weights="random" if "pixels" not in encoder else "pretrained", size=32)
        network = load_encoder(spec, frames=sampling.count)
        kinds = streams or {"appearance": Stream(kind="appearance")}
        contract = network.contract(sampling=sampling, streams=kinds, fit="stretch")
        head_spec = HeadSpec(name=head, options=options or {})
        with torch.random.fork_rng():
            torch.manual_seed(0)
            classifier = new_classifier(contract, head_spec, 3)
            for parameter in classifier.parameters():
                parameter.data += torch.randn_like(parameter) * 0.3
        config = ModelConfig(contract=contract, head=head_spec, labels=("a", "b", "c"))
        model = ActionModel(config, classifier.eval())
        return Predictor(model, encoder=network, cache=FeatureCache(tmp_path / "cache")), network

    return make


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, make_video: Any) -> Path:
    path: Path = make_video(tmp_path_factory.mktemp("long") / "long.mp4", seconds=5.0, frame_rate=RATE)
    return path


def test_a_window_is_predicted_as_its_span_read_as_a_clip(make_model: MakeModel, video: Path) -> None:
    predictor, _ = make_model("pyramid")
    predictions = list(predictor.stream(video, segmentation=Segmentation(window=1.6, smooth=0.0)))
    assert len(predictions) == 25 - 7
    for place in (0, 7, 17):
        start = place * 0.2
        (clip,) = predictor.probabilities([Clip(video, start=start, end=start + 1.6)])
        predicted = dict(zip(predictions[place].labels, predictions[place].probabilities, strict=True))
        assert [predicted[label] for label in predictor.labels] == pytest.approx(clip, abs=1e-5)


def test_a_window_of_sixteen_frames_that_slides_by_one_frame_has_each_frame_encoded_once(
    make_model: MakeModel, video: Path
) -> None:
    predictor, encoder = make_model("pyramid", sampling=Sampling(kind="dense", count=16, rate=RATE))
    before = encoder.images
    timeline = predictor.timeline(video)
    assert len(timeline.times) == 125
    assert encoder.images - before == timeline.images == 125
    predictions = list(predictor.stream(video))
    assert len(predictions) == 125 - 15
    assert encoder.images - before == 2 * 125


def test_a_stride_finer_than_the_spacing_of_a_window_shares_frames_too(make_model: MakeModel, video: Path) -> None:
    predictor, encoder = make_model("pyramid")
    before = encoder.images
    rule = Segmentation(window=1.6, stride=0.04, smooth=0.0)
    predictions = list(predictor.stream(video, segmentation=rule))
    assert encoder.images - before == 125
    (clip,) = predictor.probabilities([Clip(video, start=11 * 0.04 - 0.08, end=11 * 0.04 + 1.52)])
    predicted = dict(zip(predictions[11].labels, predictions[11].probabilities, strict=True))
    assert [predicted[label] for label in predictor.labels] == pytest.approx(clip, abs=1e-5)


def test_timestamps_with_the_same_frames_are_not_encoded_again(
    make_model: MakeModel, make_video: Any, tmp_path: Path
) -> None:
    slow = make_video(tmp_path / "slow.mp4", seconds=4.0, frame_rate=5.0)
    predictor, encoder = make_model("pyramid")
    before = encoder.images
    timeline = predictor.timeline(slow, segmentation=Segmentation(window=0.4))
    assert len(timeline.times) == 80
    assert encoder.images - before == 20


def test_streams_that_compare_frames_read_beyond_the_window(make_model: MakeModel, video: Path) -> None:
    difference = Stream(kind="difference", span=0.4)
    predictor, encoder = make_model("pyramid", streams={"difference": difference})
    (prediction, *_) = predictor.stream(video, segmentation=Segmentation(window=1.6, smooth=0.0))
    timestamps = (np.arange(8) + 0.5) * 0.2
    before, after = (decode(video, np.clip(timestamps + by, 0, None), size=(32, 32)).data for by in (-0.2, 0.2))
    images = difference.combine(torch.stack([before, after], dim=1))
    expected = predictor.of_features({"difference": encoder.encode_clips(images[None])[0]})
    predicted = dict(zip(prediction.labels, prediction.probabilities, strict=True))
    assert [predicted[label] for label in predictor.labels] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("period", [0.2, 0.15])
def test_windows_and_clips_of_all_kinds_of_streams_are_made_of_the_same_images(video: Path, period: float) -> None:
    streams = {kind: Stream(kind=kind) for kind in stream_kinds()}
    kinds = {kind: stream for kind, stream in streams.items() if kind not in feature_streams(streams)}
    encoder = load_encoder(EncoderSpec(name="pixels", size=32))
    count = int(5.0 / period)
    contract = encoder.contract(sampling=Sampling(count=count), streams=kinds, fit="stretch")
    read = read_clip(Clip(video, start=0.0, end=count * period), contract)
    inner = range(4, count - 4)  # at its ends a clip sees less than a window
    with play(video) as playback:
        samples = [sample for _, found in FrameSampler(playback, contract, period) for sample in found]
    assert [sample.index for sample in samples] == list(range(len(samples)))
    for kind in kinds:
        for place in inner:
            assert torch.equal(samples[place].images[kind], read[kind][place])


def test_a_source_holds_each_gray_frame_of_overlapping_spans_once(video: Path) -> None:
    encoder = load_encoder(EncoderSpec(name="pixels", size=32))
    streams = {"history": Stream(kind="chronophotograph", span=1.0)}
    contract = encoder.contract(sampling=Sampling(count=8), streams=streams, fit="stretch")
    with play(video) as playback:
        sampler = FrameSampler(playback, contract, 0.05)
        held = [len(sampler._moments) for _ in sampler]
    assert max(held) <= 2 * 32 + 4  # grid points of a span before and one after
    assert sampler._uses.total() <= 33 * 33


@pytest.mark.parametrize("head", ["gru", "lrcn", "frame-average"])
def test_a_stream_with_a_causal_head_and_the_file_read_offline_agree(
    make_model: MakeModel, video: Path, head: str
) -> None:
    predictor, encoder = make_model(head)
    before = encoder.images
    live = list(predictor.stream(video, segmentation=Segmentation(window=1.6, smooth=0.0)))
    assert encoder.images - before == len(live) == 25
    offline = predictor.timeline(video, segmentation=Segmentation(window=1.6, smooth=0.0), inference="recurrent")
    assert offline.times == pytest.approx([prediction.time for prediction in live])
    for prediction, row in zip(live, offline.probabilities, strict=True):
        predicted = dict(zip(prediction.labels, prediction.probabilities, strict=True))
        assert [predicted[label] for label in predictor.labels] == pytest.approx(row.tolist(), abs=1e-4)
    if head == "gru":  # the whole video at once, as a clip of 25 timestamps
        contract = predictor.model.config.contract.model_copy(update={"sampling": Sampling(count=25)})
        images = read_clip(Clip(video, start=0.0, end=5.0), contract)["appearance"]
        whole = predictor.of_features({"appearance": encoder.encode_clips(images[None])[0]})
        assert whole == pytest.approx(offline.probabilities[-1].tolist(), abs=1e-4)


def test_an_end_to_end_network_steps_too_and_reads_windows_a_quarter_apart(make_model: MakeModel, video: Path) -> None:
    predictor, _ = make_model("lrcn-small", encoder="pixels", options={"width": 4, "hidden": 8})
    carried = list(predictor.stream(video, segmentation=Segmentation(window=1.6)))
    windows = list(predictor.stream(video, segmentation=Segmentation(window=1.6), inference="window"))
    assert len(carried) == 25
    assert [prediction.time for prediction in windows] == pytest.approx([1.5 + 0.4 * place for place in range(9)])


def test_a_head_without_a_state_cannot_be_recurrent(make_model: MakeModel, video: Path) -> None:
    predictor, _ = make_model("pyramid")
    with pytest.raises(UsageError, match=r"inference='recurrent': the head 'pyramid'"):
        next(predictor.stream(video, inference="recurrent"))


def test_a_video_shorter_than_a_window_is_predicted_as_a_clip(make_model: MakeModel, video: Path) -> None:
    predictor, _ = make_model("pyramid")
    timeline = predictor.timeline(video, segmentation=Segmentation(window=60.0))
    (clip,) = predictor.predict(video)
    assert timeline.window == timeline.duration == pytest.approx(5.0)
    label, confidence = timeline.at(2.0)[0]
    assert label == clip.label
    assert confidence == pytest.approx(clip.confidence, abs=1e-6)


def test_dense_sampling_has_its_own_window(make_model: MakeModel, video: Path) -> None:
    predictor, _ = make_model("pyramid", sampling=Sampling(kind="dense", count=8, rate=10.0))
    assert predictor.timeline(video).window == pytest.approx(0.8)
    with pytest.raises(UsageError, match=r"window=2: this model samples 10 frames a second"):
        predictor.timeline(video, segmentation=Segmentation(window=2.0))


def test_the_default_window_is_as_long_as_the_training_clips_and_at_most_two_seconds(make_model: MakeModel) -> None:
    contract = make_model()[0].model.config.contract
    lengths = {typical: plan_grid(contract, window=None, typical=typical, stride=None, whole=False).window
               for typical in (None, 0.8, 7.0)}  # fmt: skip
    assert lengths == pytest.approx({None: 2.0, 0.8: 0.8, 7.0: 2.0})
    assert plan_grid(contract, window=7.0, typical=0.8, stride=None, whole=False).window == pytest.approx(7.0)


def test_the_timeline_reports_progress_and_covers_the_video(make_model: MakeModel, video: Path) -> None:
    predictor, _ = make_model("pyramid")
    reported: list[float] = []
    timeline = predictor.timeline(video, on_progress=reported.append)
    assert reported == sorted(reported)
    assert reported[-1] == 1.0
    assert timeline.duration == pytest.approx(5.0)
    assert timeline.probabilities.sum(1) == pytest.approx(1.0, abs=1e-5)
    assert 0 < timeline.times[0] < timeline.times[-1] < 5.0


def test_a_file_that_cannot_be_used_raises_its_reason(make_model: MakeModel, tmp_path: Path) -> None:
    predictor, _ = make_model("pyramid")
    fake = tmp_path / "fake.mp4"
    fake.write_text("no video at all")
    with pytest.raises(VideoError, match="not_video"):
        predictor.timeline(fake)
    with pytest.raises(VideoError, match="not_video"):
        next(predictor.stream(fake))


@pytest.mark.parametrize("cut", [False, True])
def test_the_frames_of_a_file_are_encoded_together_and_handed_out_as_those_of_a_live_source_one_by_one(
    make_model: MakeModel, make_video: Any, tmp_path: Path, cut: bool
) -> None:
    path = make_video(tmp_path / "video.mkv", seconds=3.0, frame_rate=RATE)
    if cut:
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    predictor, _ = make_model("pyramid", sampling=Sampling(kind="dense", count=8, rate=RATE))

    def watch(*, live: bool) -> list[str]:
        seen: list[str] = []
        with play(path) as playback, pytest.raises(VideoError) if cut else nullcontext():
            playback.live = live
            for frame, predictions in predictor.stream_frames(playback, segmentation=RAW):
                seen += [f"prediction at {prediction.time}" for prediction in predictions]
                seen.append(f"frame {frame.number}")
        return seen

    together = watch(live=False)
    assert together == watch(live=True)
    frames = sum(one.startswith("frame") for one in together)
    assert 30 < frames < 75 if cut else frames == 75


def test_a_stream_hands_its_frames_to_the_older_on_frame_with_the_latest_prediction(
    make_model: MakeModel, video: Path
) -> None:
    predictor, _ = make_model("gru")
    seen: list[float | None] = []
    with pytest.warns(DeprecationWarning, match="stream_frames"):
        predictions = list(
            predictor.stream(video, on_frame=lambda frame, latest: seen.append(latest.time if latest else None))
        )
    assert len(seen) == 125
    assert [time for time in dict.fromkeys(seen) if time is not None] == [prediction.time for prediction in predictions]
    frames = list(predictor.stream_frames(video))
    assert len(frames) == 125
    assert [one.probabilities for _, new in frames for one in new] == [one.probabilities for one in predictions]


def test_the_older_memory_means_inference(make_model: MakeModel, video: Path) -> None:
    predictor, _ = make_model("gru")
    with pytest.warns(DeprecationWarning, match="inference"):
        older = predictor.timeline(video, memory="carried")
    assert np.array_equal(older.probabilities, predictor.timeline(video, inference="recurrent").probabilities)
    with (
        pytest.warns(DeprecationWarning, match="inference"),
        pytest.raises(UsageError, match="none of auto, carried, window"),
    ):
        predictor.timeline(video, memory="ring")


def test_a_model_on_key_frames_has_no_windows() -> None:
    contract = Contract(
        sampling=Sampling(frames="keyframes"),
        streams={"frame": Stream(kind="appearance")},
        fit="stretch",
        encoder=EncoderSpec(),
        encoder_hash="0" * 32,
        size=(32, 32),
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        dim=8,
    )
    with pytest.raises(UsageError, match=r"label whole clips with it, or train with sampling.frames=exact"):
        plan_grid(contract, window=None, typical=None, stride=None, whole=False)
