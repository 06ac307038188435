"""Layers of Keras, for inference: the same numbers, in Keras's order of axes, with the channels last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from marey.models.keras.activations import activation_of

Shape = tuple[int, ...]
"""Shape of an input or output without its batch axis."""
Settings = Mapping[str, Any]
"""Keys of a layer's configuration."""
LayerType = TypeVar("LayerType", bound="type[KerasLayer]")

KINDS: Final[dict[str, type[KerasLayer]]] = {}
"""Keras's name of a class -> the layer."""


def layer_kind(name: str) -> Callable[[LayerType], LayerType]:
    """Register a layer under Keras's name of its class."""

    def register(layer: LayerType) -> LayerType:
        KINDS[name] = layer
        layer.kind = name
        return layer

    return register


class KerasLayer(nn.Module):
    """A layer: its settings, and the shapes of its weights as its inputs and settings ask for them.

    Attributes:
        kind: Keras's name of the class.
        settings: keys of its configuration that change what it computes, with their defaults.
        fixed: keys that it is refused with another value for.
    """

    kind: ClassVar[str]
    settings: ClassVar[Settings] = {}
    fixed: ClassVar[Settings] = {}

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__()
        self.options = {**self.settings, **settings}
        self.wanted = self.weights(inputs)
        for name, shape in self.wanted.items():
            empty = torch.empty(self.stored(name, shape))
            if name.startswith("moving_"):
                self.register_buffer(name, empty)
            else:
                self.register_parameter(name, nn.Parameter(empty))

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Shape]:
        """Return name -> shape of its weights in Keras, in Keras's order.

        Raises:
            ValueError: the inputs are of another shape than it takes.
        """
        return {}

    def stored(self, name: str, shape: Shape) -> Shape:
        """Return the shape in which a weight is kept here."""
        return shape

    def converted(self, name: str, values: Tensor) -> Tensor:
        """Return a weight of Keras as it is kept here."""
        return values

    def state(self, name: str, values: Tensor) -> tuple[str, Tensor]:
        """Return a weight of Keras by its name in the state of this module, as it is kept here."""
        return name, self.converted(name, values)

    def weight(self, name: str) -> Tensor:
        """Return a weight as it is kept here."""
        return cast(Tensor, getattr(self, name))

    def activate(self, values: Tensor, key: str = "activation") -> Tensor:
        """Apply the activation of a setting."""
        return activation_of(self.options[key])(values)


