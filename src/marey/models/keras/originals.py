"""The Keras networks that recipes are named after: how their pixels are given, and which layers they have, in order."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from marey.errors import ModelFormatError, UsageError
from marey.models.keras.hdf5 import KerasFile, StoredLayer
from marey.models.keras.layers import Shape
from marey.models.keras.network import LayerStep, Pixels
from marey.models.keras.structure import Config, counted_name

_NORMALISATIONS: Final = ("BatchNormalization", "LayerNormalization")
_VGG: Final = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


@dataclass(frozen=True)
class Part:
    """Layers with weights that follow each other; normalisations may stand between them.

    Attributes:
        name: in words.
        kinds: classes of Keras that take part.
        least: number of layers.
        most: likewise.
        kernels: shapes of the kernels, where they are fixed.
    """

    name: str
    kinds: tuple[str, ...]
    least: int = 1
    most: int = 12
    kernels: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class Original:
    """The Keras network of a recipe.

    Attributes:
        pixels: as such networks are given them, if nothing else is stated.
        parts: its layers with weights.
        layers: the network as it was published, for files that hold weights only: class, settings without sizes, and
            whether it is inside `TimeDistributed`; empty where there is no such one.
        backbone: the network a frame, whose features may have been computed beforehand.
    """

    pixels: Pixels
    parts: tuple[Part, ...]
    layers: tuple[tuple[str, Config, bool], ...] = ()
    backbone: str = ""


def _vgg_kernels() -> tuple[Shape, ...]:
    widths = [width for count, width in _VGG for _ in range(count)]
    return tuple((3, 3, inside, outside) for inside, outside in zip((3, *widths[:-1]), widths, strict=True))


def vgg16_layers() -> list[Config]:
    """Return the layers of VGG16 (Simonyan and Zisserman 2015) without its dense ones, as Keras's configuration."""
    layers: list[Config] = []
    for block, (count, filters) in enumerate(_VGG, start=1):
        for number in range(1, count + 1):
            name = f"block{block}_conv{number}"
            settings = {"filters": filters, "kernel_size": [3, 3], "padding": "same", "activation": "relu"}
            layers.append({"class_name": "Conv2D", "config": {"name": name, **settings}})
        layers.append({"class_name": "MaxPooling2D", "config": {"name": f"block{block}_pool"}})
    return layers


_VGG_PART: Final = Part("VGG16's convolutions", ("Conv2D",), 13, 13, _vgg_kernels())
_CONVOLUTIONS: Final = Part("a Conv2D a frame", ("Conv2D",))
_DENSE: Final = Part("a Dense layer", ("Dense",), 1, 6)
_LSTM: Final = Part("an LSTM", ("LSTM", "Bidirectional"), 1, 3)
_VGG_LAYER: Final[tuple[str, Config, bool]] = ("VGG16", {}, True)
_SOFTMAX: Final[tuple[str, Config, bool]] = ("Dense", {"activation": "softmax"}, False)
_RELU: Final[tuple[str, Config, bool]] = ("Dense", {"activation": "relu"}, False)
_FLAT: Final[tuple[str, Config, bool]] = ("Flatten", {}, True)


def _stage(padding: str, pool: int, *, normalised: bool) -> tuple[tuple[str, Config, bool], ...]:
    convolution: tuple[str, Config, bool] = ("Conv2D", {"activation": "relu", "padding": padding}, True)
    after: tuple[tuple[str, Config, bool], ...] = (("BatchNormalization", {}, True),) if normalised else ()
    return (convolution, *after, ("MaxPooling2D", {"pool_size": [pool, pool]}, True))


_CONV_LSTM: Final[tuple[tuple[str, Config, bool], ...]] = (
    ("ConvLSTM2D", {"return_sequences": True}, False),
    ("MaxPooling3D", {"pool_size": [1, 2, 2], "padding": "same"}, False),
)

