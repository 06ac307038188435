"""ONNX Runtime, on the CPU."""

from __future__ import annotations

from threading import Lock
from typing import Any, ClassVar

import torch
from torch import Tensor

from marey.encoders.backbone import FrozenBackbone
from marey.encoders.engine import Engine
from marey.encoders.onnx_export import onnx_bytes
from marey.errors import UsageError
from marey.extras import install_command

_ERRORS = 3  # the level of its own log


class OnnxRuntimeEngine(Engine):
    """A session for one input at a time on one core, shared by threads; sessions for more cores are made when needed.

    Args:
        network: float32.

    Raises:
        UsageError: it is not installed, cannot run the network, or lacks the precision.
    """

    name: ClassVar[str] = "onnxruntime"

    def __init__(self, network: FrozenBackbone) -> None:
        if network.spec.precision != "float32":
            raise UsageError(
                f"onnxruntime computes in float32 here, not in {network.spec.precision}: take "
                "encoder.precision=float32, or --engine pytorch"
            )
        self._data = onnx_bytes(network)
        self._lock = Lock()
        self._sessions: dict[int, Any] = {}
        try:
            self._session(1)
        except RuntimeError as error:
            raise UsageError(f"onnxruntime cannot run {network.spec.name} ({error}): take --engine pytorch") from error

    def compute(self, piece: Tensor, *, cores: int) -> Tensor:
        """Return the features of one input."""
        (features,) = self._session(cores).run(None, {"x": piece.contiguous().numpy()})
        return torch.from_numpy(features)

    def _session(self, cores: int) -> Any:
        with self._lock:
            if cores not in self._sessions:
                self._sessions[cores] = open_session(self._data, cores)
            return self._sessions[cores]


def open_session(data: bytes, cores: int) -> Any:
    """Return a session of ONNX Runtime on the CPU.

    Args:
        data: the ONNX model.
        cores: that it computes on.

    Raises:
        UsageError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(f"the engine onnxruntime is not installed: {install_command('fast')}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # decoding needs the same cores
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
