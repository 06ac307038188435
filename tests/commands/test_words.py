"""Labels and queries in words, with small random networks: the way from the command to the answer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from conftest import CallMarey
from marey import commands
from marey.commands.steps.predictions import Predictions, Timelines
from marey.data import Clip
from marey.encoders import Contract, TextImageEncoder, load_encoder, read_clip
from marey.errors import MareyError, RecipeError, UsageError
from marey.prediction import Prediction
from marey.synthetic import FRAME_RATE, draw
from marey.training import load_recipe
from marey.video import write_video
from small_text_towers import write_tower

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

LABELS = ["wave", "clap", "jump"]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds: a person stands, waves from 4 s on, and walks from 5 s on; not to be changed."""
    acts = (("standing", 4.0), ("handwaving", 1.0), ("walking", 3.0))
    frames = [frame for act, seconds in acts for frame in draw(act, actor=2, duration=seconds)]
    path = tmp_path_factory.mktemp("words") / "day.mp4"
    write_video(path, torch.stack(frames), frame_rate=FRAME_RATE)
    return path


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Encoder name to a recipe file with a small random network; not to be changed."""
    folder = tmp_path_factory.mktemp("towers")
    recipes = {}
    for name in ("clip", "siglip2", "xclip"):
        write_tower(name, folder / name)
        recipes[name] = folder / f"{name}.yaml"
        recipe = load_recipe(f"{name}-zeroshot", changes=[f"encoder.weights={folder / name}"])
        recipes[name].write_text(recipe.to_yaml(), encoding="utf-8")
    return recipes


def cosines(recipe_file: Path, video: Path, sentences: list[list[str]], span: tuple[float, float] | None) -> Tensor:
    """The cosine of a span of a video with sentences, by the vectors of the encoder alone; not of X-CLIP."""
    recipe = load_recipe(recipe_file)
    encoder = load_encoder(recipe.encoder, frames=8, engine="pytorch")
    assert isinstance(encoder, TextImageEncoder)
    start, end = span or (None, None)
    frames = read_clip(Clip(video, start=start, end=end), Contract.from_recipe(recipe, encoder))["appearance"]
    unit = torch.nn.functional.normalize(encoder.encode_clips(frames[None])[0], dim=-1)
    return torch.nn.functional.normalize(unit.mean(0), dim=0) @ encoder.embed_words(sentences).vectors.T


def labelled(video: Path, recipe: Path) -> Prediction:
    answer = commands.predict(video, labels=LABELS, recipe=recipe)
    assert isinstance(answer, Predictions)
    (prediction,) = answer.predictions
    return prediction


@pytest.mark.parametrize("name", ["clip", "siglip2", "xclip"])
def test_labels_are_predicted_without_training(name: str, towers: dict[str, Path], video: Path) -> None:
    prediction = labelled(video, towers[name])
    assert sorted(prediction.labels) == sorted(LABELS)
    assert sum(prediction.probabilities) == pytest.approx(1.0)
    assert list(prediction.probabilities) == sorted(prediction.probabilities, reverse=True)
    assert bool(prediction.matches) == (name == "siglip2")


def test_the_confidence_is_the_softmax_of_the_scaled_cosines_with_all_prompts(
    towers: dict[str, Path], video: Path
) -> None:
    prediction = labelled(video, towers["clip"])
    prompts = [[f"a video of a person {label}", f"a photo of a person {label}"] for label in LABELS]
    expected = (cosines(towers["clip"], video, prompts, None) * torch.tensor(2.0).exp()).softmax(0)
    found = dict(zip(prediction.labels, prediction.probabilities, strict=True))
    assert [found[label] for label in LABELS] == pytest.approx(expected.tolist(), abs=1e-5)


def test_siglip_says_for_each_label_by_itself_how_well_it_fits(
    towers: dict[str, Path], video: Path, call_marey: CallMarey
) -> None:
    prediction = labelled(video, towers["siglip2"])
    prompts = [[f"a video of a person {label}", f"a photo of a person {label}"] for label in LABELS]
    logits = cosines(towers["siglip2"], video, prompts, None) * torch.tensor(2.0).exp() - 1.5
    found = dict(zip(prediction.labels, prediction.matches, strict=True))
    assert [found[label] for label in LABELS] == pytest.approx(logits.sigmoid().tolist(), abs=1e-5)
    assert prediction.as_dict(3)["matches"] == pytest.approx(found)
    done = call_marey("predict", video, "--labels", "wave, clap, jump", "--recipe", towers["siglip2"])
    assert (done.code, "fits" in done.out, prediction.labels[0] in done.out) == (0, True, True)


def test_frames_in_memory_have_matches_too(towers: dict[str, Path]) -> None:
    from marey.commands.steps.words import open_labels

    predictor = open_labels(LABELS, towers["siglip2"], changes=(), device="cpu", engine="pytorch")
    frames = torch.stack(list(draw("handwaving", actor=2, duration=1.0)))
    found, again = predictor.predict([frames, frames], frame_rate=FRAME_RATE)
    assert len(found.matches) == 3
    assert found.matches == again.matches


@pytest.mark.parametrize("name", ["clip", "xclip"])
def test_labels_in_words_segment_a_long_video_too(name: str, towers: dict[str, Path], video: Path) -> None:
    answer = commands.predict(video, labels=LABELS, recipe=towers[name], mode="window", window=2.0, threshold=0.0)
    assert isinstance(answer, Timelines)
    (timeline,) = answer.timelines
    assert set(timeline.labels) == set(LABELS)
    assert timeline.segments


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("", "no labels are given"),
        ([], "no labels are given"),
        ("wave,, clap", "one of the labels 'wave', '', 'clap' is empty"),
        ("wave", "'wave' is the only label"),
        ("wave, clap, Wave", "the label 'wave' is named twice"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(
    towers: dict[str, Path], video: Path, labels: str | list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        commands.predict(video, labels=labels, recipe=towers["clip"])


def test_a_recipe_without_a_text_tower_is_refused(video: Path) -> None:
    with pytest.raises(UsageError, match="'auto' knows no words"):
        commands.predict(video, labels=LABELS, recipe="auto")
    with pytest.raises(RecipeError, match="efficientnet-lite0 has no text tower"):
        load_recipe("clip-zeroshot", changes=["encoder.name=efficientnet-lite0"])
    with pytest.raises(UsageError, match="'auto' knows no words"):
        commands.find("auto", "a person waves", video)


def test_a_recipe_without_labels_and_a_model_without_sources_are_told(video: Path) -> None:
    with pytest.raises(UsageError, match="add --labels"):
        commands.predict("run", video, recipe="clip-zeroshot")
    with pytest.raises(UsageError, match="SOURCES is missing"):
        commands.predict("run")


@pytest.mark.parametrize("recipe", ["clip-zeroshot", "siglip2-zeroshot", "xclip-zeroshot"])
def test_there_is_nothing_to_train(recipe: str, small_set: Path, tmp_path: Path) -> None:
    for call in (commands.train, commands.tune):
        with pytest.raises(UsageError, match=f"the recipe '{recipe}' has nothing to train"):
            call(small_set, recipe=recipe, out=tmp_path / "run")
    with pytest.raises(UsageError, match="nothing to train"):
        commands.compare(small_set, recipes=f"frame-average,{recipe}", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["clip", "siglip2", "xclip"])
def test_words_find_moments_by_falling_similarity(name: str, towers: dict[str, Path], video: Path) -> None:
    answer = commands.find(towers[name], "a person waves", video, window=1.0, top=100)
    assert (answer.query, answer.window, answer.usable) == ("a person waves", 1.0, True)
    assert answer.hits
    assert [hit.similarity for hit in answer.hits] == sorted((hit.similarity for hit in answer.hits), reverse=True)
    assert all(0 <= hit.start < hit.end <= 8.001 for hit in answer.hits)
    assert max(hit.end - hit.start for hit in answer.hits) < 8  # and not the whole video as one


def test_the_similarity_is_the_cosine_of_the_window_with_the_sentence(towers: dict[str, Path], video: Path) -> None:
    answer = commands.find(towers["clip"], "a person waves", video, window=1.0, top=100)
    expected = [float(cosines(towers["clip"], video, [["a person waves"]], (at, at + 1.0))) for at in range(8)]
    assert answer.hits[0].similarity >= max(expected) - 1e-5
    whole = commands.find(towers["clip"], "a person waves", video, window=8.0)
    (hit,) = whole.hits
    assert hit.similarity == pytest.approx(float(cosines(towers["clip"], video, [["a person waves"]], None)), abs=1e-5)


def test_a_single_word_is_a_query_where_it_is_said_to_be(
    towers: dict[str, Path], video: Path, call_marey: CallMarey
) -> None:
    done = call_marey("find", towers["clip"], "wave", "in", video, "--words", "--json")
    assert (done.code, '"query": "wave"' in done.out) == (0, True)
    with pytest.raises(MareyError):
        commands.find(towers["clip"], "wave", video)


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        (" ", {"words": True}, "the query is empty"),
        ("a person waves", {"start": 1.0}, "--start is for a clip"),
        ("a person waves", {"mirror": True}, "--mirror is for a clip"),
    ],
)
def test_a_query_in_words_refuses_what_is_of_clips(
    towers: dict[str, Path], video: Path, query: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        commands.find(towers["clip"], query, video, **options)  # type: ignore[arg-type]


def test_a_trained_model_knows_no_words(small_run: Path, video: Path) -> None:
    with pytest.raises(UsageError, match="is a trained model, which knows no words"):
        commands.find(small_run, "a person waves", video)


def test_a_missing_extra_is_told_with_the_line_that_installs_it(
    towers: dict[str, Path], video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    for call in (
        lambda: commands.predict(video, labels=LABELS, recipe=towers["clip"]),
        lambda: commands.find(towers["clip"], "a person waves", video),
    ):
        with pytest.raises(UsageError, match="the encoder 'clip' needs the package transformers: "):
            call()