ORIGINALS: Final[Mapping[str, Original]] = {
    "vgg16-bilstm": Original(
        "caffe",
        (_VGG_PART, Part("a bidirectional LSTM", ("Bidirectional",), 1, 3), _DENSE),
        (
            _VGG_LAYER,
            ("GlobalAveragePooling2D", {}, True),
            ("LayerNormalization", {}, False),
            ("Bidirectional", {"layer": "LSTM"}, False),
            _RELU,
            _SOFTMAX,
        ),
        "VGG16",
    ),
    "vgg16-lstm": Original(
        "caffe", (_VGG_PART, _LSTM, _DENSE), (_VGG_LAYER, _FLAT, ("LSTM", {}, False), _RELU, _SOFTMAX), "VGG16"
    ),
    "cnn-lstm": Original(
        "0..1",
        (_CONVOLUTIONS, _LSTM, _DENSE),
        (
            *_stage("valid", 2, normalised=True),
            *_stage("same", 2, normalised=True),
            *_stage("same", 2, normalised=True),
            _FLAT,
            ("LSTM", {}, False),
            _RELU,
            _SOFTMAX,
        ),
    ),
    "lrcn-small": Original(
        "0..1",
        (_CONVOLUTIONS, Part("an LSTM or a GRU", ("LSTM", "GRU", "Bidirectional"), 1, 3), _DENSE),
        (
            *_stage("same", 4, normalised=False),
            *_stage("same", 4, normalised=False),
            *_stage("same", 2, normalised=False),
            *_stage("same", 2, normalised=False),
            _FLAT,
            ("LSTM", {}, False),
            _SOFTMAX,
        ),
    ),
    "convlstm": Original(
        "0..1",
        (Part("a ConvLSTM2D", ("ConvLSTM2D",)), _DENSE),
        (*_CONV_LSTM, *_CONV_LSTM, *_CONV_LSTM, *_CONV_LSTM, ("Flatten", {}, False), _SOFTMAX),
    ),
    "c3d-lstm-gru": Original(
        "0..1",
        (
            Part("a Conv3D", ("Conv3D",)),
            Part("an LSTM, in one or both directions", ("LSTM", "Bidirectional"), 1, 3),
            Part("a GRU, in one or both directions", ("GRU", "Bidirectional"), 0, 3),
            _DENSE,
        ),
    ),
    "resnet50-lstm": Original(
        "caffe", (Part("ResNet50's convolutions", ("Conv2D",), 53, 53), _LSTM, _DENSE), (), "ResNet50"
    ),
}
"""Recipe -> the network that it is named after."""


def original_of(recipe: str) -> Original:
    """Return the Keras network of a recipe.

    Raises:
        UsageError: the recipe has none.
    """
    if recipe not in ORIGINALS:
        raise UsageError(f"the recipe '{recipe}' is of no Keras network; recipes that are: {', '.join(ORIGINALS)}")
    return ORIGINALS[recipe]


def check_fit(steps: Sequence[tuple[LayerStep, Sequence[Shape]]], recipe: str, *, what: str) -> None:
    """Compare the layers with weights with those of a recipe's network.

    Args:
        steps: layers, and the shapes of their weights.
        recipe: the recipe.
        what: the file, for messages.

    Raises:
        ModelFormatError: a layer is another one; the message names it, and what stands there in the recipe's network.
    """
    weighted = deque((step, list(shapes)) for step, shapes in steps if shapes and step.kind not in _NORMALISATIONS)
    fault = f"{what} is not the network of the recipe '{recipe}'"
    hint = f"choose --recipe: {', '.join(ORIGINALS)}"
    for part in original_of(recipe).parts:
        count = 0
        while weighted and count < part.most and weighted[0][0].kind in part.kinds:
            step, shapes = weighted.popleft()
            if part.kernels and shapes[0] != part.kernels[count]:
                raise ModelFormatError(
                    f"{fault}: layer '{step.name}' has a kernel {shapes[0]}, and {part.name} have "
                    f"{part.kernels[count]} there; {hint}"
                )
            count += 1
        if count < part.least:
            found = "it ends"
            if weighted:
                step, shapes = weighted[0]
                found = f"layer '{step.name}' is a {step.kind} with a kernel {shapes[0]}"
            needed = f"{part.least} of {part.name}" if part.least > 1 else part.name
            raise ModelFormatError(f"{fault}: {found} where {needed} is expected ({count} found); {hint}")
    if weighted:
        step, shapes = weighted[0]
        raise ModelFormatError(
            f"{fault}: layer '{step.name}', a {step.kind} with a kernel {shapes[0]}, stands where it has none; {hint}"
        )


