"""A network that was trained in Keras, as a head on raw frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from marey.errors import did_you_mean, inner_sentence
from marey.models.keras import recurrent, shaping
from marey.models.keras.layers import KINDS, KerasLayer
from marey.models.keras.layers import Shape as LayerShape
from marey.models.networks import EndToEndModel, Shape
from marey.models.registry import register_head

Pixels = Literal["0..255", "0..1", "-1..1", "caffe", "torch"]
"""Values that the network was given: pixels as they are; divided by 255; from -1 to 1 (`preprocess_input` of MobileNet
and Xception); blue, green, red less the mean of ImageNet (of VGG16 and ResNet50); or RGB with ImageNet's mean 0 and
deviation 1."""

_CAFFE: Final = (123.68, 116.779, 103.939)
_TORCH: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_STEPS: Final = 2_000
_LONGEST: Final = 1 << 20  # letters of the layers as JSON
_LARGEST: Final = 1 << 28  # numbers of a clip, or of the output of a layer for a clip: 1 GB

__all__ = ["KerasNetwork", "LayerStep", "Pixels", "build_layers", "recurrent", "shaping"]


class LayerStep(BaseModel):
    """A layer of a network, and what it reads.

    Attributes:
        kind: Keras's name of its class.
        name: in the file that it came from.
        inputs: numbers of the steps whose outputs it reads; -1 is the frames of the clip.
        per_frame: True inside `TimeDistributed`: it sees each frame by itself.
        settings: of the layer; the others have Keras's defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    name: str
    inputs: Annotated[tuple[int, ...], Field(min_length=1, max_length=64)]
    per_frame: bool = False
    settings: dict[str, Any] = {}


_STEP_LIST: Final = TypeAdapter(Annotated[tuple[LayerStep, ...], Field(min_length=1, max_length=_STEPS)])


