"""Trained heads: their registry, the classifier of one head a stream, and the model folder."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from marey.models.checkpoint import ActionModel, ModelConfig, check_output_dir, load_model, new_classifier, save_model
from marey.models.classifier import Classifier, HeadSpec, full_mask, fuse, stack_clips
from marey.models.head import FeatureHead, Head, Standardise, masked_mean
from marey.models.imprinting import imprint, is_imprintable
from marey.models.registry import check_options, create_head, find_head, head_names, head_options, register_head
from marey.models.summary import Layer, ParameterCount, count_parameters, list_layers
from marey.models.zero_shot import ZERO_SHOT, ZeroShotHead

for _module in iter_modules(__path__):  # a new file registers its heads by being there
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "ZERO_SHOT",
    "ActionModel",
    "Classifier",
    "FeatureHead",
    "Head",
    "HeadSpec",
    "Layer",
    "ModelConfig",
    "ParameterCount",
    "Standardise",
    "ZeroShotHead",
    "check_options",
    "check_output_dir",
    "count_parameters",
    "create_head",
    "find_head",
    "full_mask",
    "fuse",
    "head_names",
    "head_options",
    "imprint",
    "is_imprintable",
    "list_layers",
    "load_model",
    "masked_mean",
    "new_classifier",
    "register_head",
    "save_model",
    "stack_clips",
]
