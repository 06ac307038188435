"""Trainings with several seeds, whose average is the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from drawn_features import CONTRACT, COUNT, DIM, LABELS, LENGTH
from marey.data import Clip, Split
from marey.encoders import Features
from marey.errors import RecipeError
from marey.models import Members, load_model
from marey.training import Epoch, Experiment, FoldResult, Protocol, Recipe, load_recipe, run_protocol, watched_epochs
from marey.training.fold import member_seed, read_fold


def recipe(*changes: str, head: str = "lstm") -> Recipe:
    small = ["training.epochs=4", "training.learning_rate=0.02", f"head.name={head}"]
    return load_recipe("order-blind", changes=[*small, *changes])


def experiment(recipe: Recipe, folder: Path) -> Experiment:
    """Return clips of four groups whose class is a direction in the space of features, under noise."""
    drawn = torch.Generator().manual_seed(0)
    folder.mkdir(exist_ok=True)
    clips = [Clip(folder / f"{number}.mp4", LABELS[number % 3], f"g{number // 3 % 4}") for number in range(COUNT)]
    for clip in clips:
        clip.path.write_text(clip.path.name, encoding="utf-8")  # it is known by its content; its features are given
    found: list[Features] = []
    for clip in clips:
        values = torch.eye(3, DIM)[LABELS.index(clip.label or "")] + torch.randn(LENGTH, DIM, generator=drawn)
        found.append({"appearance": values})
    return Experiment(clips, [found], labels=LABELS, contract=CONTRACT, recipe=recipe, made_with={})


def trained(recipe: Recipe, out: Path, *, seed: int = 5) -> FoldResult:
    return experiment(recipe, out.parent / "clips").train(range(COUNT), seed=seed, out=out)


def answers(found: FoldResult) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(1)
    clips = [{"appearance": torch.randn(LENGTH, DIM, generator=drawn)} for _ in range(6)]
    return torch.stack([found.model.member_probabilities(clip) for clip in clips], dim=1)


def test_every_member_is_the_training_with_its_seed_for_the_epochs_that_all_have_chosen(tmp_path: Path) -> None:
    # `validation=0`: nothing is chosen, so that a member is what a training of its own is.
    several = trained(recipe("training.seeds=3", "training.validation=0"), tmp_path / "several")
    assert several.model.config.seeds == 3
    assert isinstance(several.model.classifier.heads[0], Members)
    found = answers(several)
    assert found.shape == (3, 6, 3)
    for number in range(3):
        seed = member_seed(5, number)
        alone = trained(recipe("training.seeds=1", "training.validation=0"), tmp_path / f"{number}", seed=seed)
        assert alone.model.config.seeds == 1
        torch.testing.assert_close(found[number], answers(alone)[0], atol=1e-6, rtol=1e-5)
    assert (found[0] - found[1]).abs().max() > 1e-3
    assert member_seed(5, 0) == 5


def test_the_temperature_is_that_of_the_average_and_every_member_leaves_its_logs(tmp_path: Path) -> None:
    several = trained(recipe("training.seeds=3", "training.inner_folds=2"), tmp_path / "several")
    assert len(several.histories) == 6
    tables = {path.parent.relative_to(tmp_path / "several") for path in (tmp_path / "several").rglob("metrics.csv")}
    places = [Path(), Path("seed-2"), Path("seed-3")]
    assert tables == {place / name for place in places for name in ("choose/01", "choose/02", "fit")}
    alone = trained(recipe("training.seeds=1", "training.inner_folds=2"), tmp_path / "alone")
    assert several.model.config.temperature != alone.model.config.temperature
    assert several.model.held_out is not None
    assert several.model.familiarity is not None


def test_linear_heads_are_handed_over_as_one(tmp_path: Path) -> None:
    several = trained(recipe("training.seeds=3", head="mean"), tmp_path / "several")
    assert several.model.classifier.only_layers
    assert several.model.members is not None
    assert answers(several).shape == (3, 6, 3)
    kept = read_fold(tmp_path / "several")
    assert kept is not None
    assert torch.equal(answers(kept), answers(several))


@pytest.mark.parametrize("retrain", ["all", "none"])
def test_a_training_that_was_interrupted_between_its_members_gives_the_same_model(tmp_path: Path, retrain: str) -> None:
    chosen = recipe("training.seeds=3", f"training.retrain={retrain}")
    whole = trained(chosen, tmp_path / "whole")
    left = iter(range(6))  # epochs: the second member has begun

    def interrupt(_: Epoch) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), watched_epochs(interrupt):
        trained(chosen, tmp_path / "half")
    again = trained(chosen, tmp_path / "half")
    assert torch.equal(answers(again), answers(whole))
    assert not list((tmp_path / "half").rglob("*.ckpt"))


def test_each_fold_and_the_final_model_of_a_cross_validation_have_all_members(tmp_path: Path) -> None:
    everything = range(COUNT)
    parts = [tuple(index for index in everything if index // 3 % 4 == group) for group in range(2)]
    splits = tuple(Split(tuple(index for index in everything if index not in part), (), part) for part in parts)
    chosen = recipe("training.seeds=2")
    protocol = Protocol("two groups", splits, pooled=True)
    of = experiment(chosen, tmp_path / "clips")
    folds, final = run_protocol(of, protocol, seed=0, out=tmp_path, on_fold=lambda *_: None)
    assert [each.model.config.seeds for each in (*folds, final)] == [2, 2, 2]
    assert load_model(tmp_path / "folds" / "all" / "model").config.seeds == 2


def test_heads_in_epochs_average_five_seeds_and_an_optimum_and_networks_on_frames_have_one() -> None:
    counts = {name: load_recipe(name).seed_count for name in ("auto", "bilstm", "transformer", "cnn-lstm", "finetune")}
    assert counts == {"auto": 1, "bilstm": 5, "transformer": 5, "cnn-lstm": 1, "finetune": 1}
    assert load_recipe("bilstm", changes=["training.seeds=2"]).seed_count == 2
    assert load_recipe("lrcn").seed_count == 1  # as it was published


def test_seeds_that_cannot_be_averaged_are_refused() -> None:
    with pytest.raises(RecipeError, match="a logistic regression has one optimum"):
        load_recipe("auto", changes=["training.seeds=3"])
    with pytest.raises(RecipeError, match="averages heads on features"):
        load_recipe("cnn-lstm", changes=["training.seeds=3"])
    with pytest.raises(RecipeError, match=r"training\.seeds"):
        load_recipe("bilstm", changes=["training.seeds=0"])
    assert load_recipe("auto", changes=["training.seeds=1"]).seed_count == 1
