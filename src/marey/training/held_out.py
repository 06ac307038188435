"""Answers for clips that were held out, kept with a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from marey.data import Clip, group_or_path
from marey.evaluation import HeldOut
from marey.models import ActionModel, HeldOutAnswers


def with_held_out(model: ActionModel, held_out: HeldOut | None, labels: Tensor, clips: Sequence[Clip]) -> ActionModel:
    """Return a model that knows how often, and with what confidence, models like it are wrong.

    Args:
        model: trained.
        held_out: answers by models that were not trained on these clips; None where no clips could be set aside.
        labels: int64, of all clips.
        clips: those of the answers, in their order.
    """
    if held_out is None or not clips:
        return model
    answers = HeldOutAnswers.of(
        held_out.probabilities,
        labels[list(held_out.clips)].numpy(),
        [group_or_path(clip) for clip in clips],
        grouped=any(clip.group is not None for clip in clips),
    )
    return replace(model, config=model.config.model_copy(update={"held_out": answers.config}), held_out=answers)
