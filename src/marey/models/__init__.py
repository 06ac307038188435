"""Trained heads: a registry of them, the classifier made of them, and the model folder."""

from __future__ import annotations

from marey.models import heads as heads  # registers them
from marey.models.bundle import ActionModel, ModelConfig, load_model, new_classifier, save_model
from marey.models.classifier import Classifier, HeadSpec, fuse
from marey.models.head import Head, Standardise, masked_mean
from marey.models.registry import create_head, head_names, head_options, register_head

__all__ = [
    "ActionModel",
    "Classifier",
    "Head",
    "HeadSpec",
    "ModelConfig",
    "Standardise",
    "create_head",
    "fuse",
    "head_names",
    "head_options",
    "load_model",
    "masked_mean",
    "new_classifier",
    "register_head",
    "save_model",
]
