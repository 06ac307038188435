"""Recipes, splits, and the training of heads on features and of networks on frames."""

from __future__ import annotations

from marey.training.augmentation import Augmentation, augment
from marey.training.batches import Batch, ClipSet, FeatureSet, FrameSet, TrainingBatches
from marey.training.checkpoint import History
from marey.training.experiment import Experiment, run_protocol
from marey.training.fold import FoldResult
from marey.training.loop import FitResult, Task, fit, require_fabric
from marey.training.protocol import Protocol, inner_splits, make_splits
from marey.training.recipe import Recipe, Training, Views
from marey.training.recipe_file import DEFAULT_RECIPE, load_recipe, recipe_names

__all__ = [
    "DEFAULT_RECIPE",
    "Augmentation",
    "Batch",
    "ClipSet",
    "Experiment",
    "FeatureSet",
    "FitResult",
    "FoldResult",
    "FrameSet",
    "History",
    "Protocol",
    "Recipe",
    "Task",
    "Training",
    "TrainingBatches",
    "Views",
    "augment",
    "fit",
    "inner_splits",
    "load_recipe",
    "make_splits",
    "recipe_names",
    "require_fabric",
    "run_protocol",
]
