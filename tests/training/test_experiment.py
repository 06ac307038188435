from __future__ import annotations

from pathlib import Path

import pytest
import torch

from drawn_features import CONTRACT, COUNT, DIM, LABELS, LENGTH
from marey.data import Clip, Split
from marey.encoders import Features
from marey.errors import DatasetError, VideoError
from marey.evaluation import macro_f1_of
from marey.training import Experiment, Recipe, load_recipe
from marey.training.tune import scores
from marey.training.validation import ValidationOutputs

HALVES = (
    Split(tuple(range(12)), tuple(range(12, 24)), ()),
    Split(tuple(range(12, 24)), tuple(range(12)), ()),
)


def quick(*changes: str) -> Recipe:
    return load_recipe("order-blind", changes=["training.epochs=6", "training.learning_rate=0.05", *changes])


def experiment(*, unusable: tuple[int, ...] = (), recipe: Recipe | None = None) -> Experiment:
    """Clips whose class is a direction in the space of features, under noise; some of them cannot be used."""
    chance = torch.Generator().manual_seed(0)
    clips = [Clip(Path(f"{number}.mp4"), LABELS[number % 3]) for number in range(COUNT)]
    found: list[Features | VideoError] = []
    for number, clip in enumerate(clips):
        values = 2 * torch.eye(3, DIM)[number % 3] + torch.randn(LENGTH, DIM, generator=chance)
        found.append(VideoError(clip.path, "corrupt", "") if number in unusable else {"appearance": values})
    return Experiment(clips, [found], labels=LABELS, contract=CONTRACT, recipe=recipe or quick(), made_with={})


def held_out(of: Experiment, out: Path, splits: tuple[Split, ...] = HALVES) -> list[ValidationOutputs]:
    return list(of.cross_validate(splits, seed=0, out=out))


def test_each_split_says_what_its_own_training_makes_of_its_validation_clips(tmp_path: Path) -> None:
    both = held_out(experiment(), tmp_path / "both")
    for split, found in zip(HALVES, both, strict=True):
        assert found.logits.shape == (12, 3)
        assert found.labels.tolist() == [index % 3 for index in split.val]
        (alone,) = held_out(experiment(), tmp_path / "alone", (split,))
        assert torch.equal(alone.logits, found.logits)
    right = torch.cat([found.logits.argmax(1) == found.labels for found in both])
    assert right.float().mean() > 0.8


def test_clips_that_cannot_be_used_are_left_out_of_training_and_of_the_answer(tmp_path: Path) -> None:
    first, second = held_out(experiment(unusable=(0, 13)), tmp_path)
    assert (len(first.labels), len(second.labels)) == (11, 11)


def test_too_few_clips_to_train_or_to_validate_on_are_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="fewer than two classes are left to train on"):
        held_out(experiment(), tmp_path, (Split((0, 3, 6), (1, 2), ()),))
    with pytest.raises(DatasetError, match="none of 2 validation clips can be used"):
        held_out(experiment(unusable=(1, 2)), tmp_path, (Split((0, 3, 4), (1, 2), ()),))


def test_nothing_but_logs_is_left(tmp_path: Path) -> None:
    held_out(experiment(), tmp_path)
    names = {path.name.partition(".")[0] for path in tmp_path.rglob("*") if path.is_file()}
    assert names <= {"events", "metrics", "hparams"}


def test_another_recipe_trains_on_the_same_clips_and_leaves_the_first_as_it_was(tmp_path: Path) -> None:
    first = experiment()
    before = held_out(first, tmp_path / "a")
    slow = quick("training.learning_rate=1e-6")
    other = held_out(first.with_recipe(slow), tmp_path / "b")
    fresh = held_out(experiment(recipe=slow), tmp_path / "c")
    after = held_out(first, tmp_path / "d")
    for a, b, c, d in zip(before, other, fresh, after, strict=True):
        assert torch.equal(a.logits, d.logits)
        assert torch.equal(b.logits, c.logits)
        assert not torch.equal(a.logits, b.logits)


def test_what_recipes_share_of_their_heads_changes_no_answer(tmp_path: Path) -> None:
    shared = experiment(recipe=quick("head.name=pyramid"))
    for number, changes in enumerate(
        (
            ["head.options.parts=2"],
            ["head.options.parts=3"],
            ["head.options.parts=2", "head.options.dropout=0.1"],
            ["head.options.parts=2", "head.fusion=early"],
        )
    ):
        recipe = quick("head.name=pyramid", *changes)
        again = held_out(shared.with_recipe(recipe), tmp_path / f"{number}a")
        fresh = held_out(experiment(recipe=recipe), tmp_path / f"{number}b")
        for one, other in zip(again, fresh, strict=True):
            assert torch.equal(one.logits, other.logits)


def test_the_score_of_a_trial_is_the_macro_f1_of_all_validation_clips_so_far(tmp_path: Path) -> None:
    found = held_out(experiment(), tmp_path / "a")
    expected = []
    for several in (found[:1], found):
        labels = torch.cat([one.labels for one in several])
        predicted = torch.cat([one.logits for one in several]).argmax(1)
        hits, support, answers = (
            torch.stack([(mask & (which == number)).sum() for number in range(3)]).double().numpy()
            for mask, which in (
                (labels == predicted, labels),
                (torch.ones_like(labels, dtype=torch.bool), labels),
                (torch.ones_like(labels, dtype=torch.bool), predicted),
            )
        )
        expected.append(float(macro_f1_of(hits, support, answers)))
    assert list(scores(experiment(), HALVES, seed=0, out=tmp_path / "b")) == pytest.approx(expected)
