"""A frozen network as ONNX, for engines that are not PyTorch; kept in the cache, so that it is made once."""

from __future__ import annotations

import tempfile
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch

from marey.atomic import write_whole
from marey.data.hashing import bytes_hash, values_hash
from marey.encoders.cache import cache_home
from marey.encoders.frozen import FrozenNetwork
from marey.errors import UsageError, first_line

_FORMAT: Final = 1  # raised when the same network comes to be written in another way
_OPSET: Final = 18
_TOO_LONG: Final = ("mvit-v2-s",)  # the exporter works on it for minutes, and cannot be stopped


def onnx_bytes(network: FrozenNetwork) -> bytes:
    """The network for one input at a time, uint8 (1, *shape), as the bytes of an ONNX file.

    Args:
        network: float32.

    Raises:
        UsageError: the format has no words for it.
    """
    if network.spec.name in _TOO_LONG:
        raise UsageError(f"converting {network.spec.name} for another engine takes too long: take --engine pytorch")
    key = _key(network)
    folder = cache_home() / "engines"
    for path in folder.glob(f"{key}-*.onnx"):
        with suppress(OSError):
            data = path.read_bytes()
            if path.stem.partition("-")[2] == bytes_hash(data):
                return data
            path.unlink()  # damaged
    data = _convert(network)
    with suppress(OSError):  # where nothing can be kept, it is made again next time
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{key}-{bytes_hash(data)}.onnx", data)
    return data


def _convert(network: FrozenNetwork) -> bytes:
    example = torch.zeros(1, *network.shape, dtype=torch.uint8)
    with tempfile.TemporaryDirectory(prefix="marey-") as folder:
        path = Path(folder, "network.onnx")
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                # The older exporter: a tenth of the other's time, and no further package.
                torch.onnx.export(
                    network,
                    (example,),
                    path,
                    dynamo=False,
                    opset_version=_OPSET,
                    input_names=["x"],
                    output_names=["y"],
                )
        except Exception as error:  # whatever an operator that nobody has translated ends in
            raise UsageError(
                f"{network.spec.name} cannot be converted for another engine: {first_line(error)}; "
                "take --engine pytorch"
            ) from error
        return path.read_bytes()


def _key(network: FrozenNetwork) -> str:
    made_from = {
        "format": _FORMAT,
        "name": network.spec.name,
        "hash": network.hash,
        "grid": network.spec.grid,
        "shape": network.shape,
        "torch": version("torch"),
        "timm": version("timm"),
    }
    return values_hash(made_from)
