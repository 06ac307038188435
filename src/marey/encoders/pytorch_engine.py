"""PyTorch, on the CPU or on a GPU."""

from __future__ import annotations

from copy import deepcopy
from typing import ClassVar, Final

import torch
from torch import Tensor

from marey.encoders.backbone import FrozenBackbone
from marey.encoders.engine import Engine, one_core
from marey.encoders.fuse_conv_bn import fuse_conv_bn
from marey.encoders.malloc import tune_malloc

_IMAGES: Final = 8  # a piece; more is no faster, and takes more memory
_IMAGES_GPU: Final = 128


class PyTorchEngine(Engine):
    """Channels last, batch normalisation fused into the convolutions.

    Args:
        network: changed in place; do not use it afterwards.
    """

    name: ClassVar[str] = "pytorch"

    def __init__(self, network: FrozenBackbone) -> None:
        tune_malloc()
        clips = len(network.shape) == 4
        self.largest = 1 if clips else _IMAGES
        if network.spec.precision == "bfloat16":
            network = deepcopy(network).to(torch.bfloat16)
        else:
            with one_core():
                fuse_conv_bn(network, torch.zeros(1, *network.shape, dtype=torch.uint8))
        self._network = network if clips else network.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def compute(self, piece: Tensor, *, cores: int) -> Tensor:
        """Return the features of one piece, on as many cores as PyTorch has threads in the calling thread."""
        found: Tensor = self._network(piece)
        return found


class CudaEngine(Engine):
    """PyTorch on a GPU, in full float32: TF32, which keeps 10 bits of 23, is off while it runs."""

    name: ClassVar[str] = "cuda"

    def __init__(self, network: FrozenBackbone, device: torch.device) -> None:
        clips = len(network.shape) == 4
        self.largest = 1 if clips else _IMAGES_GPU
        self._device = device
        exact = network.spec.precision == "float32"
        network = deepcopy(network).to(device, torch.float32 if exact else torch.bfloat16)
        self._network = network if clips else network.to(memory_format=torch.channels_last)

    def run(self, batch: Tensor) -> Tensor:
        """Return the features of a batch, piece after piece."""
        return torch.cat([self.compute(piece, cores=1) for piece in batch.split(self.largest)])

    @torch.inference_mode()
    def compute(self, piece: Tensor, *, cores: int) -> Tensor:
        """Return the features of one piece."""
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found: Tensor = self._network(piece.to(self._device)).cpu()
        return found
