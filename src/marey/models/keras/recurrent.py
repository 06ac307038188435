"""Recurrent layers of Keras: LSTM, GRU, both directions, and the convolutional LSTM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from marey.models.keras.activations import activation_of
from marey.models.keras.layers import KINDS, KerasLayer, Settings, Shape, check_rank, convolve, layer_kind, spread


class _Recurrent(KerasLayer):
    """A layer that reads (N, T, D) frame by frame."""

    gates: ClassVar[int]
    settings: ClassVar[Settings] = {
        "units": 1,
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "return_sequences": False,
        "go_backwards": False,
    }
    fixed: ClassVar[Settings] = {"stateful": False, "return_state": False, "time_major": False}

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Shape]:
        dim = check_rank(inputs, 2)[-1]
        units, wide = self.options["units"], self.gates * self.options["units"]
        found = {"kernel": (dim, wide), "recurrent_kernel": (units, wide)}
        return found | ({"bias": self._bias(wide)} if self.options["use_bias"] else {})

    def _bias(self, wide: int) -> Shape:
        return (wide,)

    def forward(self, values: Tensor) -> Tensor:
        """Return the last state (N, units), or all of them (N, T, units), in the order in which they were reached."""
        ordered = values.flip(1) if self.options["go_backwards"] else values
        found = torch.stack(self._states(ordered), dim=1)
        return found if self.options["return_sequences"] else found[:, -1]

    def _states(self, values: Tensor) -> list[Tensor]:
        raise NotImplementedError  # pragma: no cover


@layer_kind("LSTM")
class LSTM(_Recurrent):
    """Long short-term memory; the gates stand in the order in, forget, cell, out."""

    gates = 4

    def _states(self, values: Tensor) -> list[Tensor]:
        inputs = values @ self.weight("kernel")
        inputs = inputs + self.weight("bias") if self.options["use_bias"] else inputs
        gate, act = (activation_of(self.options[key]) for key in ("recurrent_activation", "activation"))
        state = cell = inputs.new_zeros(len(values), self.options["units"])
        states = []
        for each in inputs.unbind(1):
            enter, forget, write, leave = (each + state @ self.weight("recurrent_kernel")).chunk(4, dim=-1)
            cell = gate(forget) * cell + gate(enter) * act(write)
            state = gate(leave) * act(cell)
            states.append(state)
        return states


@layer_kind("GRU")
class GRU(_Recurrent):
    """Gated recurrent unit; the gates stand in the order update, reset, new.

    With `reset_after` the state is multiplied by its weights first and reset then, and has biases of its own.
    """

    gates = 3
    settings: ClassVar[Settings] = {**_Recurrent.settings, "reset_after": True}

    def _bias(self, wide: int) -> Shape:
        return (2, wide) if self.options["reset_after"] else (wide,)

    def _states(self, values: Tensor) -> list[Tensor]:
        kernel, units, after = self.weight("recurrent_kernel"), self.options["units"], self.options["reset_after"]
        inputs = values @ self.weight("kernel")
        of_state: Tensor | float = 0.0
        if self.options["use_bias"]:
            bias = self.weight("bias")
            inputs = inputs + (bias[0] if after else bias)
            of_state = bias[1] if after else 0.0
        gate, act = (activation_of(self.options[key]) for key in ("recurrent_activation", "activation"))
        state = inputs.new_zeros(len(values), units)
        states = []
        for each in inputs.unbind(1):
            update_in, reset_in, new_in = each.chunk(3, dim=-1)
            if after:
                update, reset, new = (state @ kernel + of_state).chunk(3, dim=-1)
                new = gate(reset_in + reset) * new
            else:
                update, reset = (state @ kernel[:, : 2 * units]).chunk(2, dim=-1)
                new = (gate(reset_in + reset) * state) @ kernel[:, 2 * units :]
            share = gate(update_in + update)
            state = share * state + (1 - share) * act(new_in + new)
            states.append(state)
        return states


@layer_kind("Bidirectional")
class Bidirectional(KerasLayer):
    """A recurrent layer in both directions; `layer` is its kind, `onward` and `backward` are its settings."""

    settings: ClassVar[Settings] = {"layer": "LSTM", "onward": {}, "backward": {}, "merge_mode": "concat"}

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        nn.Module.__init__(self)
        self.options = {**self.settings, **settings}
        inner = KINDS.get(self.options["layer"])
        if inner is None or not issubclass(inner, _Recurrent):
            raise ValueError(f"it holds a {self.options['layer']}, and LSTM and GRU are supported in both directions")
        if self.options["merge_mode"] not in ("concat", "sum", "mul", "ave"):
            raise ValueError(f"merge_mode {self.options['merge_mode']}: concat, sum, mul and ave are supported")
        self.ways = nn.ModuleDict({way: inner(self.options[way], inputs) for way in ("onward", "backward")})
        self.wanted = {f"{way}.{name}": shape for way, layer in self._each() for name, shape in layer.wanted.items()}

    def _each(self) -> Iterator[tuple[str, KerasLayer]]:
        for way, layer in self.ways.items():
            yield way, cast(KerasLayer, layer)

    def state(self, name: str, values: Tensor) -> tuple[str, Tensor]:
        """Return a weight by its name in the state of this module."""
        return f"ways.{name}", values

    def forward(self, values: Tensor) -> Tensor:
        """Return both directions together, (N, D) or (N, T, D) in the order of time."""
        found = []
        for _, layer in self._each():
            states: Tensor = layer(values)
            back = layer.options["go_backwards"] and layer.options["return_sequences"]
            found.append(states.flip(1) if back else states)
        merge = self.options["merge_mode"]
        if merge == "concat":
            return torch.cat(found, dim=-1)
        return found[0] * found[1] if merge == "mul" else (found[0] + found[1]) / (2 if merge == "ave" else 1)


@layer_kind("ConvLSTM2D")
class ConvLSTM2D(KerasLayer):
    """LSTM whose state is an image (Shi et al. 2015), as Keras has it: without peepholes."""

    settings: ClassVar[Settings] = {
        "filters": 1,
        "kernel_size": 3,
        "strides": 1,
        "padding": "valid",
        "dilation_rate": 1,
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "return_sequences": False,
    }
    fixed: ClassVar[Settings] = {
        "stateful": False,
        "return_state": False,
        "go_backwards": False,
        "data_format": "channels_last",
    }

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Shape]:
        """Return kernel, recurrent kernel and bias."""
        channels = check_rank(inputs, 4)[-1]
        filters, size = self.options["filters"], spread(self.options["kernel_size"], 2)
        found = {"kernel": (*size, channels, 4 * filters), "recurrent_kernel": (*size, filters, 4 * filters)}
        return found | ({"bias": (4 * filters,)} if self.options["use_bias"] else {})

    def stored(self, name: str, shape: Shape) -> Shape:
        """Return PyTorch's order of axes for kernels."""
        return shape if name == "bias" else (shape[3], shape[2], *shape[:2])

    def converted(self, name: str, values: Tensor) -> Tensor:
        """Return a weight in that order."""
        return values if name == "bias" else values.permute(3, 2, 0, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Return the last state (N, H', W', F), or all of them (N, T, H', W', F)."""
        options = self.options
        images = values.flatten(0, 1).movedim(-1, 1)
        bias = self.weight("bias") if options["use_bias"] else None
        inputs = convolve(images, self.weight("kernel"), bias, options, 2).unflatten(0, values.shape[:2])
        gate, act = (activation_of(options[key]) for key in ("recurrent_activation", "activation"))
        inside = {**options, "padding": "same", "strides": 1}
        state = cell = inputs.new_zeros(len(values), options["filters"], *inputs.shape[-2:])
        states = []
        for each in inputs.unbind(1):
            gates = each + convolve(state, self.weight("recurrent_kernel"), None, inside, 2)
            enter, forget, write, leave = gates.chunk(4, dim=1)
            cell = gate(forget) * cell + gate(enter) * act(write)
            state = gate(leave) * act(cell)
            states.append(state.movedim(1, -1))
        return torch.stack(states, dim=1) if options["return_sequences"] else states[-1]
