from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from marey.training import FeatureSet, Training, TrainingBatches
from marey.training.feed import Feed, Source

CLASSES, LENGTH, DIM = 3, 4, 2
SIZES = (11, 14, 12)
PLAIN = Training(batch_size=5, label_smoothing=0.1)
LIVELY = PLAIN.model_copy(update={"mixup": 0.4, "time_jitter": 1, "frame_drop": 0.3})


def sources(training: Training) -> list[Source]:
    """Clips whose every number says its classifier, its view and which clip it is."""
    found = []
    for place, size in enumerate(SIZES):
        view, clip = torch.meshgrid(torch.arange(2), torch.arange(size), indexing="ij")
        values = (10_000 * place + 100 * view + clip + 1).float().view(2, size, 1, 1).expand(-1, -1, LENGTH, DIM)
        labels = (torch.arange(size) > 2 + place).long() + (torch.arange(size) > 7).long()
        found.append(Source(FeatureSet({"a": values}, labels, CLASSES, LENGTH), training, place % 2))
    return found


@pytest.mark.parametrize("training", [PLAIN, LIVELY], ids=["plain", "lively"])
@pytest.mark.parametrize("places", [(0, 1, 2), (0, 2), (1,)])
def test_each_classifier_gets_the_batches_that_it_would_get_alone(training: Training, places: tuple[int, ...]) -> None:
    given = sources(training)
    feed = Feed(given, "cpu")
    seeds, counts = feed.begin(3, places)
    steps = list(feed.batches(places))
    for row, place in enumerate(places):
        own = TrainingBatches(given[place].clips, training, seed=given[place].seed)
        own.epoch = 3
        assert own.seed == seeds[row]
        for step, batch in enumerate(own):
            count = len(batch.targets)
            assert count == counts[row][step] == steps[step].counts[row]
            assert torch.equal(steps[step].features["a"][row, :count], batch.features["a"])
            assert torch.equal(steps[step].mask[row, :count], batch.mask)


@pytest.mark.parametrize("training", [PLAIN, LIVELY], ids=["plain", "lively"])
@pytest.mark.parametrize("weights", ["balanced", "none"])
def test_the_targets_make_the_loss_that_pytorch_makes_of_smoothing_and_weights(
    training: Training, weights: str
) -> None:
    training = training.model_copy(update={"class_weights": weights})
    given = sources(training)
    feed = Feed(given, "cpu")
    feed.begin(0, (0, 1, 2))
    for step, stacked in enumerate(feed.batches((0, 1, 2))):
        logits = torch.randn(3, stacked.targets.shape[1], CLASSES, generator=torch.Generator().manual_seed(step))
        losses = -(stacked.targets * logits.log_softmax(-1)).sum((1, 2))
        for place, source in enumerate(given):
            own = TrainingBatches(source.clips, training, seed=source.seed)
            batch = list(own)[step]
            expected = cross_entropy(
                logits[place, : len(batch.targets)], batch.targets, weight=own.class_weights, label_smoothing=0.1
            )
            assert float(losses[place]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("training", [PLAIN, LIVELY], ids=["plain", "lively"])
def test_clips_that_fill_up_do_not_count(training: Training) -> None:
    feed = Feed(sources(training), "cpu")
    feed.begin(0, (0, 1, 2))
    *_, last = feed.batches((0, 1, 2))
    assert last.counts == [1, 4, 2]
    for row, count in enumerate(last.counts):
        assert not last.targets[row, count:].any()
        assert last.mask[row, count:].all()
        assert last.features["a"][row, count:].isfinite().all()
