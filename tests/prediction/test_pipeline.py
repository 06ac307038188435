from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import marey
from conftest import MakeVideo
from marey import commands
from marey.data import Clip
from marey.encoders import EncoderSpec, FeatureCache, MultiView, RawFrames, Stream, View, read_clip
from marey.errors import DatasetError, RecipeError, UnknownNameError, UsageError
from marey.prediction import ClipPipeline, Predictor, find_clips, mean_of_views, sort_by_probability
from marey.training import load_recipe
from marey.video import Sampling, decode

SMALL = ["encoder.size=32", "sampling.count=3", "training.epochs=2", "training.batch_size=8"]


@pytest.fixture(scope="module")
def pipeline(small_run: Path) -> ClipPipeline:
    return Predictor(small_run).pipeline


def test_the_steps_of_the_pipeline_give_what_predict_gives(
    pipeline: ClipPipeline, small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    paths = sorted(small_set.rglob("*.mp4"))[:3]
    predictor = Predictor(small_run, cache=FeatureCache(tmp_path))
    expected = predictor.probabilities([Clip(path) for path in paths])
    parts = [pipeline.decode(Clip(path)) for path in paths]
    assert {frames.shape for each in parts for frames in each.values()} == {(4, 3, 64, 64)}
    together = [mean_of_views(pipeline.classify(features)) for features in pipeline.encode(parts)]
    for path, found, probabilities in zip(paths, together, expected, strict=True):
        assert found == pytest.approx(probabilities, abs=1e-5)
        assert pipeline(Clip(path)) == pytest.approx(probabilities, abs=1e-5)


def test_the_pipeline_encodes_parts_of_clips_as_one_batch(pipeline: ClipPipeline, small_set: Path) -> None:
    parts = pipeline.decode(Clip(min(small_set.rglob("*.mp4"))))
    (whole,) = pipeline.encode([parts])
    halves = pipeline.encode([{part: frames} for part, frames in parts.items()])
    assert [list(half) for half in halves] == [[part] for part in parts]
    for half in halves:
        for part, features in half.items():
            torch.testing.assert_close(features, whole[part])


def test_features_are_classified_by_part_and_by_view_alike(pipeline: ClipPipeline, small_set: Path) -> None:
    (features,) = pipeline.encode([pipeline.decode(Clip(min(small_set.rglob("*.mp4"))))])
    of_view = {stream: values for (_, stream), values in features.items()}
    without_encoder = ClipPipeline(pipeline.model)
    assert pipeline.classify(features) == without_encoder.classify([of_view])


def test_the_pipeline_needs_the_rate_of_frames_in_memory(pipeline: ClipPipeline) -> None:
    with pytest.raises(UsageError, match=r"frame_rate=25\.0"):
        pipeline.decode(np.zeros((4, 8, 8, 3), np.uint8))


def test_one_view_is_the_plain_one() -> None:
    assert MultiView().views == (View(),)


def test_three_crops_of_two_clips_are_six_views() -> None:
    views = MultiView(clips=2, crops=3).views
    assert len(set(views)) == 6
    assert {view.anchor for view in views} == {"first", "middle", "last"}
    assert {view.part for view in views} == {(0, 2), (1, 2)}


def test_an_anchored_crop_reads_one_end_of_the_image(make_video, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = make_video(tmp_path / "wide.mp4", size=(60, 160))
    whole = decode(path, [0.0], size=(60, 160)).data
    for anchor, left in (("first", 0), ("middle", 50), ("last", 100)):
        part = decode(path, [0.0], size=(60, 60), fit="crop", anchor=anchor).data  # type: ignore[arg-type]
        assert (part.int() - whole[..., left : left + 60].int()).abs().float().mean() < 2
    with pytest.raises(UnknownNameError, match="choose one of: first, last, middle"):
        decode(path, [0.0], size=(60, 60), fit="crop", anchor="centre")  # type: ignore[arg-type]


def test_a_clip_is_read_at_the_part_and_the_anchor_of_its_view(make_video, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = make_video(tmp_path / "wide.mp4", seconds=2.0, size=(60, 160))
    encoder = RawFrames(EncoderSpec(name="pixels", size=60))
    contract = encoder.contract(
        sampling=Sampling(count=2),
        streams={"seen": Stream(kind="appearance")},
        fit="crop",
        testing=MultiView(clips=2, crops=3),
    )
    late_right = read_clip(Clip(path), contract, view=View(part=(1, 2), anchor="last"))["seen"]
    timestamps = contract.sampling.timestamps(0.0, 2.0, part=(1, 2))
    expected = decode(path, timestamps, size=(60, 60), fit="crop", anchor="last", interpolation="area").data
    assert torch.equal(late_right, expected)


def test_testing_crops_need_fit_crop() -> None:
    with pytest.raises(RecipeError, match="needs fit: crop"):
        load_recipe("default-0.1", changes=["testing.crops=3"])


def test_mean_of_views_is_the_mean_of_their_probabilities() -> None:
    assert mean_of_views([(0.2, 0.8), (0.6, 0.4)]) == pytest.approx((0.4, 0.6))
    assert mean_of_views([(0.25, 0.75)]) == (0.25, 0.75)


def test_evaluation_and_prediction_average_the_same_views(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    changes = [*SMALL, "fit=crop", "testing.clips=2", "testing.crops=3"]
    commands.train(str(small_set), recipe="lrcn-small", out=tmp_path / "run", set=changes)
    with (tmp_path / "run" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    model = marey.Predictor(tmp_path / "run", cache=FeatureCache(tmp_path / "other"))
    clips = [Clip(Path(row["path"])) for row in rows]
    right = []
    for row, views in zip(rows, model.view_probabilities(clips), strict=True):
        assert isinstance(views, list)
        assert len(views) == 6
        assert len(set(views)) > 1
        expected = np.mean(views, axis=0)
        np.testing.assert_allclose([float(row[f"p_{label}"]) for label in model.labels], expected, atol=1e-9)
        right += [model.labels[int(np.argmax(one))] == row["label"] for one in views]
    for prediction, row in zip(model.predict([row["path"] for row in rows]), rows, strict=True):
        assert prediction.confidence == pytest.approx(float(row["confidence"]), abs=1e-9)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["view_accuracy"] == pytest.approx(sum(right) / len(right))
    page = (tmp_path / "run" / "report.html").read_text()
    assert "accuracy of single views" in page
    again = commands.evaluate(tmp_path / "run", str(small_set), out=tmp_path / "again", split="all")
    assert again.metrics.view_accuracy is not None


@pytest.mark.long
def test_frames_in_memory_are_read_in_all_views_too(
    small_set: Path, make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    commands.train(str(small_set), recipe="lrcn-small", out=tmp_path / "run", set=[*SMALL, "testing.clips=3"])
    model = marey.Predictor(tmp_path / "run")
    path = make_video(tmp_path / "a.mp4", seconds=4.0)
    frames = decode(path, np.arange(100) / 25.0 + 0.02).data
    (of_array,) = model.predict(frames, frame_rate=25.0)
    (short,) = model.view_probabilities([Clip(path, end=4.0)])
    assert isinstance(short, list)
    np.testing.assert_allclose(sorted(of_array.probabilities), sorted(mean_of_views(short)), atol=0.02)


@pytest.mark.long
def test_a_run_with_one_view_has_no_view_accuracy(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    result = commands.train(str(small_set), recipe="lrcn-small", out=tmp_path / "run", set=SMALL)
    assert result.metrics.view_accuracy is None
    assert "view_accuracy" not in result.metrics.as_dict()


def test_the_most_probable_class_comes_first_and_equal_ones_stay_in_the_models_order() -> None:
    shares = np.array([0.1, 0.4, 0.1, 0.4])
    assert sort_by_probability(("a", "b", "c", "d"), shares) == (("b", 0.4), ("d", 0.4), ("a", 0.1), ("c", 0.1))


def test_a_class_without_a_probability_cannot_be_ranked() -> None:
    with pytest.raises(ValueError, match="zip"):
        sort_by_probability(("a", "b"), (1.0,))


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def names(root: Path, *sources: str | Path) -> list[str]:
    return [clip.path.relative_to(root).as_posix() for clip in find_clips(sources)]


def test_find_clips_takes_a_named_file_whatever_its_suffix_even_if_it_is_missing(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    assert names(tmp_path, tmp_path / "notes.txt", tmp_path / "none.mp4") == ["notes.txt", "none.mp4"]


def test_find_clips_expands_a_folder_to_the_videos_below_it_in_order(tmp_path: Path) -> None:
    for name in ("b/2.MP4", "b/1.avi", "a.mkv", "notes.txt", ".hidden.mp4"):
        touch(tmp_path / name)
    assert names(tmp_path, tmp_path) == ["a.mkv", "b/1.avi", "b/2.MP4"]


def test_find_clips_expands_a_pattern_to_the_files_that_match(tmp_path: Path) -> None:
    for name in ("2.mp4", "1.mp4", "3.txt", "deep/er/4.mp4"):
        touch(tmp_path / name)
    assert names(tmp_path, str(tmp_path / "*.mp4")) == ["1.mp4", "2.mp4"]
    assert names(tmp_path, str(tmp_path / "**" / "*.mp4")) == ["1.mp4", "2.mp4", "deep/er/4.mp4"]


def test_find_clips_takes_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path / "take[1].mp4")
    touch(tmp_path / "take1.mp4")
    assert names(tmp_path, tmp_path / "take[1].mp4") == ["take[1].mp4"]


def test_find_clips_returns_each_file_once_in_the_order_of_the_sources(tmp_path: Path) -> None:
    second, first = touch(tmp_path / "b.mp4"), touch(tmp_path / "a.mp4")
    assert names(tmp_path, second, tmp_path, first) == ["b.mp4", "a.mp4"]


def test_find_clips_refuses_a_folder_without_videos_and_a_pattern_without_files(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(DatasetError, match=r"no videos in .*ends in one of .*\.mp4"):
        find_clips([tmp_path])
    with pytest.raises(DatasetError, match=r"no file matches '.*\*\.mp4'"):
        find_clips([str(tmp_path / "*.mp4")])
