"""Cost of a model: parameters, floating-point operations, speed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a recipe.

    Attributes:
        trained: parameters that training changes.
        frozen: parameters that it does not.
        flops: floating-point operations a clip: encoder and classifier, two for each multiplication and addition.
        clips_per_second: from file to probabilities, measured; None where it was not.
        measured_on: how many clips.
        device: "cpu" or "cuda".
    """

    trained: int
    frozen: int
    flops: int
    clips_per_second: float | None
    measured_on: int
    device: str


def count_flops(call: Callable[[], object]) -> int:
    """Count the floating-point operations of a call on the CPU: two for each multiplication and addition.

    Matrix products, convolutions, attention and recurrent layers are counted, by `torch.utils.flop_counter`;
    normalisation, activation, pooling and decoding are not.

    Args:
        call: what to count; it is run once, on this thread.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    layers = {torch.ops.aten.mkldnn_rnn_layer: _recurrent_layer}
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # the counter does not look into fused transformer layers
        with FlopCounterMode(display=False, custom_mapping=layers) as counter, sdpa_kernel(SDPBackend.MATH):
            call()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return int(counter.get_total_flops())


def _recurrent_layer(steps: Any, inputs: Any, recurrent: Any, *_: Any, **__: Any) -> int:
    """Count one direction of oneDNN's LSTM, from shapes: (T, B, D), (gates H, D), (gates H, H)."""
    return int(2 * steps[0] * steps[1] * (prod(inputs) + prod(recurrent)))
