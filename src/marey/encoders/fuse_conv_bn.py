"""Fusion of batch normalisation into the convolution before it; outputs stay the same."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

TOLERANCE: Final = 1e-4  # of the deviation of the features: the rounding of float32 sums in another order

_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def fuse_conv_bn(module: nn.Module, example: Tensor) -> int:
    """Fuse each batch normalisation whose input is the output of one convolution.

    Pairs are found with hooks in one forward pass, because symbolic tracing fails where padding depends on the input.
    Where the output for the example changes by more than `TOLERANCE`, another layer reads a convolution, and the
    module is left as it was.

    Args:
        module: in evaluation mode; changed in place.
        example: an input.

    Returns:
        Number of fused pairs.
    """
    if not any(isinstance(part, _NORMS) for part in module.modules()):
        return 0
    before = module(example)
    pairs = _pairs(module, example)
    places = {norm: place for place in _places(module) for norm in [getattr(*place)]}
    kept = [(convolution, convolution.weight, convolution.bias, norm) for convolution, norm in pairs]
    for convolution, norm in pairs:
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        convolution.requires_grad_(False)
        setattr(*places[norm], _after(norm))
    change = (module(example) - before).abs().max()
    if change <= TOLERANCE * before.std():
        return len(pairs)
    for convolution, weight, bias, norm in kept:
        convolution.weight, convolution.bias = weight, bias
        setattr(*places[norm], norm)
    return 0


def _pairs(module: nn.Module, example: Tensor) -> list[tuple[Any, Any]]:
    """Return convolutions with the normalisation that reads them; those that run or are read twice are left out."""
    made: dict[int, tuple[nn.Module, Tensor]] = {}  # tensors are held, so that none takes the place of another
    runs: dict[nn.Module, int] = {}
    found: list[tuple[nn.Module, nn.Module]] = []

    def convolved(convolution: nn.Module, _: Any, output: Tensor) -> None:
        runs[convolution] = runs.get(convolution, 0) + 1
        made[id(output)] = convolution, output

    def normalises(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        runs[norm] = runs.get(norm, 0) + 1
        if id(inputs[0]) in made:
            found.append((made[id(inputs[0])][0], norm))

    parts = list(module.modules())
    hooks = [part.register_forward_hook(convolved) for part in parts if isinstance(part, _CONVOLUTIONS)]
    hooks += [
        part.register_forward_pre_hook(normalises)
        for part in parts
        if isinstance(part, _NORMS) and part.running_mean is not None
    ]
    try:
        module(example)
    finally:
        for hook in hooks:
            hook.remove()
    read = [convolution for convolution, _ in found]
    return [(conv, norm) for conv, norm in found if runs[conv] == runs[norm] == read.count(conv) == 1]


def _places(module: nn.Module) -> list[tuple[nn.Module, str]]:
    return [(parent, name) for parent in module.modules() for name, _ in parent.named_children()]


def _after(norm: nn.Module) -> nn.Module:
    """Return the rest of a fused normalisation: nothing, or the activation that timm keeps in it."""
    left = [part for _, part in norm.named_children() if not isinstance(part, nn.Identity)]
    return nn.Sequential(*left) if left else nn.Identity()
