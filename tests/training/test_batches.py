from __future__ import annotations

import pytest
import torch
from torch import Tensor

from marey.training import Batch, FeatureSet, Training, TrainingBatches
from marey.training.augmentation import Draws, frame_dropout_mask, mixup, temporal_jitter

CLIPS, LENGTH, DIM, CLASSES = 23, 6, 3, 4


def numbered(views: int = 1) -> FeatureSet:
    """Clips whose every number says its view, its clip and its frame: 10_000 v + 100 n + t."""
    view, clip, frame = torch.meshgrid(torch.arange(views), torch.arange(CLIPS), torch.arange(LENGTH), indexing="ij")
    values = (10_000 * view + 100 * clip + frame).float()
    features = {
        "a": values.unsqueeze(-1).expand(-1, -1, -1, DIM),
        "b": values.unsqueeze(-1).expand(-1, -1, -1, 2) + 0.5,
    }
    return FeatureSet(features, torch.arange(CLIPS) % CLASSES, CLASSES, LENGTH)


def epoch(batches: TrainingBatches, number: int) -> list[Batch]:
    batches.epoch = number
    return list(batches)


def same(left: list[Batch], right: list[Batch]) -> bool:
    return all(
        torch.equal(a.mask, b.mask)
        and torch.equal(a.targets, b.targets)
        and all(torch.equal(a.features[stream], b.features[stream]) for stream in a.features)
        for a, b in zip(left, right, strict=True)
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


LIVELY = Training(batch_size=5, mixup=0.4, temporal_jitter=2, frame_dropout=0.3)


def test_seed_and_epoch_alone_decide_what_comes() -> None:
    batches = TrainingBatches(numbered(2), LIVELY, seed=7)
    forwards = [epoch(batches, number) for number in range(3)]
    torch.rand(17)  # other random numbers change nothing
    again = TrainingBatches(numbered(2), LIVELY, seed=7)
    assert all(same(epoch(again, number), forwards[number]) for number in (2, 0, 1))
    assert not same(forwards[0], forwards[1])
    assert not same(epoch(TrainingBatches(numbered(2), LIVELY, seed=8), 0), forwards[0])


def test_each_clip_comes_once_an_epoch_with_its_own_label() -> None:
    batches = TrainingBatches(numbered(), Training(batch_size=5), seed=0)
    assert len(batches) == 5
    found = epoch(batches, 0)
    assert [len(batch.targets) for batch in found] == [5, 5, 5, 5, 3]
    clips = torch.cat([batch.features["a"][:, 0, 0] for batch in found]) / 100
    labels = torch.cat([batch.targets.argmax(1) for batch in found])
    assert sorted(clips.tolist()) == list(range(CLIPS))
    assert torch.equal(clips.long() % CLASSES, labels)
    assert all(bool(batch.mask.all()) for batch in found)


def test_streams_stay_together_through_every_augmentation() -> None:
    for batch in epoch(TrainingBatches(numbered(3), LIVELY, seed=1), 4):
        # Linear mixing keeps the difference between the two streams.
        assert torch.allclose(batch.features["b"], batch.features["a"][..., :2] + 0.5, atol=2e-2)


def test_every_reading_of_a_clip_is_used_in_time() -> None:
    batches = TrainingBatches(numbered(3), Training(batch_size=50), seed=0)
    views = [int(value) // 10_000 for number in range(4) for value in epoch(batches, number)[0].features["a"][:, 0, 0]]
    assert set(views) == {0, 1, 2}


@pytest.mark.parametrize("reach", [1, 2, 9])
def test_jitter_keeps_the_order_and_moves_no_frame_out_of_reach(reach: int) -> None:
    features = {stream: values[0] for stream, values in numbered().features.items()}
    moved = temporal_jitter(features, reach, Draws(generator(), CLIPS))
    frames = moved["a"][..., 0] - 100 * torch.arange(CLIPS).unsqueeze(1)
    assert bool((frames.diff(dim=1) >= 0).all())
    assert int((frames - torch.arange(LENGTH)).abs().max()) <= reach
    assert bool((frames != torch.arange(LENGTH)).any())
    assert bool((frames >= 0).all() and (frames < LENGTH).all())
    assert torch.equal(moved["b"], moved["a"][..., :2] + 0.5)


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 50.0])
def test_mixed_targets_sum_to_one_and_follow_the_features(alpha: float) -> None:
    targets = torch.eye(CLASSES)[torch.arange(CLIPS) % CLASSES]
    values = targets.unsqueeze(1).repeat(1, LENGTH, 1)
    mixed, shares = mixup({"a": values}, targets, alpha, generator())
    assert torch.allclose(shares.sum(1), torch.ones(CLIPS))
    assert bool((shares >= 0).all())
    assert torch.allclose(mixed["a"][:, 0], shares, atol=1e-6)
    assert bool(torch.isfinite(mixed["a"]).all())


@pytest.mark.parametrize("drop", [0.0, 0.5, 0.99])
def test_a_clip_keeps_at_least_one_frame(drop: float) -> None:
    mask: Tensor = frame_dropout_mask(5, drop, Draws(generator(), 400))
    assert bool(mask.any(dim=1).all())
    share = 1 - (1 - drop) - drop / 5  # one is put back in each
    assert float((~mask).float().mean()) == pytest.approx(share, abs=0.04)


def test_evaluation_reads_the_plain_view_in_order_and_whole() -> None:
    (batch,) = numbered(2).in_order()
    assert torch.equal(batch.features["a"][:, 0, 0], 100 * torch.arange(CLIPS).float())
    assert bool(batch.mask.all())
    assert torch.equal(batch.targets.argmax(1), torch.arange(CLIPS) % CLASSES)


def test_taking_clips_takes_all_their_views_and_labels() -> None:
    chosen = numbered(2).take([4, 1])
    assert chosen.labels.tolist() == [0, 1]
    assert chosen.features["a"][:, :, 0, 0].tolist() == [[400.0, 100.0], [10_400.0, 10_100.0]]
    assert len(chosen) == 2
    assert chosen.all_views()["a"].shape == (4, LENGTH, DIM)
