"""Recipes, protocols, and the training of heads on cached features."""

from __future__ import annotations

from marey.training.augmentation import Augmentation, augment
from marey.training.batches import Batch, ClipSet, FeatureSet, PictureSet, TrainingBatches
from marey.training.experiment import Experiment, Trained, run_protocol
from marey.training.fit import Fit, Task, fit, fit_many
from marey.training.logs import History
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
    "Task",
    "Trained",
    "Training",
    "TrainingBatches",
    "Views",
    "augment",
    "fit",
    "fit_many",
    "load_recipe",
    "plan",
    "recipe_names",
    "run_protocol",
    "validations_of",
]
