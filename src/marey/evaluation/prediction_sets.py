"""Sets of labels that hold the true one with a stated share, by conformal prediction over groups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from math import ceil, floor
from typing import Final

import numpy as np
import numpy.typing as npt

from marey.errors import UsageError
from marey.models import HeldOutAnswers

Floats = npt.NDArray[np.float64]

LEVEL: Final = 0.9
"""Of the sets that every report measures."""

_FREE: Final = 5  # labels that cost nothing, and what each further one costs: RAPS, without tuning
_COST: Final = 0.01


@dataclass(frozen=True)
class PredictionSets:
    """The rule from the probabilities of a clip to a set of labels.

    The score of a label is that of RAPS (Angelopoulos et al. 2021): the probability of all more probable labels, and a
    random part of its own. One clip of each group that was held out is drawn, and the label is taken unless its score
    is above those of too many of them. Clips of a group are alike, so that no more than one of each may count: groups
    are exchangeable, and clips are not (Dunn, Wasserman and Ramdas 2022, "subsampling once"). The share of all such
    draws that take a label has a closed form; the label is taken where it is above a random number of the clip.
    So each clip that was held out is used, and over clips of new groups the share of sets that hold the true label is
    exactly `level`, where the held-out answers are as good as those of the model. They are of models with fewer
    training groups, which makes the sets a little larger than needed.

    That takes 1 / (1 - level) - 1 groups. With fewer, the scores of all clips are taken as if clips were exchangeable,
    each group with the same weight: then nothing is guaranteed, and `guaranteed` is False.

    Attributes:
        held_out: answers for clips that were held out.
        level: share of the sets that shall hold the true label.
    """

    held_out: HeldOutAnswers
    level: float = LEVEL

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise UsageError(f"sets={self.level:g}: a share of sets that hold the truth lies between 0 and 1, as 0.9")

    @property
    def needed(self) -> int:
        """The number of groups from which the share is guaranteed."""
        return ceil(1 / (1 - self.level) - 1 - 1e-9)

    @property
    def guaranteed(self) -> bool:
        """True where there are enough groups."""
        return self.held_out.config.groups >= self.needed

    @property
    def note(self) -> str:
        """A sentence on what the sets are worth."""
        unit, groups = self.held_out.unit, self.held_out.config.groups
        if self.guaranteed:
            return (
                f"each set holds the true label with {_percent(self.level)}, over new {unit}s like the {groups} that "
                "were held out"
            )
        most = groups / (groups + 1)
        remedy = f"add {unit}s, or ask for {_floor_text(most)} or less" if most >= 0.5 else f"add {unit}s"
        return (
            f"the sets are not guaranteed: {_percent(self.level)} takes {self.needed} held-out {unit}s, and there "
            f"{'is' if groups == 1 else 'are'} {groups}; {remedy}"
        )

    def take(self, probabilities: npt.ArrayLike, *, draw: str) -> tuple[int, ...]:
        """Return the labels of a clip's set, most probable first; never empty: the most probable label is always in it.

        Args:
            probabilities: (K,), calibrated.
            draw: what the random numbers of the clip are drawn from, such as the hash of its content: the same clip
                has the same set.
        """
        exact = self.take_exactly(probabilities, draw=draw)
        return exact or (int(np.argmax(np.asarray(probabilities))),)

    def take_exactly(self, probabilities: npt.ArrayLike, *, draw: str) -> tuple[int, ...]:
        """Return the set by which `level` is exact: it is empty for some clips, where most predictions are right."""
        given = np.asarray(probabilities, dtype=np.float64)
        part, drawn = _uniform(draw)
        order = np.argsort(-given, kind="stable")
        ranked = given[order]
        scores = _scores(np.cumsum(ranked) - ranked, ranked, np.arange(len(ranked)), part)
        return tuple(int(label) for label in order[scores < self._limit(drawn)])

    @cached_property
    def _sorted(self) -> tuple[Floats, npt.NDArray[np.int64], Floats]:
        """Return the scores of the clips held out in ascending order, their groups, and their shares of these."""
        kept = self.held_out
        part = np.random.default_rng(0).random(len(kept.own))
        scores = _scores(kept.above, kept.own, kept.rank, part)
        order = np.argsort(scores, kind="stable")
        groups = kept.groups[order]
        return scores[order], groups, 1 / np.bincount(groups)[groups]

    def _limit(self, drawn: float) -> float:
        """Return the score below which a label is taken."""
        scores, groups, shares = self._sorted
        count = len(scores)
        if not self.guaranteed:
            above = np.cumsum((shares / self.held_out.config.groups)[::-1])[::-1] * count
            taken = (above + 1) / (count + 1) > 1 - self.level  # as if the clips were exchangeable
            return float(scores[np.flatnonzero(taken)[-1]]) if taken.any() else -np.inf
        low, high = 0, count + 1  # the labels between scores `place - 1` and `place` are taken for place = low
        while high - low > 1:
            middle = (low + high) // 2
            shares_above = np.bincount(groups[middle:], weights=shares[middle:], minlength=self.held_out.config.groups)
            if self._share_taken(shares_above.astype(np.float64)) > drawn:
                low = middle
            else:
                high = middle
        return float(scores[low]) if low < count else np.inf

    def _share_taken(self, above: Floats) -> float:
        """Return the share of the draws that take a label, where `above` are the shares of each group's clips above it.

        A draw takes it where the number of drawn clips above it, and a random part of the new clip itself, are more
        than a share 1 - level of all.
        """
        bound = (1 - self.level) * (self.held_out.config.groups + 1)
        whole = floor(bound + 1e-9)
        part = max(0.0, bound - whole)
        certain = int((above >= 1 - 1e-12).sum())
        rest = whole - certain
        if rest < 0:
            return 1.0
        odds = np.zeros(rest + 1)  # probabilities that so many of the groups that are not certain are above
        odds[0] = 1.0
        for share in above[(above > 1e-12) & (above < 1 - 1e-12)]:
            odds[1:] = odds[1:] * (1 - share) + odds[:-1] * share
            odds[0] *= 1 - share
        return float(1 - odds.sum() + odds[rest] * (1 - part))


def _scores(above: Floats, own: Floats, rank: npt.NDArray[np.int64], part: Floats | float) -> Floats:
    return np.asarray(above + part * own + _COST * np.maximum(0, rank + 1 - _FREE))


def _uniform(draw: str) -> tuple[float, float]:
    """Return two numbers in [0, 1) that look random, the same for the same text."""
    digest = blake2b(draw.encode("utf-8", "surrogateescape"), digest_size=16).digest()
    first, second = (int.from_bytes(digest[start : start + 8], "big") for start in (0, 8))
    return first / 2**64, second / 2**64


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _floor_text(share: float) -> str:
    return f"{floor(100 * share + 1e-9) / 100:g}"
