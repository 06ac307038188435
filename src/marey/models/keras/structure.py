"""From the configuration of a Keras model to the layers that are computed, and the places of their weights."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from marey.errors import ModelFormatError
from marey.models.keras.activations import ACTIVATIONS, OLD_HARD_SIGMOID
from marey.models.keras.layers import KINDS
from marey.models.keras.network import LayerStep

Config = Mapping[str, Any]

_MODELS: Final = ("Sequential", "Functional", "Model")
_UNUSED: Final = frozenset(
    (
        *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout"),
        *("GaussianNoise", "ActivityRegularization", "RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast"),
        *("RandomBrightness", "RandomTranslation", "RandomCrop"),
    )
)
"""Layers that act in training only."""

_REFUSED: Final = {
    "Lambda": "its function is Python code in the file, and marey runs no code of a file: build the model without it, "
    "as with Rescaling, or by --pixels",
    "TFOpLambda": "it is a TensorFlow function, called by its name: give the pixels by --pixels, and build the model "
    "without it",
    "SlicingOpLambda": "it is a TensorFlow function, called by its name: build the model without it",
    "Masking": "which frames it leaves out depends on their values, and marey's clips have all their frames",
}
_IGNORED: Final = frozenset(
    (
        *("name", "trainable", "dtype", "batch_input_shape", "batch_shape", "input_shape", "seed", "noise_shape"),
        *("dropout", "recurrent_dropout", "momentum", "implementation", "unroll", "zero_output_for_mask", "use_cudnn"),
        *("synchronized", "fused", "virtual_batch_size", "adjustment", "renorm_clipping", "renorm_momentum", "reset"),
        *("unit_forget_bias", "lora_rank", "lora_alpha", "quantization_config", "optional", "sparse", "ragged"),
        *("build_config", "autocast", "supports_masking", "gptq_unpacked_column_size"),
    )
)
_IGNORED_ENDS: Final = ("_initializer", "_regularizer", "_constraint")
_ACTIVATION_KEYS: Final = ("activation", "recurrent_activation")
_DEPTH: Final = 16


@dataclass(frozen=True)
class Leaf:
    """The place of a layer's weights.

    Attributes:
        top: name of the layer at the top that holds it.
        counted: the same, by class and number.
        inside: groups below that one, by class and number: "layer/layers/conv2d_3".
        name: of the layer itself.
    """

    top: str
    counted: str
    inside: str
    name: str


@dataclass
class Sketch:
    """The layers of a model.

    Attributes:
        input: shape of its input without the batch, None where an axis is open; None where it is not stated.
        steps: what is computed.
        leaves: place of the weights of each step.
    """

    input: tuple[int | None, ...] | None = None
    steps: list[LayerStep] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)


def sketch_of(config: Config, *, version: str, what: str) -> Sketch:
    """Return the layers of a model's configuration.

    Args:
        config: as Keras writes it, `{"class_name": "Sequential", "config": {...}}`.
        version: of the Keras that wrote it.
        what: the file, for messages.

    Raises:
        ModelFormatError: it is damaged, has a layer that is not supported or would run code, or is not one chain from
            one input to one output.
    """
    try:
        return _Walk(version, what).run(config)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, RecursionError) as error:
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise ModelFormatError(f"{what}: its configuration cannot be read ({detail}): it is damaged") from error


@dataclass(frozen=True)
class _Place:
    """Where in the model a layer stands."""

    top: str = ""
    counted: str = ""
    inside: str = ""
    per_frame: bool = False
    depth: int = 0


class _Walk:
    def __init__(self, version: str, what: str) -> None:
        self._old = not version or version.startswith(("1.", "2."))
        self._what = what
        self._sketch = Sketch()

    def run(self, config: Config) -> Sketch:
        if config.get("class_name") not in _MODELS:
            found = str(config.get("class_name"))[:60]
            raise self._error(f"it is a {found}, and Sequential and functional models are read")
        out = self._model(config, -1, _Place())
        if not self._sketch.steps or out != len(self._sketch.steps) - 1:
            raise self._error("its output is not that of its last layer: it has branches that end elsewhere")
        return self._sketch

    def _model(self, config: Config, given: int, place: _Place) -> int:
        """Add the layers of a model that reads the step `given`, and return the step of its output."""
        if place.depth > _DEPTH:
            raise self._error(f"models are nested more than {_DEPTH} deep")
        inner = config["config"]
        layers: Sequence[Config] = inner if isinstance(inner, list) else inner["layers"]  # a list before Keras 2.2.3
        if isinstance(inner, dict) and inner.get("build_input_shape") and place.depth == 0:
            self._sketch.input = _shape(inner["build_input_shape"])
        counts: Counter[str] = Counter()
        outputs: dict[str, int] = {}
        last = given
        for layer in layers:
            name = str(layer["config"]["name"])
            counted = counted_name(str(layer["class_name"]), counts)
            below = self._below(place, name, counted)
            if layer["class_name"] == "InputLayer":
                if outputs:
                    raise self._error(f"layer '{name}' is a second input, and a clip is the only one")
                last = given
            else:
                reads = self._reads(layer, name, outputs) if config["class_name"] != "Sequential" else [last]
                last = self._layer(layer, reads, below)
            if place.depth == 0 and self._sketch.input is None:
                self._sketch.input = _input_shape(layer["config"])
            outputs[name] = last
        if config["class_name"] == "Sequential":
            return last
        ends = list(_references(inner["output_layers"]))
        if len(ends) != 1:
            raise self._error(f"it has {len(ends)} outputs, and one vector a clip is needed")
        return outputs[ends[0]]

    def _below(self, place: _Place, name: str, counted: str) -> _Place:
        if place.depth == 0:
            return _Place(name, counted, "", place.per_frame, 1)
        inside = f"{place.inside}/layers/{counted}" if place.inside else f"layers/{counted}"
        return _Place(place.top, place.counted, inside, place.per_frame, place.depth + 1)

    def _reads(self, layer: Config, name: str, outputs: Mapping[str, int]) -> list[int]:
        nodes = layer["inbound_nodes"]
        if len(nodes) != 1:
            raise self._error(f"layer '{name}' is called {len(nodes)} times, and once is supported")
        found = list(_references(nodes[0]))
        unknown = [each for each in found if each not in outputs]
        if not found or unknown:
            raise self._error(f"layer '{name}' reads {unknown or 'nothing'}, which is not computed before it")
        return [outputs[each] for each in found]

    def _layer(self, layer: Config, reads: Sequence[int], place: _Place) -> int:
        kind, config = str(layer["class_name"]), layer["config"]
        name = str(config["name"])
        if kind in _REFUSED:
            raise self._error(f"layer '{name}' is a {kind}: {_REFUSED[kind]}")
        module = str(layer.get("module") or "keras")
        if not module.startswith(("keras", "tensorflow.keras", "tf_keras")) or layer.get("registered_name") not in (
            None,
            "",
            kind,
        ):
            raise self._error(f"layer '{name}' is a class of {module}, not of Keras: its code is not in the file")
        if kind in _UNUSED:
            return reads[0]
        if kind == "TimeDistributed":
            if place.per_frame:
                raise self._error(f"layer '{name}' is TimeDistributed inside TimeDistributed, which is not supported")
            inside = f"{place.inside}/layer" if place.inside else "layer"
            return self._layer(config["layer"], reads, _Place(place.top, place.counted, inside, True, place.depth))
        if kind in _MODELS:
            if len(reads) != 1:
                raise self._error(f"the model '{name}' reads {len(reads)} layers, and one is supported")
            return self._model(layer, reads[0], place)
        if kind == "Bidirectional":
            settings = self._both_ways(config, name)
        elif kind in KINDS:
            settings = self._settings(kind, config, name)
        else:
            known = ", ".join(sorted({*KINDS, "TimeDistributed"}))
            raise self._error(f"layer '{name}' is a {kind[:60]}, which is not supported; supported are {known}")
        self._sketch.steps.append(
            LayerStep(kind=kind, name=name, inputs=tuple(reads), per_frame=place.per_frame, settings=settings)
        )
        self._sketch.leaves.append(Leaf(place.top, place.counted, place.inside, name))
        return len(self._sketch.steps) - 1

    def _both_ways(self, config: Config, name: str) -> dict[str, Any]:
        onward = config["layer"]
        kind = str(onward["class_name"])
        if kind not in KINDS:
            raise self._error(f"layer '{name}' holds a {kind[:60]}, and LSTM and GRU are supported in both directions")
        back = dict((config.get("backward_layer") or onward)["config"])
        if not config.get("backward_layer"):
            back["go_backwards"] = not back.get("go_backwards", False)
        ways = (self._settings(kind, each, name) for each in (onward["config"], back))
        both = dict(zip(("onward", "backward"), ways, strict=True))
        return {"layer": kind, "merge_mode": config.get("merge_mode"), **both}

    def _settings(self, kind: str, config: Config, name: str) -> dict[str, Any]:
        """Return the keys that change what a layer computes; refuse those that are unknown here."""
        layer = KINDS[kind]
        found: dict[str, Any] = {}
        for key, value in config.items():
            if key in _ACTIVATION_KEYS and key in layer.settings:
                found[key] = self._activation(value, name)
            elif key in layer.settings:
                found[key] = value
            elif key in layer.fixed:
                if value not in (layer.fixed[key], None):
                    only = layer.fixed[key]
                    raise self._error(f"layer '{name}' ({kind}) has {key}={value}, and only {only} is supported")
            elif value and key not in _IGNORED and not key.endswith(_IGNORED_ENDS):
                shown = str(value)[:60]
                raise self._error(f"layer '{name}' ({kind}) has the setting {key}={shown}, which is unknown here")
        if found.get("padding") not in (None, "valid", "same") and kind != "ZeroPadding2D":
            raise self._error(f"layer '{name}' ({kind}) has padding={found['padding']}; valid and same are supported")
        return found

    def _activation(self, value: Any, name: str) -> str:
        if value is None:
            return "linear"
        if not isinstance(value, str) or value not in ACTIVATIONS:
            shown = value if isinstance(value, str) else "a function of its own"
            known = ", ".join(ACTIVATIONS)
            raise self._error(f"layer '{name}' has the activation {shown[:60]}, which is none of {known}")
        return OLD_HARD_SIGMOID if value == "hard_sigmoid" and self._old else value

    def _error(self, text: str) -> ModelFormatError:
        return ModelFormatError(f"{self._what}: {text}")


def counted_name(kind: str, counts: Counter[str]) -> str:
    """Return Keras 3's name of a group: the class in small letters, with a number from the second one on."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
    counts[name] += 1
    return name if counts[name] == 1 else f"{name}_{counts[name] - 1}"


def _references(node: Any) -> Iterator[str]:
    """Yield the names of the layers that a node reads, in the forms of Keras 2 and 3."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            yield str(node["config"]["keras_history"][0])
            return
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list | tuple):
        if len(node) >= 3 and isinstance(node[0], str) and all(isinstance(each, int) for each in node[1:3]):
            yield node[0]
            yield from _references(list(node[3:]))
            return
        for value in node:
            yield from _references(value)


def _input_shape(config: Config) -> tuple[int | None, ...] | None:
    for key in ("batch_shape", "batch_input_shape"):
        if config.get(key):
            return _shape(config[key])
    return None


def _shape(batch: Sequence[Any]) -> tuple[int | None, ...]:
    return tuple(None if length is None else int(length) for length in batch[1:])
