"""Classes in the order in which a model believes in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def ranked(labels: Sequence[str], probabilities: Iterable[float]) -> tuple[tuple[str, float], ...]:
    """The classes with their probabilities, most probable first; of equal ones, the first that the model names.

    Args:
        labels: the classes, in the order of the model's outputs.
        probabilities: of those, in the same order.
    """
    pairs = zip(labels, map(float, probabilities), strict=True)
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))
