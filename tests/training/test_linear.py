from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from marey.data import Clip, Split
from marey.encoders import PRECOMPUTED, Contract, EncoderSpec, Features, Stream
from marey.errors import RecipeError, UsageError, VideoError
from marey.training import Experiment, FoldResult, Protocol, Recipe, load_recipe
from marey.video import Sampling

LABELS = ("bend", "jump", "wave")
COUNT, LENGTH, DIM = 60, 4, 8


def recipe(*changes: str) -> Recipe:
    return load_recipe(
        "two-stream", changes=["training.solver=logistic", "training.inner_folds=5", "head.fusion=stacked", *changes]
    )


def experiment(of: Recipe, strengths: dict[str, float]) -> Experiment:
    """Clips of six groups; in each stream the class is a direction, as strong as is said, under noise."""
    generator = torch.Generator().manual_seed(1)
    clips = [Clip(Path(f"{number}.mp4"), LABELS[number % 3], group=f"g{number // 10}") for number in range(COUNT)]
    found: list[Features | VideoError] = [
        {
            name: strength * torch.eye(3, DIM)[number % 3] + torch.randn(LENGTH, DIM, generator=generator)
            for name, strength in strengths.items()
        }
        for number in range(COUNT)
    ]
    contract = Contract(
        sampling=Sampling(count=LENGTH),
        streams={name: Stream(kind="appearance") for name in strengths},
        fit="stretch",
        encoder=EncoderSpec(name=PRECOMPUTED, weights="given"),
        encoder_hash="0" * 32,
        size=(1, 1),
        interpolation="bilinear",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        dim=DIM,
    )
    changed = of.model_copy(update={"streams": contract.streams})
    return Experiment(clips, [found], labels=LABELS, contract=contract, recipe=changed, made_with={})


@pytest.fixture(autouse=True)
def _contents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marey.training.experiment.content_hash", lambda path: path.stem)  # the files do not exist


def train(of: Recipe, strengths: dict[str, float], out: Path, *, seed: int = 0) -> FoldResult:
    return experiment(of, strengths).train(tuple(range(50)), seed=seed, out=out)


def test_a_stream_that_is_noise_is_not_part_of_the_model(tmp_path: Path) -> None:
    trained = train(recipe(), {"noise": 0.0, "motion": 2.0}, tmp_path)

    assert list(trained.model.config.contract.streams) == ["motion"]
    assert trained.selection is not None
    assert trained.selection.streams["noise"].weight == 0
    noise, motion = trained.selection.streams["noise"].accuracy, trained.selection.streams["motion"].accuracy
    assert noise is not None
    assert motion is not None
    assert noise < 0.6 < 0.9 < motion


def test_a_model_with_weighed_streams_is_saved_and_read_with_its_weights(tmp_path: Path) -> None:
    trained = train(recipe(), {"one": 0.9, "two": 0.7}, tmp_path)
    again = train(recipe(), {"one": 0.9, "two": 0.7}, tmp_path)  # reads what is there
    features = {name: torch.randn(LENGTH, DIM) for name in ("one", "two")}

    assert torch.equal(trained.model.probabilities(features), again.model.probabilities(features))
    assert again.selection == trained.selection
    weights = trained.model.classifier.stream_weights
    assert weights is not None
    assert float(weights.sum()) == pytest.approx(1)
    assert float(weights.min()) > 0.2
    json.loads((tmp_path / "training.json").read_text())


def test_the_seed_of_the_weights_changes_nothing_where_the_inner_folds_are_the_same(tmp_path: Path) -> None:
    fixed = recipe("training.C=0.01", "training.validation=0", "head.fusion=late")
    one, other = (train(fixed, {"motion": 1.0}, tmp_path / str(seed), seed=seed) for seed in (1, 2))

    for name, values in one.model.classifier.state_dict().items():
        assert torch.equal(values, other.model.classifier.state_dict()[name])


def test_first_streams_that_answer_enough_are_taken_alone(tmp_path: Path) -> None:
    strengths = {"first": 1.6, "more": 1.6}
    enough = train(recipe("selection.enough=0.5"), strengths, tmp_path / "all")
    selecting = recipe("selection.enough=0.5").model_copy(
        update={"selection": recipe().selection.model_copy(update={"first": ("first",), "enough": 0.5})}
    )
    alone = train(selecting, strengths, tmp_path / "first")

    assert set(enough.model.config.contract.streams) == {"first", "more"}
    assert list(alone.model.config.contract.streams) == ["first"]
    assert alone.selection is not None
    assert "enough" in alone.selection.reason


def test_more_streams_are_asked_for_only_where_the_first_leave_clips_wrong() -> None:
    protocol = Protocol("one split", (Split(tuple(range(50)), (), tuple(range(50, 60))),), False)
    for strength, asked in ((3.0, False), (0.3, True)):
        of = experiment(recipe(), {"first": strength})
        streams = {name: Stream(kind="appearance") for name in ("first", "more")}
        choice = recipe().selection.model_copy(update={"first": ("first",), "enough": 0.9})
        wanted = of.with_recipe(recipe().model_copy(update={"streams": streams, "selection": choice}))

        assert wanted.needs_more_streams(protocol, seed=0) is asked


def test_a_head_that_is_not_linear_says_which_solver_trains_it(tmp_path: Path) -> None:
    lstm = recipe("head.name=lstm", "head.options={}")
    with pytest.raises(UsageError, match=r"LSTM.*training.solver=adamw"):
        train(lstm, {"motion": 1.0}, tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["training.epochs=5"], "epochs=5 is a setting of solver: adamw"),
        (["training.solver=adamw"], "needs training.solver: logistic"),
        (["training.solver=adamw", "head.fusion=late", "training.C=1"], "C=1 is the penalty of solver: logistic"),
        (["selection.first=[colour]"], "names 'colour', and the streams are"),
        (["head.fusion=late", "selection.first=[difference]"], "is for head.fusion: stacked"),
    ],
)
def test_settings_of_another_solver_are_refused_by_name(changes: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe(*changes)