def published_config(file: KerasFile, recipe: str) -> tuple[Config, bool]:
    """Return the configuration of a recipe's published network for a file of weights only, sizes from the weights.

    Returns:
        The configuration, whose layers have the names of the file's groups; and whether it begins with features of a
        network a frame, not with frames.

    Raises:
        ModelFormatError: the weights are not those of that network.
    """
    original = original_of(recipe)
    save = "save the whole model, model.save('NAME.keras'), or give its model.to_json() by --architecture"
    if not original.layers:
        raise ModelFormatError(
            f"{file.path} holds weights without layers, and the network of '{recipe}' is not published: {save}"
        )
    queues = _queues(file)
    on_features = bool(original.backbone) and not any(len(layer.arrays) == 26 for layer in file.layers)
    layers: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for kind, settings, per_frame in original.layers:
        if on_features and (kind == "VGG16" or (per_frame and kind in ("Flatten", "GlobalAveragePooling2D"))):
            continue
        outer = "TimeDistributed" if per_frame else kind
        queue = queues[counted_name(outer, Counter()) if file.numbered else ""]
        name = f"{kind}-{len(layers)}"
        config: dict[str, Any] = dict(settings)
        if kind in ("VGG16", *_SIZED):
            if not queue or not _is_of(kind, queue[0]):
                if kind in _NORMALISATIONS:
                    continue
                found = f"'{queue[0].name}' {[each.shape for each in queue[0].arrays]}" if queue else "no more layers"
                raise ModelFormatError(
                    f"{file.path} holds weights of another network than the published one of '{recipe}': the file has "
                    f"{found} where a {kind} is expected; {save}"
                )
            stored = queue.popleft()
            name = stored.name
            if kind != "VGG16":
                config |= _SIZED[kind]([each.shape for each in stored.arrays])
        counts[name] += 1
        if kind == "ConvLSTM2D" and file.version.startswith(("1.", "2.")):
            config["recurrent_activation"] = "hard_sigmoid"  # its default in Keras 2
        layers.append(_layer(kind, config, name, per_frame=per_frame))
    rest = [layer.name for queue in queues.values() for layer in queue]
    if rest:
        raise ModelFormatError(f"{file.path} has layers that the network of '{recipe}' has not: {rest[:3]}; {save}")
    return {"class_name": "Sequential", "config": {"name": "published", "layers": layers}}, on_features


def _queues(file: KerasFile) -> Mapping[str, deque[StoredLayer]]:
    """Return the layers with weights in their order; where groups have numbers, those of each class by themselves."""
    queues: dict[str, deque[StoredLayer]] = defaultdict(deque)
    for layer in file.layers:
        if layer.arrays:
            stem, _, number = layer.name.rpartition("_")
            kind = stem if number.isdecimal() else layer.name
            queues[kind if file.numbered else ""].append(layer)
    return queues


def _layer(kind: str, config: Config, name: str, *, per_frame: bool) -> dict[str, Any]:
    inner: dict[str, Any] = {"class_name": kind, "config": {"name": name, **config}}
    if kind == "VGG16":
        inner = {"class_name": "Sequential", "config": {"name": name, "layers": vgg16_layers()}}
    if kind == "Bidirectional":
        settings = {key: value for key, value in config.items() if key != "layer"}
        recurrent = {"class_name": config["layer"], "config": {"name": name, **settings}}
        inner["config"] = {"name": name, "layer": recurrent, "merge_mode": "concat"}
    return {"class_name": "TimeDistributed", "config": {"name": name, "layer": inner}} if per_frame else inner


def _is_of(kind: str, stored: StoredLayer) -> bool:
    """Return True if weights have the number and the axes of those of a class."""
    axes = [len(array.shape) for array in stored.arrays]
    return axes in {
        "VGG16": [[4, 1] * 13],
        "Conv2D": [[4, 1], [4]],
        "ConvLSTM2D": [[4, 4, 1], [4, 4]],
        "BatchNormalization": [[1] * 4],
        "LayerNormalization": [[1] * 2],
        "LSTM": [[2, 2, 1], [2, 2]],
        "Bidirectional": [[2, 2, 1] * 2, [2, 2] * 2],
        "Dense": [[2, 1], [2]],
    }.get(kind, [])


_SIZED: Final[Mapping[str, Any]] = {
    "Conv2D": lambda shapes: {"kernel_size": shapes[0][:2], "filters": shapes[0][3], "use_bias": len(shapes) > 1},
    "ConvLSTM2D": lambda shapes: {
        "kernel_size": shapes[0][:2],
        "filters": shapes[1][2],
        "use_bias": len(shapes) > 2,
    },
    "BatchNormalization": lambda shapes: {},
    "LayerNormalization": lambda shapes: {},
    "LSTM": lambda shapes: {"units": shapes[1][0], "use_bias": len(shapes) > 2},
    "Bidirectional": lambda shapes: {"units": shapes[1][0], "use_bias": len(shapes) in (3, 6)},
    "Dense": lambda shapes: {"units": shapes[0][1], "use_bias": len(shapes) > 1},
}
"""Class -> settings that follow from the shapes of its weights."""
