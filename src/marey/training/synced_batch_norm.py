"""Batch normalization over the clips of all processes.

`torch.nn.SyncBatchNorm` runs on GPUs only, and each process must have clips in each batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from marey.training.process_group import ProcessGroup


class _Sum(torch.autograd.Function):
    """Sum of a tensor over the processes; its gradient is that of all their losses."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


class _SyncedBatchNorm(_BatchNorm):
    """Batch normalization (Ioffe and Szegedy 2015) with mean and variance of the whole batch.

    Args:
        own: the layer whose parameters and statistics it shares.
        group: the processes.
    """

    def __init__(self, own: _BatchNorm, group: ProcessGroup) -> None:
        super().__init__(own.num_features, own.eps, own.momentum, own.affine, own.track_running_stats)
        self._parameters, self._buffers = own._parameters, own._buffers
        self._group = group
        self.training = own.training

    def _check_input_dim(self, input: Tensor) -> None:
        """Take what the layer itself takes."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (B, C, ...)."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        axes = [0, *range(2, values.ndim)]
        shape = (1, -1, *[1] * (values.ndim - 2))
        share = 1.0 if self._group.has_clips else 0.0
        count = values.new_full((1,), values.numel() / values.shape[1])
        sums = _Sum.apply(torch.cat([values.sum(axes), count]) * share)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean.view(shape)
        variance = _Sum.apply((centred * centred).sum(axes) * share) / count
        if self.running_mean is not None and self.running_var is not None:
            momentum = self.momentum
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
                if momentum is None:
                    momentum = 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean.detach(), momentum or 0.0)
            self.running_var.lerp_(variance.detach() * count / (count - 1), momentum or 0.0)
        normal: Tensor = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(input.dtype)


@contextmanager
def synced_batch_norm(module: nn.Module, group: ProcessGroup | None) -> Iterator[None]:
    """Put batch normalization over all processes into a module, inside the `with`.

    Parameters and statistics are those of the module's own layers.
    """
    replaced = []
    if group is not None:
        for parent in list(module.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, _BatchNorm):
                    replaced.append((parent, name, child))
    for parent, name, child in replaced:
        setattr(parent, name, _SyncedBatchNorm(child, group))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for parent, name, child in replaced:
            child.train(getattr(parent, name).training)
            setattr(parent, name, child)
