"""A class added to a trained model by its clips alone: imprinted weights."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from marey.encoders import Features
from marey.errors import UsageError
from marey.models.checkpoint import ActionModel
from marey.models.classifier import Classifier, full_mask, stack_clips
from marey.models.head import Head

THRESHOLD: Final = 0.2
"""Cosine at which an imprinted class scores no more than the bias of the others; measured, see `docs/results.md`."""


def is_imprintable(classifier: Classifier) -> bool:
    """Return whether all heads are one linear layer on a fixed summary of the clip."""
    return all(head.only_layer is not None for head in classifier.heads if isinstance(head, Head))


@torch.no_grad()
def imprint(model: ActionModel, label: str, clips: Sequence[Features]) -> ActionModel:
    """Return a model with one more class, whose weights are the mean direction of its clips (Qi et al. 2018).

    In each head the summaries of the clips are scaled to length one and averaged; the new row of the linear layer has
    that direction, and the mean length of the rows that are there. Its bias is their mean one, less what a clip gets
    whose cosine to the direction is `THRESHOLD`: a mean of whole clips resembles every clip a little, where rows that
    were trained against each other do not. The other rows stay as they are, so that the old classes keep their order.
    Where the model is an average of seeds, it is now one head: its members do not know the class.

    Args:
        model: with heads that are one linear layer on a fixed summary.
        label: of the new class; it becomes the last one.
        clips: one or more, each in one or several views: stream name to float32 (T, D).

    Raises:
        UsageError: a head is of another kind.
    """
    if not is_imprintable(model.classifier):
        raise UsageError(
            f"the head '{model.config.head.name}' is not one linear layer on a summary of the clip, and takes a new "
            "class only by training it again"
        )
    classifier = deepcopy(model.classifier)
    batch = stack_clips(clips)
    summaries = classifier.forward_features(batch, full_mask(batch))
    for head, summary in zip(classifier.heads, summaries.values(), strict=True):
        assert isinstance(head, Head)  # noqa: S101 - ModuleList has lost the type
        linear = head.only_layer
        assert linear is not None  # noqa: S101 - asked before
        head.linear = _with_row(linear, summary)
        head.classes += 1
    config = model.config.model_copy(update={"labels": (*model.labels, label), "seeds": 1})
    return ActionModel(config, classifier.eval(), model.network)


def _with_row(linear: nn.Linear, summary: Tensor) -> nn.Linear:
    direction = normalize(normalize(summary, dim=1).mean(0), dim=0)
    row = direction * linear.weight.norm(dim=1).mean()
    bias = linear.bias.mean() - THRESHOLD * row.norm() * summary.norm(dim=1).mean()
    wider = nn.Linear(linear.in_features, linear.out_features + 1)
    wider.weight.copy_(torch.cat([linear.weight, row[None]]))
    wider.bias.copy_(torch.cat([linear.bias, bias[None]]))
    return wider
