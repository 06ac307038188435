"""Export of a frozen network to ONNX, for engines other than PyTorch; kept in the cache."""

from __future__ import annotations

import tempfile
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch

from marey.atomic import write_atomic
from marey.data.hashing import bytes_hash, values_hash
from marey.encoders.backbone import FrozenBackbone
from marey.encoders.cache import cache_home
from marey.errors import UsageError, first_line

_FORMAT: Final = 1  # raised when the same network comes to be written in another way
_OPSET: Final = 18


def onnx_bytes(network: FrozenBackbone) -> bytes:
    """Return the network for one input at a time, uint8 (1, *shape), as the bytes of an ONNX file.

    Args:
        network: float32.

    Raises:
        UsageError: it cannot be exported.
    """
    if not network.exportable:
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
    with suppress(OSError):  # where nothing can be stored, it is made again next time
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / f"{key}-{bytes_hash(data)}.onnx", data)
    return data


def _convert(network: FrozenBackbone) -> bytes:
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
        except Exception as error:  # exporters raise anything for an unknown operator
            raise UsageError(
                f"{network.spec.name} cannot be converted for another engine: {first_line(error)}; "
                "take --engine pytorch"
            ) from error
        return path.read_bytes()


def _key(network: FrozenBackbone) -> str:
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
