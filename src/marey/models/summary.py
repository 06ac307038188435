"""Parameters and layers of a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from marey.models.classifier import Classifier, HeadSpec
from marey.models.fine_tuning import FineTuning

_STATISTICS = ("running_mean", "running_var")
_ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activations", "transformers.activations")


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Number of parameters, counted as Keras counts them.

    An LSTM of PyTorch has two vectors of biases where one would do; the second, 4 x `hidden` a layer and direction, is
    left out, so that counts can be compared with published tables.

    Attributes:
        weights: trained ones, frozen or not.
        statistics: means and variances of batch normalisation.
    """

    weights: int
    statistics: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.statistics


@dataclass(frozen=True, slots=True)
class TrainedCount:
    """Number of parameters of a classifier, of which a part is trained.

    Attributes:
        trained: adapters included.
        frozen: of the encoder.
        kept: all numbers of the saved model, into which adapters are merged.
    """

    trained: int
    frozen: int
    kept: int

    def __str__(self) -> str:
        return f"{self.trained:,} trained, {self.kept:,} in all"


@dataclass(frozen=True, slots=True)
class Layer:
    """A row of the table of layers.

    Attributes:
        name: path in the network.
        kind: name of its class.
        output: shape of its output, the first axis the batch.
        parameters: their number.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int


def count_parameters(network: nn.Module, *, trained: bool = False) -> ParameterCount:
    """Count the parameters of a network, or those of them that are trained."""
    each = [_own(module, trained=trained) for module in network.modules()]
    return ParameterCount(sum(count.weights for count in each), sum(count.statistics for count in each))


def count_trained(
    head: HeadSpec, shapes: Mapping[str, tuple[int, ...]], classes: int, tuning: FineTuning
) -> TrainedCount:
    """Count what a training changes of a classifier.

    The classifier is built without values, in no memory.

    Args:
        head: the choice.
        shapes: stream name to shape of its input.
        classes: number of labels.
        tuning: the part of an encoder that is trained.

    Raises:
        UsageError: there is no such part.
    """
    with torch.device("meta"):
        classifier = Classifier(head, shapes, classes)
        kept = count_parameters(classifier).total
        classifier.begin_training(tuning)
    trained = count_parameters(classifier, trained=True).weights
    return TrainedCount(trained, count_parameters(classifier).weights - trained, kept)


def list_layers(network: nn.Module, run: Callable[[], object]) -> tuple[Layer, ...]:
    """Return the layers of a network in the order of their calls, each once, without activations and identities.

    The parameters add up to those of the network: a module with parameters beside its layers has a row for them, and
    what no call reaches is in a last row with the name and the output left empty.

    Args:
        network: the network.
        run: calls it once.
    """
    outputs: dict[nn.Module, tuple[str, tuple[int, ...]]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            values = output[0] if isinstance(output, tuple) else output
            outputs.setdefault(module, (name, tuple(values.shape) if isinstance(values, Tensor) else ()))

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in network.named_modules()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()

    def reached(module: nn.Module) -> int:
        """Return the parameters of a module, and of those in it that are not called by themselves."""
        return _own(module).total + sum(reached(child) for child in module.children() if child not in outputs)

    found = []
    for module, (name, output) in outputs.items():
        count = reached(module)
        if _is_layer(module) or (count and not _is_passive(module)):
            found.append(Layer(name, type(module).__name__, output, count))
    rest = count_parameters(network).total - sum(layer.parameters for layer in found)
    return (*found, Layer("", type(network).__name__, (), rest)) if rest else tuple(found)


def _own(module: nn.Module, *, trained: bool = False) -> ParameterCount:
    """Count the parameters of a module without those of the modules in it, or those of them that are trained."""
    second = "bias_hh" if isinstance(module, nn.LSTM) else "\0"
    weights = (
        values
        for name, values in module.named_parameters(recurse=False)
        if not name.startswith(second) and (values.requires_grad or not trained)
    )
    statistics = (values for name, values in module.named_buffers(recurse=False) if name in _STATISTICS)
    return ParameterCount(sum(each.numel() for each in weights), sum(each.numel() for each in statistics))


def _is_layer(module: nn.Module) -> bool:
    """Return whether a module has a row whatever its parameters: nothing in it has one."""
    return not _is_passive(module) and all(_is_passive(child) for child in module.children())


def _is_passive(module: nn.Module) -> bool:
    """Return whether a module is an activation or an identity, or only holds such."""
    children = list(module.children())
    if children or any(True for _ in module.parameters()):
        return bool(children) and not _own(module).total and all(map(_is_passive, children))
    place = type(module).__module__
    return isinstance(module, nn.Identity) or place.startswith(_ACTIVATIONS)
