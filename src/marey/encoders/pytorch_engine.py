"""PyTorch, on the processor or on a GPU."""

from __future__ import annotations

from copy import deepcopy
from typing import ClassVar, Final

import torch
from torch import Tensor

from marey.encoders.engine import Engine, one_core
from marey.encoders.folding import fold_norms
from marey.encoders.frozen import FrozenNetwork
from marey.encoders.memory import keep_freed_memory

_PICTURES: Final = 8  # a piece; more is no faster, and takes more memory
_PICTURES_GPU: Final = 128


class PyTorchEngine(Engine):
    """Channels last, batch normalisation folded into the convolutions.

    Args:
        network: taken over: nobody else may use it afterwards.
    """

    name: ClassVar[str] = "pytorch"

    def __init__(self, network: FrozenNetwork) -> None:
        keep_freed_memory()
        clips = len(network.shape) == 4
        self.largest = 1 if clips else _PICTURES
        if network.spec.precision == "bfloat16":
            network = deepcopy(network).to(torch.bfloat16)
        else:
            with one_core():
                fold_norms(network, torch.zeros(1, *network.shape, dtype=torch.uint8))
        self._network = network if clips else network.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def compute(self, piece: Tensor, *, cores: int) -> Tensor:
        """Features of one piece, on as many cores as PyTorch has threads in the thread that calls."""
        found: Tensor = self._network(piece)
        return found


class CudaEngine(Engine):
    """PyTorch on a GPU. Float32 is float32 there: TF32, which keeps 10 bits of 23, is off while it runs."""

    name: ClassVar[str] = "cuda"

    def __init__(self, network: FrozenNetwork, device: torch.device) -> None:
        clips = len(network.shape) == 4
        self.largest = 1 if clips else _PICTURES_GPU
        self._device = device
        exact = network.spec.precision == "float32"
        network = deepcopy(network).to(device, torch.float32 if exact else torch.bfloat16)
        self._network = network if clips else network.to(memory_format=torch.channels_last)

    def run(self, batch: Tensor) -> Tensor:
        """Features of a batch, piece after piece: the cores of the processor do not matter here."""
        return torch.cat([self.compute(piece, cores=1) for piece in batch.split(self.largest)])

    @torch.inference_mode()
    def compute(self, piece: Tensor, *, cores: int) -> Tensor:
        """Features of one piece."""
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found: Tensor = self._network(piece.to(self._device)).cpu()
        return found
