"""Recipes that train a part of their encoder: how they are written, and how they are trained."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any, Final

from marey.encoders import EncoderSpec, backbone_of, family_of
from marey.training.recipe import Recipe

RECIPE: Final = "finetune"
"""Name of the recipe whose settings are taken for an encoder that is trained."""

_OF_FEATURES: Final = ("temporal_jitter", "frame_dropout", "inner_folds")
"""Keys of a training on features alone, or too expensive for a network on frames."""


def read_finetune(values: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe with the head `finetune` of earlier versions as today's recipe, with a `FutureWarning`."""
    head = values.get("head")
    if not isinstance(head, dict) or head.get("name") != RECIPE:
        return values
    warnings.warn(
        "the head 'finetune' is now an encoder, a head and training.unfreeze, as in the recipe 'finetune'; the next "
        "release will not read the old keys",
        FutureWarning,
        stacklevel=3,
    )
    options = dict(head.get("options") or {})
    encoder = {**(values.get("encoder") or {}), "name": options.pop("backbone", "efficientnet-lite0")}
    training = {"unfreeze": options.pop("unfreeze", 2), **(values.get("training") or {})}
    attention = {**head, "name": "attention", "options": options}
    encoder["weights"] = attention.pop("weights", "random")
    return {**values, "encoder": encoder, "head": attention, "training": training}


def trains_encoder(values: Mapping[str, Any]) -> bool:
    """Return True for a recipe as YAML gives it that trains a part of its encoder."""
    training = values.get("training")
    return isinstance(training, dict) and (bool(training.get("unfreeze")) or training.get("lora") is not None)


def take_settings(values: dict[str, Any], settings: Mapping[str, Any], *, named: Collection[str]) -> None:
    """Replace the settings for a head on frozen features by those for a network on frames.

    Sixty epochs at the rate of a probe would undo what an encoder has learnt.

    Args:
        values: of a recipe for a frozen encoder that is to be trained; changed in place.
        settings: the section `training` of the recipe `finetune`.
        named: keys that the user has chosen, which stay.
    """
    training, search = values["training"], values.get("search")
    if training.get("solver") == "logistic":
        return  # which trains no encoder, and is refused for that
    for key in (*_OF_FEATURES, *settings):
        if key in ("unfreeze", "lora") or f"training.{key}" in named:
            continue
        training.pop(key, None)
        if key in settings:
            training[key] = settings[key]
    if isinstance(search, dict):
        for key in _OF_FEATURES:
            search.pop(f"training.{key}", None)


def trained_on_frames(recipe: Recipe) -> Recipe:
    """Return a recipe that trains a part of its encoder as one that reads raw frames; any other as it is.

    The encoder and its weights become a part of the head, and frames are read in the size of the encoder's input.

    Raises:
        UsageError: the encoder cannot be trained.
        WeightsError: the configuration beside its weights cannot be read.
    """
    if not recipe.training.fine_tuning.trains or family_of(recipe.encoder).gives == "frames":
        return recipe
    backbone, size = backbone_of(recipe.encoder, frames=recipe.sampling.count)
    head = recipe.head.model_copy(update={"backbone": backbone, "weights": recipe.encoder.weights})
    changed = {"encoder": EncoderSpec(name="pixels", size=size), "head": head}
    return Recipe.model_validate(recipe.model_copy(update=changed).model_dump())
