"""Trained heads: their registry, the classifier of one head a stream, and the model folder."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from marey.models.checkpoint import (
    MOST_SEEDS,
    ActionModel,
    ModelConfig,
    check_output_dir,
    load_model,
    new_classifier,
    save_model,
)
from marey.models.classifier import Classifier, HeadSpec, average, full_mask, fuse, stack_clips
from marey.models.familiarity import (
    MOST_READINGS,
    Familiarity,
    FamiliarityConfig,
    describable,
    describe,
    describe_summaries,
    distances,
    distances_to_class,
    keep_some,
    standardisation,
    unlikeness,
)
from marey.models.fine_tuning import FineTuning, LowRank
from marey.models.head import FeatureHead, Head, Standardise, masked_mean
from marey.models.held_out import HeldOutAnswers, HeldOutConfig
from marey.models.imprinting import imprint, is_imprintable
from marey.models.members import LinearMembers, Members
from marey.models.registry import check_options, create_head, find_head, head_names, head_options, register_head
from marey.models.summary import Layer, ParameterCount, TrainedCount, count_parameters, count_trained, list_layers
from marey.models.zero_shot import ZERO_SHOT, ZeroShotHead

for _module in iter_modules(__path__):  # a new file registers its heads by being there
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "MOST_READINGS",
    "MOST_SEEDS",
    "ZERO_SHOT",
    "ActionModel",
    "Classifier",
    "Familiarity",
    "FamiliarityConfig",
    "FeatureHead",
    "FineTuning",
    "Head",
    "HeadSpec",
    "HeldOutAnswers",
    "HeldOutConfig",
    "Layer",
    "LinearMembers",
    "LowRank",
    "Members",
    "ModelConfig",
    "ParameterCount",
    "Standardise",
    "TrainedCount",
    "ZeroShotHead",
    "average",
    "check_options",
    "check_output_dir",
    "count_parameters",
    "count_trained",
    "create_head",
    "describable",
    "describe",
    "describe_summaries",
    "distances",
    "distances_to_class",
    "find_head",
    "full_mask",
    "fuse",
    "head_names",
    "head_options",
    "imprint",
    "is_imprintable",
    "keep_some",
    "list_layers",
    "load_model",
    "masked_mean",
    "new_classifier",
    "register_head",
    "save_model",
    "stack_clips",
    "standardisation",
    "unlikeness",
]
