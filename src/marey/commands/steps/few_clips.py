"""Classes with so few clips that what is known of them is rough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FEW: Final = 5
"""Clips of a class below which a training says so."""


def few_clips(counts: Mapping[str, int]) -> str | None:
    """Return a sentence on the classes with fewer than `FEW` clips; None where there are none.

    Args:
        counts: label -> number of its clips.
    """
    few = {label: count for label, count in counts.items() if count < FEW}
    if not few:
        return None
    named = ", ".join(f"'{label}' ({count})" for label, count in few.items())
    return (
        f"fewer than {FEW} clips: {named}; so few can be learnt from, but each of them counts for much, and how often "
        "the model is right on them is hardly known: add clips, of other people and places if you can"
    )
