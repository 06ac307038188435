"""How the learning rate goes over the steps of a training, as factors of its highest value."""

from __future__ import annotations

import math
from collections.abc import Callable


def warmup_cosine(warmup: int, steps: int) -> Callable[[int], float]:
    """Linear from near zero over `warmup` steps, then half a cosine to zero at `steps` (Loshchilov and Hutter 2017)."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def warmup_only(warmup: int) -> Callable[[int], float]:
    """Linear from near zero over `warmup` steps, then level."""
    return lambda step: min(1.0, (step + 1) / (warmup + 1))
