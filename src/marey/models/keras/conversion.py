"""From a Keras file to a network of marey: its layers, and its weights in their places."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from marey.errors import ModelFormatError, UsageError
from marey.models.keras.hdf5 import KerasFile, StoredArray, natural, open_keras, read_json
from marey.models.keras.layers import Shape
from marey.models.keras.network import LayerStep, build_layers
from marey.models.keras.originals import check_fit, original_of, published_config, vgg16_layers
from marey.models.keras.structure import Config, Leaf, Sketch, sketch_of

_CACHE: Final = "~/.keras/models/{}_weights_tf_dim_ordering_tf_kernels_notop.h5"


@dataclass(frozen=True)
class ImportedNetwork:
    """A network that was read from a Keras file.

    Attributes:
        layers: as the head "keras" takes them.
        state: its weights by their names in the head.
        clip: (T, H, W, C) of the frames that it reads.
        outputs: number of classes.
        binary: True if it gives one number for two classes.
        version: of the Keras that wrote the file.
        notes: assumptions, a sentence each.
    """

    layers: str
    state: dict[str, Tensor]
    clip: tuple[int, int, int, int]
    outputs: int
    binary: bool
    version: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Stored:
    """A step, the file of its weights, and these in Keras's order."""

    step: LayerStep
    file: KerasFile | None = None
    arrays: tuple[StoredArray, ...] = ()

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return tuple(array.shape for array in self.arrays)


def read_network(
    path: str | Path,
    recipe: str,
    *,
    clip: tuple[int, int, int, int],
    architecture: str | Path | None = None,
    backbone: str | Path | None = None,
) -> ImportedNetwork:
    """Read a trained Keras model.

    Args:
        path: a whole model, .keras or .h5, or its weights.
        recipe: the recipe whose network it is.
        clip: (T, H, W, C) of the recipe's frames, for axes that the file leaves open.
        architecture: a file of the model's `to_json()`, where `path` has weights only.
        backbone: the network a frame, where the model reads its features: a Keras file of VGG16 or ResNet50.

    Raises:
        ModelFormatError: a file is damaged, has layers that are not supported or would run code, or is not the network
            of the recipe; the message names the layer and the shapes.
        UsageError: a file is missing that has to be named, or h5py is not installed.
    """
    original_of(recipe)
    with ExitStack() as files:
        file = files.enter_context(open_keras(path))
        stated, layers, on_features = _whole(file, recipe, architecture)
        notes = []
        if on_features:
            if not original_of(recipe).backbone:
                raise ModelFormatError(f"{path} reads features {stated}, and the network of '{recipe}' reads frames")
            clip = (stated[0] or clip[0] if stated else clip[0], *clip[1:])
            layers = _behind(files, layers, recipe, backbone, clip, stated)
        elif backbone is not None:
            raise UsageError(f"{path} reads frames, and needs no --backbone: leave it out")
        elif stated is not None:
            clip = _filled(stated, clip, path)
        else:
            notes.append(f"{path} does not state its input: {clip[0]} frames of {clip[1]} x {clip[2]} as in the recipe")
        check_fit([(each.step, each.shapes) for each in layers], recipe, what=str(path))
        layers, answers = _without_softmax(layers)
        try:
            built, out = build_layers([each.step for each in layers], clip, [each.shapes for each in layers])
        except ValueError as error:
            raise ModelFormatError(f"{path}: {error}") from None
        if len(out) != 1 or (answers == "sigmoid" and out != (1,)):
            several = f"gives {out} as independent yes or no" if answers == "sigmoid" else f"gives {out}"
            raise ModelFormatError(f"{path}: its last layer {several}; one vector of class scores a clip is needed")
        if answers == "scores":
            notes.append("its last layer has no softmax: its outputs are taken as logits")
        state: dict[str, Tensor] = {}
        for index, (each, layer) in enumerate(zip(layers, built, strict=True)):
            for (name, _), array in zip(layer.wanted.items(), each.arrays, strict=True):
                values = torch.from_numpy(each.file.read(array)) if each.file is not None else torch.empty(0)
                inside, kept = layer.state(name, values)
                state[f"layers.{index}.{inside}"] = kept.contiguous()
        text = json.dumps([each.step.model_dump(mode="json") for each in layers])
        binary = answers == "sigmoid"
        return ImportedNetwork(text, state, clip, 2 if binary else out[0], binary, file.version, tuple(notes))


def _whole(
    file: KerasFile, recipe: str, architecture: str | Path | None
) -> tuple[tuple[int | None, ...] | None, list[_Stored], bool]:
    """Return the stated input, the layers with their weights, and whether they read features and not frames."""
    config: Config | None = file.config
    if architecture is not None:
        if config is not None:
            raise UsageError(f"{file.path} is a whole model: leave --architecture out")
        try:
            config = read_json(Path(architecture).read_bytes(), str(architecture))
        except OSError as error:
            raise ModelFormatError(f"{architecture} cannot be read: {error.strerror}") from error
    named, on_features = not file.numbered, False
    if config is None:
        config, on_features = published_config(file, recipe)
        named = True
    version = file.version or str(config.get("keras_version") or ("3" if file.numbered else ""))
    sketch = sketch_of(config, version=version, what=str(file.path))
    if sketch.input is not None:
        if len(sketch.input) not in (2, 4):
            raise ModelFormatError(
                f"{file.path} reads {sketch.input}: a clip (T, H, W, C), or features (T, D), are read"
            )
        on_features = len(sketch.input) == 2
    return sketch.input, list(_with_weights(sketch, file, named=named)), on_features


