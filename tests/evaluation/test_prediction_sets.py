"""Sets of labels, on drawn probabilities whose groups differ."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from marey.errors import UsageError
from marey.evaluation import PredictionSets
from marey.models import HeldOutAnswers

CLASSES = 6
Drawn = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], list[str]]


def draw(generator: np.random.Generator, groups: int, each: int) -> Drawn:
    """Return probabilities, labels and groups: each group confuses the classes in its own way."""
    own = generator.normal(size=(groups, CLASSES, CLASSES))
    group = np.repeat(np.arange(groups), each)
    labels = generator.integers(CLASSES, size=len(group))
    logits = generator.normal(size=(len(group), CLASSES)) + own[group, labels] + 1.5 * np.eye(CLASSES)[labels]
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True), labels, [str(name) for name in group]


def coverage(groups: int, each: int, *, trials: int = 100) -> float:
    """Return the share of sets at 0.9 that hold the label of a clip of a new group, over new held-out clips."""
    generator = np.random.default_rng(1)
    held = []
    for trial in range(trials):
        sets = PredictionSets(HeldOutAnswers.of(*draw(generator, groups, each), grouped=True))
        probabilities, labels, _ = draw(generator, 1, 4)
        held += [
            label in sets.take_exactly(row, draw=f"{trial} {place}")
            for place, (row, label) in enumerate(zip(probabilities, labels, strict=True))
        ]
    return float(np.mean(held))


@pytest.mark.parametrize(("groups", "each"), [(9, 6), (24, 4), (60, 1)])
def test_sets_hold_the_label_of_new_groups_as_often_as_they_say(groups: int, each: int) -> None:
    assert coverage(groups, each) == pytest.approx(0.9, abs=0.05)


def test_a_set_is_never_empty_and_begins_with_the_most_probable_label() -> None:
    generator = np.random.default_rng(0)
    certain = np.full((40, 3), 0.0005)
    certain[np.arange(40), np.arange(40) % 3] = 0.999
    sets = PredictionSets(HeldOutAnswers.of(certain, np.arange(40) % 3, [str(n) for n in range(40)], grouped=True))
    taken = [sets.take(row, draw=str(place)) for place, row in enumerate(certain)]
    assert all(found[0] == place % 3 for place, found in enumerate(taken))
    assert any(not sets.take_exactly(row, draw=str(place)) for place, row in enumerate(certain))
    flat = generator.dirichlet(np.ones(3))
    assert sets.take(flat, draw="a")[0] == int(flat.argmax())


def test_the_same_clip_has_the_same_set() -> None:
    generator = np.random.default_rng(0)
    sets = PredictionSets(HeldOutAnswers.of(*draw(generator, 9, 6), grouped=True))
    (row,), _, _ = draw(generator, 1, 1)
    assert sets.take(row, draw="content") == sets.take(row, draw="content")
    assert len({sets.take(row, draw=str(other)) for other in range(50)}) > 1


def test_eight_groups_do_not_guarantee_ninety_percent_and_nine_do() -> None:
    generator = np.random.default_rng(0)
    few = PredictionSets(HeldOutAnswers.of(*draw(generator, 8, 3), grouped=True))
    assert not few.guaranteed
    assert few.note.startswith("the sets are not guaranteed: 90 % takes 9 held-out groups, and there are 8; add groups")
    assert few.note.endswith("or ask for 0.88 or less")
    assert PredictionSets(few.held_out, 0.88).guaranteed
    enough = PredictionSets(HeldOutAnswers.of(*draw(generator, 9, 3), grouped=True))
    assert enough.guaranteed
    assert "over new groups like the 9 that were held out" in enough.note


def test_sets_of_a_share_beyond_one_are_refused() -> None:
    answers = HeldOutAnswers.of(*draw(np.random.default_rng(0), 2, 2), grouped=True)
    with pytest.raises(UsageError, match="sets=90"):
        PredictionSets(answers, 90)
