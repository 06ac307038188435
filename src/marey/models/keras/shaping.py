"""Layers of Keras without weights that move, join and scale numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from marey.models.keras.layers import KerasLayer, Settings, Shape, check_rank, layer_kind, spread


@layer_kind("Flatten")
class Flatten(KerasLayer):
    """All numbers in a row, the channels of a place side by side."""

    fixed: ClassVar[Settings] = {"data_format": "channels_last"}

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, all)."""
        return values.flatten(1)


@layer_kind("Reshape")
class Reshape(KerasLayer):
    """The same numbers in another shape."""

    settings: ClassVar[Settings] = {"target_shape": ()}

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, ...)."""
        return values.reshape(len(values), *self.options["target_shape"])


@layer_kind("Permute")
class Permute(KerasLayer):
    """Other order of the axes."""

    settings: ClassVar[Settings] = {"dims": ()}

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, ...)."""
        return values.permute(0, *self.options["dims"])


@layer_kind("Activation")
class Activation(KerasLayer):
    """An activation function as a layer."""

    settings: ClassVar[Settings] = {"activation": "linear"}

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        return self.activate(values)


@layer_kind("ReLU")
class ReLU(KerasLayer):
    """Rectified linear unit, with a limit, a slope and a threshold."""

    settings: ClassVar[Settings] = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        start, slope = self.options["threshold"], self.options["negative_slope"]
        found = torch.where(values >= start, values, slope * (values - start))
        return found if self.options["max_value"] is None else found.clamp_max(self.options["max_value"])


@layer_kind("LeakyReLU")
class LeakyReLU(KerasLayer):
    """Rectified linear unit with a slope below zero; `alpha` is Keras 2's name of it."""

    settings: ClassVar[Settings] = {"negative_slope": None, "alpha": None}

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        slopes = (self.options["negative_slope"], self.options["alpha"], 0.3)
        return functional.leaky_relu(values, next(float(slope) for slope in slopes if slope is not None))


@layer_kind("Softmax")
class Softmax(KerasLayer):
    """Probabilities over the last axis."""

    fixed: ClassVar[Settings] = {"axis": -1}

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        return values.softmax(-1)


@layer_kind("Rescaling")
class Rescaling(KerasLayer):
    """Factor and offset, for all channels or one a channel."""

    settings: ClassVar[Settings] = {"scale": 1.0, "offset": 0.0}

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        scale, offset = (torch.tensor(self.options[key], device=values.device) for key in ("scale", "offset"))
        return values * scale + offset


@layer_kind("ZeroPadding2D")
class ZeroPadding2D(KerasLayer):
    """Rows and columns of zeros around images."""

    settings: ClassVar[Settings] = {"padding": 1}
    fixed: ClassVar[Settings] = {"data_format": "channels_last"}

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Shape]:
        """Return none."""
        check_rank(inputs, 3)
        return {}

    def forward(self, values: Tensor) -> Tensor:
        """Return (N, H', W', C)."""
        rows, columns = (spread(each, 2) for each in spread_pairs(self.options["padding"]))
        return functional.pad(values, (0, 0, *columns, *rows))


def spread_pairs(padding: Any) -> tuple[Any, Any]:
    """Return what is added to rows and to columns: one number for all, one an axis, or a pair an axis."""
    return (padding, padding) if isinstance(padding, int) else tuple(padding)


class _Merge(KerasLayer):
    same: ClassVar[bool] = True

    def weights(self, inputs: Sequence[Shape]) -> dict[str, Shape]:
        if len(inputs) < 2 or (self.same and len(set(inputs)) > 1):
            raise ValueError(f"it joins inputs of one shape, and gets {', '.join(map(str, inputs))}")
        return {}


@layer_kind("Add")
class Add(_Merge):
    """Sum of its inputs."""

    def forward(self, *values: Tensor) -> Tensor:
        """Return values of the same shape."""
        return torch.stack(values).sum(0) if len(values) > 2 else values[0] + values[1]


@layer_kind("Multiply")
class Multiply(_Merge):
    """Product of its inputs."""

    def forward(self, *values: Tensor) -> Tensor:
        """Return values of the same shape."""
        return torch.stack(values).prod(0)


@layer_kind("Average")
class Average(_Merge):
    """Mean of its inputs."""

    def forward(self, *values: Tensor) -> Tensor:
        """Return values of the same shape."""
        return torch.stack(values).mean(0)


@layer_kind("Concatenate")
class Concatenate(_Merge):
    """Inputs side by side along an axis."""

    same = False
    settings: ClassVar[Settings] = {"axis": -1}

    def forward(self, *values: Tensor) -> Tensor:
        """Return the joined inputs."""
        return torch.cat(values, self.options["axis"])
