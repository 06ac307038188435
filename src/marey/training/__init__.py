"""Recipes, protocols, and the training of heads on cached features."""

from __future__ import annotations

from marey.training.augmentation import Augmentation, augment
from marey.training.batches import Batch, ClipSet, FeatureSet, PictureSet, TrainingBatches
from marey.training.experiment import Experiment, Trained, run_protocol
from marey.training.fit import Fit, History, fit
from marey.training.protocol import Protocol, plan, validations_of
from marey.training.recipe import DEFAULT_RECIPE, Recipe, Training, Views, load_recipe, recipe_names

__all__ = [
    "DEFAULT_RECIPE",
    "Augmentation",
    "Batch",
    "ClipSet",
    "Experiment",
    "FeatureSet",
    "Fit",
    "History",
    "PictureSet",
    "Protocol",
    "Recipe",
    "Trained",
    "Training",
    "TrainingBatches",
    "Views",
    "augment",
    "fit",
    "load_recipe",
    "plan",
    "recipe_names",
    "run_protocol",
    "validations_of",
]
