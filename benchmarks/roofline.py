"""What a device can do at most: its largest matrix product and its copy, and what a network costs at these speeds.

The roofline model (Williams, Waterman and Patterson 2009), layer by layer: a layer takes at least its operations at the
speed of the matrix product, and at least its bytes at the speed of a copy.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from marey.evaluation import count_flops

_SIDES: Final = (4096, 8192, 16384)  # of square matrices
_SIDES_QUICK: Final = (512, 1024)
_COPIED: Final = 1 << 30  # bytes
_COPIED_QUICK: Final = 1 << 26
_RUNS: Final = 5


@dataclass(frozen=True, slots=True)
class Roofline:
    """The speeds of a device.

    Attributes:
        product: floating-point operations a second of the fastest matrix product, bfloat16.
        copy: bytes a second, read and written, of a copy within its memory.
    """

    product: float
    copy: float

    def seconds(self, network: nn.Module, batch: Tensor, *, width: int = 2) -> float:
        """Return the seconds that a forward pass takes at least.

        Layers with weights are counted one by one, with their input, output and weights read or written once; what is
        between them is taken as fused into them. Products without weights, as in attention, count by operations alone.

        Args:
            network: on the device of the batch.
            batch: its input.
            width: bytes of a number.
        """
        least, counted = 0.0, 0

        def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal least, counted
            weight = layer.weight
            assert isinstance(weight, Tensor)  # noqa: S101 - of these layers it is one
            flops = 2 * output.numel() * weight.numel() // weight.shape[0]
            moved = width * (inputs[0].numel() + output.numel() + weight.numel())
            least += max(flops / self.product, moved / self.copy)
            counted += flops

        layers = [each for each in network.modules() if isinstance(each, nn.Linear | nn.Conv2d | nn.Conv3d)]
        hooks = [layer.register_forward_hook(add) for layer in layers]
        try:
            total = count_flops(lambda: network(batch))
        finally:
            for hook in hooks:
                hook.remove()
        return least + max(0, total - counted) / self.product


def measure_roofline(device: torch.device, *, quick: bool) -> Roofline:
    """Measure the product and the copy of a device, the best of several sizes and the median of their runs."""
    product = 0.0
    for side in _SIDES_QUICK if quick else _SIDES:
        left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
        product = max(product, 2 * side**3 / timed(lambda a=left, b=right: a @ b, device))  # type: ignore[misc]
    source = torch.zeros(_COPIED_QUICK if quick else _COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Roofline(product, 2 * source.numel() / timed(lambda: target.copy_(source), device))


def timed(work: Callable[[], object], device: torch.device, *, least: float = 0.05) -> float:
    """Return the median seconds of a call, warmed up, each run repeated until it takes `least` seconds."""
    for _ in range(3):
        work()
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    count = max(1, math.ceil(least / max(time.perf_counter() - began, 1e-6)))
    runs = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        for _ in range(count):
            work()
        wait(device)
        runs.append((time.perf_counter() - began) / count)
    return statistics.median(runs)


def wait(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
