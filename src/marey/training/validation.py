"""Outputs for validation clips, and the temperature that calibrates them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.evaluation import fit_temperature


@dataclass(frozen=True, slots=True)
class ValidationOutputs:
    """Outputs of a classifier for clips that it was not trained on.

    Attributes:
        logits: (N, classes).
        labels: (N,), the targets.
    """

    logits: Tensor
    labels: Tensor


def temperature_of(outputs: Sequence[ValidationOutputs]) -> float:
    """Fit one temperature to all validation clips, each classified by a model that was not trained on it."""
    logits, labels = torch.cat([each.logits for each in outputs]), torch.cat([each.labels for each in outputs])
    return fit_temperature(logits.numpy(), labels.numpy())
