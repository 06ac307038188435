"""Low-rank adapters beside the linear layers of a network, by peft; merged into the weights after the training."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any, Final

import torch
from torch import nn

from marey.errors import UsageError, did_you_mean
from marey.extras import install_command
from marey.models.fine_tuning import LowRank

_PROJECTIONS: Final = frozenset({"qkv", "q", "v", "query", "value", "q_proj", "v_proj"})
"""Names of the layers to queries and values in timm and transformers."""


def add_adapters(network: nn.Module, lora: LowRank, *, called: Collection[str], name: str) -> tuple[nn.Module, ...]:
    """Add adapters to a network, of which nothing else is trained then, and return its layers that have one.

    Args:
        network: frozen.
        lora: the choice.
        called: paths of its linear layers that have an effect when they are called.
        name: of the network, for errors.

    Raises:
        UsageError: peft is not installed, or the network has no such layers.
    """
    peft = _peft()
    chosen = _adapted_layers(network, lora, called, name)
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=chosen, bias="none"
    )
    peft.inject_adapter_in_model(config, network)
    return tuple(network.get_submodule(each) for each in chosen)


def merge_adapters(network: nn.Module) -> None:
    """Add the adapters of a network to its weights, and remove them; a network without adapters stays as it is."""
    adapted: list[tuple[str, Any]] = [(name, each) for name, each in network.named_modules() if hasattr(each, "lora_A")]
    for name, module in adapted:
        module.merge()
        network.set_submodule(name, module.get_base_layer())


def _adapted_layers(network: nn.Module, lora: LowRank, called: Collection[str], name: str) -> list[str]:
    """Return the paths of the layers that get an adapter.

    Raises:
        UsageError: there are none.
    """
    linear = {path: module for path, module in network.named_modules() if isinstance(module, nn.Linear)}
    wanted = _PROJECTIONS if lora.modules == "auto" else frozenset(lora.modules)
    by_name = [path for path in linear if path.rpartition(".")[2] in wanted]
    chosen = [path for path in by_name if path in called]
    if chosen:
        return chosen
    if by_name:
        raise UsageError(
            f"{name} takes the weights of '{by_name[0]}' without calling the layer, so that training.lora cannot adapt "
            "it: train its last blocks instead, as in training.unfreeze=2, or name others in training.lora.modules"
        )
    if lora.modules == "auto":
        raise UsageError(
            f"{name} has no attention with layers to queries and values, which training.lora adapts: train its last "
            "blocks or stages instead, as in training.unfreeze=2, or take a transformer, such as videomae"
        )
    known = sorted({path.rpartition(".")[2] for path in linear})
    raise UsageError(f"{name} has no linear layer '{lora.modules[0]}'; {did_you_mean(lora.modules[0], known)}")


def called_layers(network: nn.Module, run: Callable[[], object]) -> frozenset[str]:
    """Return the paths of the linear layers that a run calls.

    Some attentions take the weights of a layer past its call (Swin of torchvision, EVA of timm): an adapter beside such
    a layer would have no effect.
    """
    called: set[str] = set()
    hooks = [
        module.register_forward_hook(lambda *_, path=path: called.add(path))
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear)
    ]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return frozenset(called)


def _peft() -> ModuleType:
    try:
        import peft
    except ImportError as error:
        raise UsageError(
            f"training.lora needs the package peft, which is not installed: {install_command('lora')}"
        ) from error
    return peft