def pad_same(values: Tensor, sizes: Sequence[int], strides: Sequence[int], rates: Sequence[int], fill: float) -> Tensor:
    """Pad the space of (N, C, ...) as TensorFlow's "same" does: an odd number leaves more at the end."""
    padding: list[int] = []
    for length, size, stride, rate in zip(values.shape[2:], sizes, strides, rates, strict=True):
        total = max((-(-length // stride) - 1) * stride + (size - 1) * rate + 1 - length, 0)
        padding = [total // 2, total - total // 2, *padding]
    return functional.pad(values, padding, value=fill) if any(padding) else values


def spread(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """Return a setting that may be one number for all axes as one number an axis."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


def check_rank(inputs: Sequence[Shape], rank: int) -> Shape:
    """Return the only input.

    Raises:
        ValueError: it has another number of axes.
    """
    (shape,) = inputs
    if len(shape) != rank:
        raise ValueError(f"it takes {rank} axes beside the batch, and gets {shape}")
    return shape


_CONVOLVE: Final[Mapping[int, Callable[..., Tensor]]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}


class _Convolution(KerasLayer):
    rank: ClassVar[int]
    settings: ClassVar[Settings] = {
        "filters": 1,
        "kernel_size": 1,
        "strides": 1,
        "padding": "valid",
        "dilation_rate": 1,
        "groups": 1,
        "activation": "linear",
        "use_bias": True,
    }
    fixed: ClassVar[Settings] = {"data_format": "channels_last"}

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Shape]:
        channels = check_rank(inputs, self.rank + 1)[-1]
        filters, groups = self.options["filters"], self.options["groups"]
        if channels % groups or filters % groups:
            raise ValueError(f"{channels} channels and {filters} filters are not divided by {groups} groups")
        found = {"kernel": (*spread(self.options["kernel_size"], self.rank), channels // groups, filters)}
        return found | ({"bias": (filters,)} if self.options["use_bias"] else {})

    def stored(self, name: str, shape: Shape) -> Shape:
        return (shape[-1], shape[-2], *shape[:-2]) if name == "kernel" else shape

    def converted(self, name: str, values: Tensor) -> Tensor:
        return values.movedim((-1, -2), (0, 1)) if name == "kernel" else values

    def forward(self, values: Tensor) -> Tensor:
        """Convolve (N, ..., C)."""
        options = self.options
        bias = self.weight("bias") if options["use_bias"] else None
        found = convolve(values.movedim(-1, 1), self.weight("kernel"), bias, options, self.rank)
        return self.activate(found.movedim(1, -1))


def convolve(values: Tensor, kernel: Tensor, bias: Tensor | None, options: Mapping[str, Any], rank: int) -> Tensor:
    """Convolve (N, C, ...) with a kernel (F, C, ...), as the settings of a layer say."""
    strides, rates = spread(options["strides"], rank), spread(options["dilation_rate"], rank)
    if options["padding"] == "same":
        values = pad_same(values, kernel.shape[2:], strides, rates, 0.0)
    return _CONVOLVE[rank](values, kernel, bias, strides, 0, rates, options.get("groups", 1))


@layer_kind("Conv1D")
class Conv1D(_Convolution):
    """Convolution over time."""

    rank = 1


@layer_kind("Conv2D")
class Conv2D(_Convolution):
    """Convolution over images."""

    rank = 2


@layer_kind("Conv3D")
class Conv3D(_Convolution):
    """Convolution over time and space."""

    rank = 3


class _Pooling(KerasLayer):
    rank: ClassVar[int]
    settings: ClassVar[Settings] = {"pool_size": 2, "strides": None, "padding": "valid"}
    fixed: ClassVar[Settings] = {"data_format": "channels_last"}

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Shape]:
        check_rank(inputs, self.rank + 1)
        return {}

    def _windows(self) -> tuple[Shape, Shape]:
        size = spread(self.options["pool_size"], self.rank)
        return size, size if self.options["strides"] is None else spread(self.options["strides"], self.rank)


class _MaxPooling(_Pooling):
    def forward(self, values: Tensor) -> Tensor:
        """Return the largest value of each window of (N, ..., C)."""
        size, strides = self._windows()
        values = values.movedim(-1, 1)
        if self.options["padding"] == "same":
            values = pad_same(values, size, strides, (1,) * self.rank, float("-inf"))
        pools: tuple[Any, ...] = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
        return cast(Tensor, pools[self.rank - 1](values, size, strides)).movedim(1, -1)


class _AveragePooling(_Pooling):
    def forward(self, values: Tensor) -> Tensor:
        """Return the mean of each window of (N, ..., C); padding does not count."""
        size, strides = self._windows()
        values = values.movedim(-1, 1)
        pools: tuple[Any, ...] = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)
        pool = pools[self.rank - 1]
        if self.options["padding"] != "same":
            return cast(Tensor, pool(values, size, strides)).movedim(1, -1)
        ones = (1,) * self.rank
        there = pad_same(torch.ones_like(values[:1, :1]), size, strides, ones, 0.0)
        found = pool(pad_same(values, size, strides, ones, 0.0), size, strides) / pool(there, size, strides)
        return cast(Tensor, found).movedim(1, -1)


class _GlobalPooling(KerasLayer):
    rank: ClassVar[int]
    largest: ClassVar[bool]
    settings: ClassVar[Settings] = {"keepdims": False}
    fixed: ClassVar[Settings] = {"data_format": "channels_last"}

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Shape]:
        check_rank(inputs, self.rank + 1)
        return {}

    def forward(self, values: Tensor) -> Tensor:
        """Return mean or maximum over all axes but the first and the last."""
        axes = tuple(range(1, self.rank + 1))
        keep = self.options["keepdims"]
        return values.amax(axes, keepdim=keep) if self.largest else values.mean(axes, keepdim=keep)


for _rank in (1, 2, 3):
    layer_kind(f"MaxPooling{_rank}D")(type(f"MaxPooling{_rank}D", (_MaxPooling,), {"rank": _rank}))
    layer_kind(f"AveragePooling{_rank}D")(type(f"AveragePooling{_rank}D", (_AveragePooling,), {"rank": _rank}))
    for _name, _largest in (("Average", False), ("Max", True)):
        _kind = f"Global{_name}Pooling{_rank}D"
        layer_kind(_kind)(type(_kind, (_GlobalPooling,), {"rank": _rank, "largest": _largest}))


@layer_kind("Dense")
class Dense(KerasLayer):
    """Linear layer on the last axis."""

    settings: ClassVar[Settings] = {"units": 1, "activation": "linear", "use_bias": True}

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Shape]:
        """Return kernel and bias."""
        units = self.options["units"]
        return {"kernel": (inputs[0][-1], units)} | ({"bias": (units,)} if self.options["use_bias"] else {})

    def forward(self, values: Tensor) -> Tensor:
        """Return (..., units)."""
        found = values @ self.weight("kernel")
        return self.activate(found + self.weight("bias") if self.options["use_bias"] else found)


class _Normalisation(KerasLayer):
    names: ClassVar[Settings]

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Shape]:
        axis, rank = self.options["axis"], len(inputs[0])
        (only,) = axis if isinstance(axis, list | tuple) and len(axis) == 1 else (axis,)
        if only not in (-1, rank):
            raise ValueError(f"it normalises axis {axis}, and only the last one of {inputs[0]} is supported")
        return {name: inputs[0][-1:] for name, key in self.names.items() if not key or self.options[key]}

    def _scaled(self, values: Tensor) -> Tensor:
        values = values * self.weight("gamma") if self.options["scale"] else values
        return values + self.weight("beta") if self.options["center"] else values


@layer_kind("BatchNormalization")
class BatchNormalization(_Normalisation):
    """Batch normalisation with the statistics of the training."""

    settings: ClassVar[Settings] = {"axis": -1, "epsilon": 1e-3, "center": True, "scale": True}
    fixed: ClassVar[Settings] = {"renorm": False}
    names: ClassVar[Settings] = {"gamma": "scale", "beta": "center", "moving_mean": "", "moving_variance": ""}

    def forward(self, values: Tensor) -> Tensor:
        """Normalise (..., C)."""
        deviation = (self.weight("moving_variance") + self.options["epsilon"]).sqrt()
        return self._scaled((values - self.weight("moving_mean")) / deviation)


@layer_kind("LayerNormalization")
class LayerNormalization(_Normalisation):
    """Layer normalisation over the last axis."""

    settings: ClassVar[Settings] = {"axis": -1, "epsilon": 1e-3, "center": True, "scale": True}
    fixed: ClassVar[Settings] = {"rms_scaling": False}
    names: ClassVar[Settings] = {"gamma": "scale", "beta": "center"}

    def forward(self, values: Tensor) -> Tensor:
        """Normalise (..., D)."""
        mean = values.mean(-1, keepdim=True)
        variance = (values - mean).square().mean(-1, keepdim=True)
        return self._scaled((values - mean) / (variance + self.options["epsilon"]).sqrt())
