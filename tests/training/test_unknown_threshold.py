from __future__ import annotations

import numpy as np
import pytest
import torch

from marey.encoders import Contract, EncoderSpec, Stream
from marey.evaluation import HeldOut
from marey.models import ActionModel, Classifier, HeadSpec, ModelConfig, new_classifier
from marey.training import FeatureSet, leave_classes_out, with_familiarity
from marey.training.familiarity import held_out_scores, quantile_of_new
from marey.video import Sampling

CLASSES, GROUPS, EACH = 4, 5, 3
CONTRACT = Contract(
    sampling=Sampling(count=6),
    streams={"frame": Stream(kind="appearance")},
    fit="crop",
    encoder=EncoderSpec(name="resnet18.a1_in1k"),
    encoder_hash="f" * 32,
    size=(160, 128),
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    dim=16,
)


@pytest.fixture(scope="module")
def clips() -> FeatureSet:
    """Clips of each class around its own centre, three a class and group."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(CLASSES).repeat_interleave(GROUPS * EACH)
    centres = 3 * torch.randn(CLASSES, 1, 16, generator=generator)
    values = centres[labels] + torch.randn(len(labels), 6, 16, generator=generator)
    return FeatureSet({"frame": values[None]}, labels, CLASSES, 6)


@pytest.fixture(scope="module")
def groups() -> list[str]:
    return [f"p{place % GROUPS}" for place in range(CLASSES * GROUPS * EACH)]


def classifier(clips: FeatureSet, rows: list[int]) -> Classifier:
    found = new_classifier(CONTRACT, HeadSpec(name="pyramid", options={}), CLASSES)
    found.prepare({"frame": clips.take(rows).features["frame"][0]})
    return found


def model(clips: FeatureSet, rows: list[int]) -> ActionModel:
    config = ModelConfig(contract=CONTRACT, head=HeadSpec(name="pyramid", options={}), labels=tuple("abcd"))
    return ActionModel(config, classifier(clips, rows).eval())


def folds(clips: FeatureSet, groups: list[str]) -> list[tuple[Classifier, list[int], list[int]]]:
    found = []
    for name in sorted(set(groups)):
        train = [row for row, group in enumerate(groups) if group != name]
        found.append((classifier(clips, train), train, [row for row, group in enumerate(groups) if group == name]))
    return found


def outputs(clips: FeatureSet, parts: list[tuple[Classifier, list[int], list[int]]]) -> HeldOut:
    rows = tuple(row for _, _, validation in parts for row in validation)
    return HeldOut(rows, np.eye(CLASSES)[clips.labels[list(rows)].numpy()])


def test_scores_of_held_out_clips_do_not_depend_on_dropout(clips: FeatureSet, groups: list[str]) -> None:
    parts = folds(clips, groups)
    assert parts[0][0].training
    first = held_out_scores(parts, clips, outputs(clips, parts))
    assert first.shape == (len(groups),)
    assert np.array_equal(first, held_out_scores(folds(clips, groups), clips, outputs(clips, parts)))


def test_the_threshold_is_what_5_percent_of_the_held_out_clips_exceed(clips: FeatureSet, groups: list[str]) -> None:
    parts = folds(clips, groups)
    scores = held_out_scores(parts, clips, outputs(clips, parts))
    rows = list(range(len(groups)))
    known = with_familiarity(model(clips, rows), clips, rows, groups, scores=scores).familiarity
    assert known is not None
    assert (scores > known.config.threshold).sum() == 2  # of 60: at most 5 % of 61
    assert (known.config.clips, known.config.groups) == (60, 5)


def test_too_few_clips_give_no_threshold(clips: FeatureSet) -> None:
    assert with_familiarity(model(clips, [0, 20, 40]), clips, [0, 20, 40], ["a", "b", "c"]).familiarity is None


def test_a_class_that_was_left_out_is_told_from_the_others(clips: FeatureSet, groups: list[str]) -> None:
    rows = list(range(len(groups)))
    known = with_familiarity(model(clips, rows), clips, rows, groups).familiarity
    assert known is not None
    found = leave_classes_out(known, "abcd", seed=0)
    assert [each.label for each in found] == list("abcd")
    assert min(each.auroc for each in found) > 0.95


def test_two_classes_leave_none_to_leave_out(clips: FeatureSet, groups: list[str]) -> None:
    rows = [row for row in range(len(groups)) if clips.labels[row] < 2]
    known = with_familiarity(model(clips, rows), clips, rows, [groups[row] for row in rows]).familiarity
    assert known is not None
    assert leave_classes_out(known, "abcd", seed=0) == ()


def test_few_scores_give_a_threshold_above_the_largest_of_them() -> None:
    generator = np.random.default_rng(0)
    exceeded = {}
    for count in (4, 8, 18, 60):
        drawn = generator.lognormal(0.0, 0.2, (400, count + 1))
        exceeded[count] = np.mean([row[-1] > quantile_of_new(row[:-1], 0.95) for row in drawn])
    assert max(exceeded.values()) <= 0.075  # the largest of four is exceeded by a fifth
    assert quantile_of_new(np.array([1.0, 2.0, 1.5, 1.2]), 0.95) > 2


def test_scores_of_zero_give_the_largest_as_the_threshold() -> None:
    assert quantile_of_new(np.array([0.0, 0.5, 1.0]), 0.95) == 1.0