@register_head("keras")
class KerasNetwork(EndToEndModel):
    """The layers of a Keras model, in its order of axes: `marey import-keras` makes it.

    All weights are the head's own, those of a VGG16 or ResNet50 included, and it is not trained further.
    """

    trains = False

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        layers: Annotated[str, Field(max_length=_LONGEST)] = "[]",
        pixels: Pixels = "0..1",
        repeat_grey: bool = False,
        binary: bool = False,
    ) -> None:
        super().__init__(shape, classes)
        frames, channels, height, width = shape
        if repeat_grey and channels != 1:
            raise ValueError(f"repeat_grey is for frames with one channel, and these have {channels}")
        self.colours = 3 if repeat_grey else channels
        self.flips = pixels == "caffe"
        mean, scale = _normalisation(pixels, self.colours)
        self.pixel_mean, self.pixel_scale = mean, scale
        self.binary = binary
        self.steps = read_steps(layers)
        built, out = build_layers(self.steps, (frames, height, width, self.colours))
        self.layers = nn.ModuleList(built)
        wanted = (1,) if binary else (classes,)
        if out != wanted or (binary and classes != 2):
            raise ValueError(f"the last layer '{self.steps[-1].name}' gives {out}, and there are {classes} labels")

    def _normalised(self, images: Tensor) -> Tensor:
        values = images.float()
        if values.shape[-3] != self.colours:
            values = values.expand(*values.shape[:-3], self.colours, *values.shape[-2:])
        values = (values - self.pixel_mean) * self.pixel_scale
        return values.flip(-3) if self.flips else values

    def forward_clip(self, pixels: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        clip = pixels.movedim(-3, -1)
        outputs: list[Tensor | None] = []
        last = {number: index for index, step in enumerate(self.steps) for number in step.inputs}
        for index, (step, layer) in enumerate(zip(self.steps, self.layers, strict=True)):
            given = [clip if number < 0 else cast(Tensor, outputs[number]) for number in step.inputs]
            outputs.append(apply(step, cast(KerasLayer, layer), given))
            for number in step.inputs:
                if number >= 0 and last[number] == index:
                    outputs[number] = None  # nothing reads it again: its memory is free
        logits = cast(Tensor, outputs[-1])
        return torch.cat([torch.zeros_like(logits), logits], dim=1) if self.binary else logits


def read_steps(text: str) -> tuple[LayerStep, ...]:
    """Return the layers of their JSON.

    Raises:
        ValueError: it is not a list of layers, or one reads what is not computed before it.
    """
    try:
        steps = _STEP_LIST.validate_python(json.loads(text))
    except ValidationError as error:
        raise ValueError(f"layers: {inner_sentence(error)}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"layers are not JSON ({error})") from None
    for index, step in enumerate(steps):
        if step.kind not in KINDS:
            raise ValueError(f"layer '{step.name}': no layer is called '{step.kind}'; {did_you_mean(step.kind, KINDS)}")
        if not all(-1 <= number < index for number in step.inputs):
            raise ValueError(f"layer '{step.name}' reads a layer that does not come before it")
    return steps


def build_layers(
    steps: Sequence[LayerStep], clip: LayerShape, stored: Sequence[Sequence[LayerShape]] | None = None
) -> tuple[list[KerasLayer], LayerShape]:
    """Return the layers, without values, and the shape of the last one's output.

    Args:
        steps: the layers.
        clip: shape of the frames, (T, H, W, C).
        stored: shapes of the weights of each step in a file, in Keras's order, which are compared with what it needs.

    Raises:
        ValueError: a layer does not fit its input, or its weights; the message names the layer and both shapes.
    """
    shapes: list[LayerShape] = []
    layers = []
    _check_size("a clip", clip)
    for index, step in enumerate(steps):
        given = [clip if number < 0 else shapes[number] for number in step.inputs]
        try:
            inside = [shape[1:] for shape in given] if step.per_frame else given
            with torch.device("meta"):  # shapes without values: no memory is taken before they were compared
                sketch = KINDS[step.kind](step.settings, inside)
                if stored is not None:
                    _compare(sketch, stored[index], given)
                found = apply(step, sketch, [torch.empty(1, *shape) for shape in given])
            layer = KINDS[step.kind](step.settings, inside)
        except (ValueError, RuntimeError, TypeError, IndexError, KeyError, ZeroDivisionError, OverflowError) as error:
            what = str(error) if isinstance(error, ValueError) else f"it cannot read {given[0]} ({_short(error)})"
            raise ValueError(f"layer '{step.name}' ({step.kind}): {what}") from None
        shapes.append(tuple(found.shape[1:]))
        _check_size(f"the output of layer '{step.name}'", shapes[-1])
        layers.append(layer)
    return layers, shapes[-1]


def apply(step: LayerStep, layer: KerasLayer, values: Sequence[Tensor]) -> Tensor:
    """Return the output of a layer; inside `TimeDistributed`, frame by frame."""
    if not step.per_frame:
        whole: Tensor = layer(*values)
        return whole
    frames = values[0].shape[:2]
    found: Tensor = layer(*(each.flatten(0, 1) for each in values))
    return cast(Tensor, found.unflatten(0, frames))


def _compare(layer: KerasLayer, stored: Sequence[LayerShape], given: Sequence[LayerShape]) -> None:
    reads = ", ".join(map(str, given))
    for (name, shape), found in zip(layer.wanted.items(), stored, strict=False):
        if found != shape:
            raise ValueError(f"its {name} is {found} in the file, and {shape} is expected: it reads {reads}")
    if len(stored) != len(layer.wanted):
        names = ", ".join(layer.wanted) or "none"
        raise ValueError(f"the file has {len(stored)} weights of it, and {len(layer.wanted)} are expected: {names}")


def _check_size(what: str, shape: LayerShape) -> None:
    count = 1
    for length in shape:
        count *= length
    if count > _LARGEST:
        raise ValueError(f"{what} has {count:,} numbers {shape}, and at most {_LARGEST:,} are computed")


def _normalisation(pixels: str, colours: int) -> tuple[Tensor, Tensor]:
    """Return what is subtracted from 0 to 255, and the factor after that: (C, 1, 1) both."""
    zeros, ones = [0.0] * colours, [1.0] * colours
    if pixels in ("caffe", "torch") and colours != 3:
        raise ValueError(f"pixels '{pixels}' are of three channels, and these frames have {colours}")
    mean, scale = {
        "0..255": (zeros, ones),
        "0..1": (zeros, [1 / 255] * colours),
        "-1..1": ([127.5] * colours, [1 / 127.5] * colours),
        "caffe": (list(_CAFFE), ones),
        "torch": ([255 * value for value in _TORCH[0]], [1 / (255 * value) for value in _TORCH[1]]),
    }[pixels]
    return torch.tensor(mean).view(-1, 1, 1), torch.tensor(scale).view(-1, 1, 1)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
