"""Faithfulness of explanations: whether the answer depends on what an explanation names, measured by taking it away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marey.errors import UsageError

Floats = npt.NDArray[np.float64]
AnswerOf = Callable[[npt.NDArray[np.bool_]], npt.NDArray[Any]]
"""Function from the parts that are kept, bool (N, P), to the probability of the explained class, (N,)."""

RANDOM_ORDERS: Final = 16


@dataclass(frozen=True)
class Faithfulness:
    """Curves of the probability of a class while parts of a clip are taken away, or put back.

    In a deletion the parts with the largest contributions go first, in an insertion they come first (Petsiuk et al.
    2018, "RISE"). An explanation is faithful if its deletion is lower, and its insertion higher, than those of random
    orders of the same parts.

    Attributes:
        deletion: probability with 0, 1, ... P parts taken away, (P + 1,).
        insertion: probability with 0, 1, ... P parts put back, (P + 1,).
        random_deletion: the mean of the deletions of random orders, (P + 1,).
        random_insertion: the mean of their insertions, (P + 1,).
    """

    deletion: Floats
    insertion: Floats
    random_deletion: Floats
    random_insertion: Floats

    @property
    def deletion_area(self) -> float:
        """Area under the deletion curve, from 0 to 1: the lower, the more faithful."""
        return area(self.deletion)

    @property
    def insertion_area(self) -> float:
        """Area under the insertion curve, from 0 to 1: the higher, the more faithful."""
        return area(self.insertion)

    @property
    def random_deletion_area(self) -> float:
        """The same of random orders."""
        return area(self.random_deletion)

    @property
    def random_insertion_area(self) -> float:
        """The same of random orders."""
        return area(self.random_insertion)

    @property
    def gain(self) -> float:
        """Insertion less deletion, less the same of random orders: 0 for an explanation that says nothing."""
        return (self.insertion_area - self.deletion_area) - (self.random_insertion_area - self.random_deletion_area)


def faithfulness(
    answer_of: AnswerOf,
    contributions: Sequence[float] | npt.NDArray[Any],
    *,
    orders: int = RANDOM_ORDERS,
    seed: int = 0,
) -> Faithfulness:
    """Return the deletion and the insertion curve of an explanation, and those of random orders.

    Args:
        answer_of: function from the parts that are kept, bool (N, P), to the probability of the explained class, (N,);
            called once. It decides what stands in the place of a part that is not kept.
        contributions: of the P parts to that class.
        orders: number of random orders.
        seed: of their generator.

    Raises:
        UsageError: no parts, contributions that are not finite, or no random order.
    """
    values = np.asarray(contributions, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise UsageError(f"contributions have to be finite numbers, one a part, not an array of shape {values.shape}")
    if orders < 1:
        raise UsageError(f"orders={orders}: an explanation is compared with at least one random order")
    generator = np.random.default_rng(seed)
    count = len(values)
    ranked = [np.argsort(-values, kind="stable"), *(generator.permutation(count) for _ in range(orders))]
    # Row k of a deletion has lost the first k parts of an order, row k of an insertion has only those.
    places = np.stack([np.argsort(order) for order in ranked])
    inserted = places[:, None, :] < np.arange(count + 1)[None, :, None]
    kept = np.concatenate([~inserted, inserted])
    found = np.asarray(answer_of(kept.reshape(-1, count)), dtype=np.float64).reshape(len(kept), count + 1)
    deletion, insertion = found[: len(ranked)], found[len(ranked) :]
    return Faithfulness(deletion[0], insertion[0], deletion[1:].mean(0), insertion[1:].mean(0))


def area(curve: Floats) -> float:
    """Return the area under a curve of evenly spaced values over [0, 1], by trapezoids."""
    return float((curve[:-1] + curve[1:]).mean() / 2)
