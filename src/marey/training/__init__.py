"""Recipes, splits, and the training of heads on features and of networks on frames."""

from __future__ import annotations

from marey.training.augmentation import Augmentation, augment
from marey.training.batches import Batch, ClipSet, FeatureSet, FrameSet, TrainingBatches
from marey.training.checkpoint import History
from marey.training.cross_validation import run_protocol
from marey.training.datasets import ClipDataset, FeatureDataset
from marey.training.diagnosis import (
    across_splits,
    class_examples,
    curve_trials,
    leaks_of,
    near_duplicates,
    out_of_fold,
    usable_clips,
)
from marey.training.epochs import Epoch, kept_values, watched_epochs
from marey.training.experiment import Experiment
from marey.training.familiarity import leave_classes_out, with_familiarity
from marey.training.fold import FoldResult
from marey.training.loop import FitResult, Task, fit, require_fabric, require_frames
from marey.training.protocol import Protocol, inner_splits, make_splits
from marey.training.recipe import Recipe
from marey.training.recipe_file import DEFAULT_RECIPE, load_recipe, recipe_names
from marey.training.settings import Training, Views

__all__ = [
    "DEFAULT_RECIPE",
    "Augmentation",
    "Batch",
    "ClipDataset",
    "ClipSet",
    "Epoch",
    "Experiment",
    "FeatureDataset",
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
    "across_splits",
    "augment",
    "class_examples",
    "curve_trials",
    "fit",
    "inner_splits",
    "kept_values",
    "leaks_of",
    "leave_classes_out",
    "load_recipe",
    "make_splits",
    "near_duplicates",
    "out_of_fold",
    "recipe_names",
    "require_fabric",
    "require_frames",
    "run_protocol",
    "usable_clips",
    "watched_epochs",
    "with_familiarity",
]
