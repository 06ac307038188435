"""Encoders in int8: calibrated on clips by NNCF, run by OpenVINO, kept in two files beside a model."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

import torch
from torch import Tensor

from marey.encoders.backbone import FrozenBackbone
from marey.encoders.contract import Contract, EncoderSpec
from marey.encoders.encoder import Encoder
from marey.encoders.engine import engine_name
from marey.encoders.onnx_export import onnx_bytes
from marey.encoders.openvino_engine import OpenVINOEngine, core, last_line
from marey.encoders.registry import Architecture, EncoderFamily, WeightsOrigin, family_of, register_encoder
from marey.errors import ModelFormatError, UsageError
from marey.extras import install_command

if TYPE_CHECKING:
    import openvino

ENCODER_FILES: Final = ("encoder.xml", "encoder.bin")
"""Files of an int8 encoder in a model folder: OpenVINO's description of the network, and its weights."""

_LARGEST: Final = 2**31  # bytes of a file that is read from an untrusted folder


@dataclass(frozen=True)
class QuantisedNetwork:
    """A network in int8 as the bytes of its files: the bytes that are hashed are those that are run.

    Attributes:
        xml: OpenVINO's description of it.
        weights: all of its numbers.
    """

    xml: bytes
    weights: bytes

    @cached_property
    def hash(self) -> str:
        """BLAKE2b-128 of both files."""
        digest = hashlib.blake2b(digest_size=16)
        for data in (self.xml, self.weights):
            digest.update(len(data).to_bytes(8, "little") + data)
        return digest.hexdigest()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the files of a model folder.

        Raises:
            ModelFormatError: one of them is missing, lies elsewhere, or is too large.
        """
        return cls(*(_read(folder / name) for name in ENCODER_FILES))

    def write(self, folder: Path) -> None:
        """Write the files into a folder."""
        for name, data in zip(ENCODER_FILES, (self.xml, self.weights), strict=True):
            (folder / name).write_bytes(data)


class QuantisedEncoder(Encoder):
    """A frame encoder in int8; OpenVINO runs it, on the CPU.

    Args:
        network: from the model's folder.
        contract: of the model.
        engine: "openvino" or "auto".

    Raises:
        ModelFormatError: the files are not those that the contract names.
        UsageError: OpenVINO is not installed, or another engine is named.
    """

    per_image = True

    def __init__(self, network: QuantisedNetwork, contract: Contract, *, engine: str | None = None) -> None:
        super().__init__()
        if engine is not None and engine_name(engine) not in ("auto", "openvino"):
            raise UsageError(f"a model in int8 runs on openvino, and not on {engine}: leave --engine out")
        if network.hash != contract.encoder_hash:
            raise ModelFormatError(
                f"the int8 encoder's files have the hash {network.hash}, and the model was made with "
                f"{contract.encoder_hash}: they were changed or damaged; copy the model again"
            )
        self.load_from_contract(contract)
        self._engine = _open(network, contract)
        self.engine = self._engine.name


@register_encoder(precision="int8")
class QuantisedFamily(EncoderFamily):
    """Encoders in int8; they lie beside the model that they belong to, and `ActionModel.load_encoder` loads them."""

    per_image = True

    def load(self, spec: EncoderSpec, *, frames: int, device: str | torch.device, engine: str | None) -> NoReturn:
        """Refuse: a name and a precision do not say which."""
        raise UsageError("int8 is made of a trained run: `marey quantize RUN DATA` writes a model that has it")

    def meta(self, spec: EncoderSpec, *, frames: int) -> Architecture:
        """Return the network in float32."""
        spec = spec.model_copy(update={"precision": "float32"})
        return family_of(spec).meta(spec, frames=frames)

    def origin(self, name: str, weights: str) -> WeightsOrigin:
        """Return where the weights in float32 came from."""
        return family_of(EncoderSpec(name=name)).origin(name, weights)


def quantise_network(network: FrozenBackbone, images: Tensor) -> QuantisedNetwork:
    """Put a network into int8, with activation ranges of the given images (Jacob et al. 2018).

    Args:
        network: float32, of one image.
        images: uint8 (N, 3, H, W), calibration data; 300 are enough.

    Raises:
        UsageError: OpenVINO or NNCF is not installed, or they cannot put this network into int8.
    """
    model = core().read_model(onnx_bytes(network), b"")
    nncf = _nncf()
    import openvino

    try:
        with _silence():
            quantised = nncf.quantize(
                model,
                nncf.Dataset([image.unsqueeze(0).numpy() for image in images]),
                subset_size=len(images),
                # These are as fast in float32, and cause a quarter of the error in int8.
                ignored_scope=nncf.IgnoredScope(names=_depthwise(model)),
                preset=nncf.QuantizationPreset.MIXED,  # after ReLU, ranges do not lie around zero
                # Weights of 7 bits: on CPUs without VNNI, sums of products of 8 bits overflow.
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    overflow_fix=nncf.quantization.advanced_parameters.OverflowFix.ENABLE
                ),
            )
    except Exception as error:  # NNCF raises anything for an unknown layer
        raise UsageError(f"{network.spec.name} cannot be put into int8: {last_line(error)}") from error
    with tempfile.TemporaryDirectory(prefix="marey-") as folder:
        xml, weights = (Path(folder, name) for name in ENCODER_FILES)
        openvino.save_model(quantised, xml, compress_to_fp16=False)
        return QuantisedNetwork(xml.read_bytes(), weights.read_bytes())


def _depthwise(model: openvino.Model) -> list[str]:
    """Return the names of the depthwise convolutions: their weights are (channels, ., 1, ., .)."""
    grouped = [layer for layer in model.get_ordered_ops() if layer.get_type_name() == "GroupConvolution"]
    return [layer.get_friendly_name() for layer in grouped if layer.input(1).get_partial_shape()[2] == 1]


def _open(network: QuantisedNetwork, contract: Contract) -> OpenVINOEngine:
    try:
        model = core().read_model(network.xml, network.weights)
        (given,), (answer,) = model.inputs, model.outputs
        found = [str(given.element_type), [*given.shape], str(answer.element_type), [*answer.shape]]
    except (RuntimeError, ValueError) as error:
        raise ModelFormatError(f"the model's {ENCODER_FILES[0]} cannot be read: {last_line(error)}") from error
    wanted = ["<Type: 'uint8_t'>", [1, 3, *contract.size], "<Type: 'float32'>", [1, contract.dim]]
    if found != wanted:
        raise ModelFormatError(
            f"the model's {ENCODER_FILES[0]} takes and gives {found}, and its contract says {wanted}"
        )
    return OpenVINOEngine(model, precision="f32")


def _read(path: Path) -> bytes:
    if not path.is_file() or path.resolve().parent != path.parent.resolve():
        raise ModelFormatError(f"{path.parent} holds a model in int8, and its {path.name} is not there; copy it again")
    if path.stat().st_size > _LARGEST:
        raise ModelFormatError(f"{path} has {path.stat().st_size:,} bytes, and no encoder is so large")
    return path.read_bytes()


def _nncf() -> Any:
    os.environ.setdefault("NNCF_CI", "1")  # switches off its telemetry
    try:
        with _silence():
            import nncf
    except ImportError as error:
        raise UsageError(f"int8 needs the package nncf: {install_command('fast')}") from error
    return nncf


@contextmanager
def _silence() -> Iterator[None]:
    """Hide progress bars, advice and warnings of NNCF."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
