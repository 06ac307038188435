"""Answers for training clips by models that were not trained on them: the evidence that a model carries with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

PREFIX: Final = "held_out."
"""Of its tensors in `model.safetensors`."""

_FLOATS: Final = ("confidence", "own", "above")
_INTEGERS: Final = ("rank", "groups")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class HeldOutConfig(BaseModel):
    """The part of a model's `config.json` on clips that were held out.

    Attributes:
        clips: number of clips.
        groups: number of their groups; a clip without a known group is one by itself.
        grouped: True where groups are known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: Annotated[int, Field(ge=1)]
    groups: Annotated[int, Field(ge=1)]
    grouped: bool


@dataclass(frozen=True)
class HeldOutAnswers:
    """Numbers of the answers for clips that were held out, that are needed to bound the errors for new ones.

    Attributes:
        config: counts.
        confidence: float64 (N,), probability of the predicted label.
        own: float64 (N,), probability of the true label.
        above: float64 (N,), sum of the probabilities of the labels that are more probable than the true one.
        rank: int64 (N,), number of those labels; 0 where the predicted label is the true one.
        groups: int64 (N,), numbers of the groups, from 0.
    """

    config: HeldOutConfig
    confidence: Floats
    own: Floats
    above: Floats
    rank: Integers
    groups: Integers

    @classmethod
    def of(
        cls, probabilities: npt.ArrayLike, labels: npt.ArrayLike, groups: Sequence[str], *, grouped: bool
    ) -> HeldOutAnswers:
        """Return what is kept of answers.

        Args:
            probabilities: (N, K), calibrated, N >= 1, each clip by a model that was not trained on its group.
            labels: (N,), indices of the true labels.
            groups: name of the group of each clip.
            grouped: whether these are known groups, and not the clips themselves.
        """
        given, target = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
        order = np.argsort(-given, axis=1, kind="stable")
        rank = np.argmax(order == target[:, None], axis=1)
        ranked = np.take_along_axis(given, order, axis=1)
        rows = np.arange(len(given))
        member = np.unique(list(groups), return_inverse=True)[1].astype(np.int64)
        return cls(
            HeldOutConfig(clips=len(given), groups=int(member.max()) + 1, grouped=grouped),
            confidence=ranked[:, 0],
            own=given[rows, target],
            above=(np.cumsum(ranked, axis=1) - ranked)[rows, rank],
            rank=rank.astype(np.int64),
            groups=member,
        )

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """`(N,)`, where the predicted label is the true one."""
        return np.equal(self.rank, 0)

    @property
    def weights(self) -> Floats:
        """`(N,)`, of the clips, so that each group counts the same; they sum to 1."""
        return np.asarray(1 / np.bincount(self.groups)[self.groups] / self.config.groups)

    @property
    def unit(self) -> str:
        """The word for what is exchangeable: "group", or "clip" where none are known."""
        return "group" if self.config.grouped else "clip"

    def state(self) -> dict[str, Tensor]:
        """Return its tensors, named as in `model.safetensors`."""
        return {
            f"{PREFIX}{name}": torch.from_numpy(np.ascontiguousarray(getattr(self, name)))
            for name in (*_FLOATS, *_INTEGERS)
        }

    @classmethod
    def of_state(cls, config: HeldOutConfig, state: Mapping[str, Tensor]) -> Self:
        """Return it from its tensors.

        Raises:
            KeyError: one is missing.
            RuntimeError: they do not fit each other, or the counts of the config.
        """
        found = {name: state[f"{PREFIX}{name}"] for name in (*_FLOATS, *_INTEGERS)}
        groups = found["groups"]
        if {each.shape for each in found.values()} != {(config.clips,)} or not (
            groups.dtype == torch.int64 and set(groups.tolist()) == set(range(config.groups))
        ):
            raise RuntimeError(
                f"the tensors of {PREFIX}* are not those of {config.clips} clips in {config.groups} groups"
            )
        floats = {name: found[name].double().numpy() for name in _FLOATS}
        return cls(config, **floats, rank=found["rank"].long().numpy(), groups=groups.numpy())
