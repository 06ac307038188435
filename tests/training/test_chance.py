from __future__ import annotations

import torch
from torch import nn

from marey.models.head import Dropout
from marey.training.chance import Chance, GivenDropout

SHARES = (0.5, 0.25)


def network() -> nn.Sequential:
    return nn.Sequential(Dropout(SHARES[0]), nn.Linear(7, 5), Dropout(0.0), Dropout(SHARES[1]))


def noted(over: nn.Module) -> Chance:
    """The chance of a network whose dropout has been replaced."""
    chance = Chance("cpu")
    GivenDropout.replace_in(over, chance)
    over.train()(torch.ones(1, 7))
    chance.noted()
    return chance


def drawn_by_dropout(seed: int, steps: list[int]) -> list[list[torch.Tensor]]:
    """What `Dropout` itself multiplies by."""
    layers = [Dropout(share).train() for share in SHARES]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return [[layer(torch.ones(count, dim)) for layer, dim in zip(layers, (7, 5), strict=True)] for count in steps]


def test_each_classifier_draws_what_dropout_would_draw_for_it_alone() -> None:
    chance = noted(network())
    seeds, steps = [3, 4, 3, 3], [[8, 2], [8, 3], [8, 5], [6, 2]]
    chance.begin(seeds, steps)
    expected = [drawn_by_dropout(seed, counts) for seed, counts in zip(seeds, steps, strict=True)]
    for step in range(2):
        counts = [each[step] for each in steps]
        for place, keep in enumerate(chance.draw(counts)):
            assert keep.shape[:2] == (4, max(counts))
            for row, count in enumerate(counts):
                assert torch.equal(keep[row, :count], expected[row][step][place])
                assert not keep[row, count:].any()


def test_an_epoch_does_not_depend_on_the_one_before() -> None:
    chance = noted(network())
    chance.begin([5, 5], [[4], [3]])
    first = chance.draw([4, 3])
    chance.begin([6, 6], [[4], [3]])
    chance.draw([4, 3])
    chance.begin([5, 5], [[4], [3]])
    assert all(torch.equal(one, other) for one, other in zip(first, chance.draw([4, 3]), strict=True))


def test_what_is_given_is_dropped_in_training_and_nothing_in_evaluation() -> None:
    over = network()
    chance = noted(over)
    values = torch.ones(2, 7)
    keeps = (torch.zeros(2, 7), 2 * torch.ones(2, 5))
    chance.give(keeps)
    linear = over[1]
    assert isinstance(linear, nn.Linear)
    assert torch.equal(over(values), 2 * linear.bias.expand(2, 5))
    assert torch.equal(over.eval()(values), linear(values))