def _behind(
    files: ExitStack,
    layers: Sequence[_Stored],
    recipe: str,
    backbone: str | Path | None,
    clip: tuple[int, int, int, int],
    stated: tuple[int | None, ...] | None,
) -> list[_Stored]:
    """Return the network a frame, and the layers that read its features after it."""
    name = original_of(recipe).backbone
    if backbone is None:
        place = _CACHE.format(name.lower())
        raise UsageError(
            f"the model reads features of {name}, and its weights are not in the file: name Keras's file of them, "
            f"--backbone {place}, or the one that the features were made with"
        )
    file = files.enter_context(open_keras(backbone))
    if file.config is None and name != "VGG16":
        raise ModelFormatError(f"{backbone} holds weights without layers: save the whole {name}, as with model.save")
    known = {"class_name": "Sequential", "config": {"name": name, "layers": vgg16_layers()}}
    sketch = sketch_of(file.config or known, version=file.version, what=str(backbone))
    named = not file.numbered
    steps = [
        _Stored(each.step.model_copy(update={"per_frame": True}), each.file, each.arrays)
        for each in _with_weights(sketch, file, named=named)
    ]
    try:
        with torch.device("meta"):
            _, out = build_layers([each.step for each in steps], clip, [each.shapes for each in steps])
    except ValueError as error:
        raise ModelFormatError(f"{backbone}: {error}") from None
    dim = stated[1] if stated is not None else next((each.shapes[0][0] for each in layers if each.arrays), None)
    count = 1
    for length in out[1:]:
        count *= length
    joined = {out[-1]: "GlobalAveragePooling2D", count: "Flatten"} if len(out) == 4 else {}
    if dim in joined:
        last = (len(steps) - 1,)
        steps.append(_Stored(LayerStep(kind=joined[dim], name="features", inputs=last, per_frame=True)))
    elif out[1:] != (dim,):
        raise ModelFormatError(
            f"the model reads {dim} features a frame, and {backbone} gives {out[1:]} for {clip[1]} x {clip[2]} pixels"
            ": state their size as in --set encoder.size='[80, 100]', height first"
        )
    offset = len(steps)
    return steps + [
        _Stored(
            each.step.model_copy(update={"inputs": tuple(number + offset for number in each.step.inputs)}),
            each.file,
            each.arrays,
        )
        for each in layers
    ]


def _with_weights(sketch: Sketch, file: KerasFile, *, named: bool) -> Iterator[_Stored]:
    """Yield each step with its weights: by the names of layers, or by classes and numbers."""
    stored = {layer.name: layer.arrays for layer in file.layers}
    of_top: dict[str, int] = {}
    for leaf in sketch.leaves:
        of_top[leaf.top] = of_top.get(leaf.top, 0) + 1
    taken: dict[str, int] = {}
    for step, leaf in zip(sketch.steps, sketch.leaves, strict=True):
        if not named:
            yield _Stored(step, file, _below(stored.get(leaf.counted, ()), leaf))
            continue
        arrays = stored.get(leaf.top, ())
        if of_top[leaf.top] > 1:
            arrays = _of_layer(arrays, leaf, taken, step.kind)
        yield _Stored(step, file, arrays)


def _below(arrays: Sequence[StoredArray], leaf: Leaf) -> tuple[StoredArray, ...]:
    """Return the weights below a group; the onward direction stands before the backward one."""
    parts = [part for part in leaf.inside.split("/") if part]
    found = []
    for array in arrays:
        inside = [part for part in array.path.split("/") if part][2:]
        if inside[: len(parts)] == parts and "layers" not in inside[len(parts) :]:
            found.append(array)
    return tuple(
        sorted(found, key=lambda array: ("backward_layer" in array.path, natural(array.path.rpartition("/")[2])))
    )


def _of_layer(arrays: Sequence[StoredArray], leaf: Leaf, taken: dict[str, int], kind: str) -> tuple[StoredArray, ...]:
    """Return the weights of one layer of a model inside the model: those with its name in their path.

    Where names are not those of the file, as in files of weights only, layers of one kind follow each other.
    """
    by_name = tuple(array for array in arrays if leaf.name in array.path.split("/")[1:-1])
    if by_name or kind != "Conv2D":
        return by_name
    begin = taken.get(leaf.top, 0)
    taken[leaf.top] = begin + 2
    return tuple(arrays[begin : begin + 2])


def _without_softmax(layers: Sequence[_Stored]) -> tuple[list[_Stored], str]:
    """Return the layers up to the logits, and what made probabilities of them: softmax, sigmoid, or nothing."""
    last = layers[-1]
    kind, how = last.step.kind, last.step.settings.get("activation", "linear")
    if kind == "Softmax" or (kind == "Activation" and how in ("softmax", "sigmoid")):
        if last.step.inputs == (len(layers) - 2,):
            return list(layers[:-1]), "softmax" if kind == "Softmax" else how
    elif how in ("softmax", "sigmoid"):
        settings = {**last.step.settings, "activation": "linear"}
        step = last.step.model_copy(update={"settings": settings})
        return [*layers[:-1], _Stored(step, last.file, last.arrays)], how
    return list(layers), "scores"


def _filled(
    stated: tuple[int | None, ...], clip: tuple[int, int, int, int], path: str | Path
) -> tuple[int, int, int, int]:
    """Return the stated shape of a clip, with the recipe's for axes that are open."""
    frames, height, width, channels = (own or other for own, other in zip(stated, clip, strict=True))
    if min(frames, height, width) < 1 or max(height, width) > 4096 or frames > 100_000 or channels not in (1, 3):
        raise ModelFormatError(
            f"{path} reads {stated}: (T, H, W, C) with up to 4,096 pixels a side and 1 or 3 channels are read"
        )
    return frames, height, width, channels
