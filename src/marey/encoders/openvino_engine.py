"""OpenVINO, on the CPU."""

from __future__ import annotations

from collections import defaultdict, deque
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Final

import torch
from torch import Tensor

from marey.cores import usable_cores
from marey.encoders.backbone import FrozenBackbone
from marey.encoders.engine import Engine
from marey.encoders.onnx_export import onnx_bytes
from marey.errors import UsageError
from marey.extras import install_command

if TYPE_CHECKING:
    import openvino


_FIRST: Final = Lock()  # two threads that pass the first array of a process at once deadlock


class OpenVINOEngine(Engine):
    """A model of OpenVINO, for one input at a time.

    It has a stream a core; a second form, for one input on all cores, is compiled when it is first needed.

    Args:
        model: uint8 (1, ...) to float32 (1, ...).
        precision: of the arithmetic, where the model does not fix it: "f32" or "bf16".
    """

    name: ClassVar[str] = "openvino"

    def __init__(self, model: openvino.Model, *, precision: str) -> None:
        self._model = model
        self._precision = precision
        self._lock = Lock()
        self._compiled: dict[int, Any] = {}
        self._idle: defaultdict[int, deque[Any]] = defaultdict(deque)
        with _FIRST:
            self.compute(torch.zeros(*model.inputs[0].shape, dtype=torch.uint8), cores=1)

    def compute(self, piece: Tensor, *, cores: int) -> Tensor:
        """Return the features of one input."""
        request = self._request(cores)
        request.infer([piece.contiguous().numpy()], share_inputs=True)
        features = torch.from_numpy(request.get_output_tensor(0).data.copy())
        self._idle[cores].append(request)
        return features

    def _request(self, cores: int) -> Any:
        """Return a free request: there are as many as threads have called at once."""
        with self._lock:
            if self._idle[cores]:
                return self._idle[cores].pop()
            if cores not in self._compiled:
                self._compiled[cores] = self._compile(cores)
        return self._compiled[cores].create_infer_request()

    def _compile(self, cores: int) -> Any:
        return core().compile_model(
            self._model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": self._precision,
                "INFERENCE_NUM_THREADS": usable_cores() if cores == 1 else cores,
                "NUM_STREAMS": usable_cores() if cores == 1 else 1,
                "ENABLE_CPU_PINNING": False,  # decoding needs the same cores
            },
        )


def start_openvino(network: FrozenBackbone) -> OpenVINOEngine:
    """Return the network on OpenVINO.

    Raises:
        UsageError: it cannot be converted, or the CPU lacks the precision.
    """
    precision = network.spec.precision
    if precision == "bfloat16" and "BF16" not in capabilities():
        raise UsageError(
            "this CPU has no bfloat16, and openvino does not imitate it: take encoder.precision=float32, or "
            "--engine pytorch"
        )
    try:
        model = core().read_model(onnx_bytes(network), b"")
        return OpenVINOEngine(model, precision="bf16" if precision == "bfloat16" else "f32")
    except RuntimeError as error:
        raise UsageError(
            f"openvino cannot run {network.spec.name} ({last_line(error)}): take --engine pytorch"
        ) from error


@cache
def core() -> openvino.Core:
    """Return OpenVINO itself: its import and its search for devices take a moment.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise UsageError(f"the engine openvino is not installed: {install_command('fast')}") from error
    return openvino.Core()


def capabilities() -> tuple[str, ...]:
    """Return the precisions of the CPU: "FP32", "INT8", and "BF16" on some."""
    return tuple(core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def last_line(error: Exception) -> str:
    """Return the last line of an error's text; OpenVINO's begin with the place in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
