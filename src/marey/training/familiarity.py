"""Descriptions of the training clips of a trained model, and the threshold of unknown clips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import stdtrit
from torch import Tensor

from marey.evaluation import HeldOut, LeftOutClass, left_out_class
from marey.models import (
    MOST_READINGS,
    ActionModel,
    Classifier,
    Familiarity,
    FamiliarityConfig,
    describable,
    describe_summaries,
    distances,
    distances_to_class,
    keep_some,
    standardisation,
    unlikeness,
)
from marey.training.batches import ClipSet, FeatureSet
from marey.training.logistic import fit_logistic
from marey.training.stacking import Floats, log_softmax

FALSE_ALARM: Final = 0.05
_SHARES: Final = 5  # of the groups, each held out once
_STRENGTH: Final = 3.0  # C for vectors of about unit length: as 3e-4 for ten thousand standardised numbers
_ENOUGH: Final = 1.06  # 18 scores are taken as 19: the largest is exceeded by 5.3 %, not 5 %
_FEWEST: Final = 4  # training clips: with fewer there is no distance to tell from another


def with_familiarity(
    model: ActionModel,
    clips: ClipSet,
    rows: Sequence[int],
    groups: Sequence[str],
    *,
    scores: Floats | None = None,
    threshold: float | None = None,
) -> ActionModel:
    """Return a model that knows how unlike its training clips a clip is.

    Args:
        model: trained, without an encoder in int8.
        clips: all clips, as features, pooled ones, or frames.
        rows: which of them are its training clips.
        groups: the group of each training clip.
        scores: of clips of held-out groups, from `held_out_scores`: the threshold is what 5 % of them exceed. Without
            scores and threshold, each training clip is compared with those of other groups.
        threshold: of other models of the same training, in place of scores.

    Returns:
        The model as it was where a head does not end in a linear layer, or there are too few clips.
    """
    if len(rows) < _FEWEST or not describable(model.classifier):
        return model
    number = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    members = [number[name] for name in groups]
    kept, views = _kept(clips, rows, members)
    taken = clips.take([rows[place] for place in kept])
    readings, mean, scale = _standardised(_described(model.classifier, taken))
    labels = taken.labels.repeat(views)
    # With one group, or none known, each clip is compared with the others.
    own = kept if len(number) < 2 else [members[place] for place in kept]
    inside = torch.tensor(own).repeat(views)
    if threshold is None:
        if scores is None or not len(scores):
            apart = distances(readings[: len(kept)].float(), readings.float())
            apart[inside[: len(kept), None] == inside[None]] = torch.inf
            near = distances_to_class(apart, labels, taken.labels)
            scores = near[near.isfinite()].numpy()
        threshold = quantile_of_new(scores, 1 - FALSE_ALARM)
    config = FamiliarityConfig(
        clips=len(rows), groups=len(number), views=views, threshold=threshold, false_alarm=FALSE_ALARM
    )
    known = Familiarity(config, readings, labels, inside, mean, scale)
    return replace(model, config=model.config.model_copy(update={"familiarity": config}), familiarity=known)


def held_out_scores(
    folds: Iterable[tuple[Classifier, Sequence[int], Sequence[int]]], clips: ClipSet, held_out: HeldOut
) -> Floats:
    """Return how unlike the training clips those of held-out groups are, before it is divided by a threshold.

    In each inner fold everything that a clip meets is fitted to the other clips alone, the scale of the features
    included: with few groups, a scale that knows a clip's own group makes it look familiar.

    Args:
        folds: a classifier whose fixed parts are fitted to training clips, these clips, and those held out.
        clips: all clips.
        held_out: calibrated outputs for the clips held out.
    """
    place = {clip: row for row, clip in enumerate(held_out.clips)}
    found = []
    for classifier, train, validation in folds:
        if not describable(classifier):
            return np.zeros(0)
        classifier.eval()  # the last layer's input is behind a dropout
        kept, views = _kept(clips, train, [0] * len(train))
        taken = clips.take([train[index] for index in kept])
        readings, mean, scale = _standardised(_described(classifier, taken))
        chosen = [validation[index] for index in _kept(clips, validation, [0] * len(validation))[0]]
        plain = clips.take(chosen)
        others = _described(classifier, plain.center_view() if isinstance(plain, FeatureSet) else plain)
        answers = torch.from_numpy(held_out.probabilities[[place[clip] for clip in chosen]])
        confidence, predicted = answers.max(1)
        apart = distances((others - mean) * scale, readings.float())
        near = distances_to_class(apart, taken.labels.repeat(views), predicted)
        found.append(unlikeness(near, 1 - confidence).numpy())
    return np.concatenate(found)


def _kept(clips: ClipSet, rows: Sequence[int], members: Sequence[int]) -> tuple[list[int], int]:
    """Return the places of the clips to keep, and how often each was read."""
    views = clips.views if isinstance(clips, FeatureSet) else 1
    most = max(MOST_READINGS // views, 3 * clips.classes)
    return keep_some(clips.labels[list(rows)].tolist(), members, most), views


def _standardised(descriptions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean, scale = standardisation(descriptions)
    return ((descriptions - mean) * scale).half(), mean, scale


def _described(classifier: Classifier, clips: ClipSet) -> Tensor:
    """Return descriptions of clips, (views N, M), the plain reading of all clips first."""
    found = []
    if isinstance(clips, FeatureSet):
        condensed = clips.normalized(classifier).all_views()
        mask = torch.ones(clips.views * len(clips), clips.length, dtype=torch.bool)
        return describe_summaries(classifier, condensed, mask)[1]
    for batch in clips.in_order():
        summaries = classifier.forward_features(batch.features, batch.mask)
        found.append(describe_summaries(classifier, summaries, batch.mask)[1])
    return torch.cat(found)


def quantile_of_new(scores: Floats, share: float) -> float:
    """Return the least score that one of a new clip exceeds with a probability of 1 - share.

    It is the quantile of split conformal prediction. With too few scores for it, even the largest is exceeded more
    often: there the prediction interval of a log-normal distribution is taken where it is longer.
    """
    count = len(scores)
    largest = float(np.max(scores))
    if 1 / (count + 1) <= _ENOUGH * (1 - share):
        return float(np.sort(scores)[min(int(np.ceil((count + 1) * share)), count) - 1])
    if count < 2 or np.min(scores) <= 0:
        return largest
    logs = np.log(scores)
    spread = float(np.std(logs, ddof=1)) * (1 + 1 / count) ** 0.5
    return max(largest, float(np.exp(np.mean(logs) + stdtrit(count - 1, share) * spread)))


def leave_classes_out(known: Familiarity, names: Sequence[str], *, seed: int) -> tuple[LeftOutClass, ...]:
    """Leave each class out of the training clips in turn, and measure how well its clips are told from the others.

    A fifth of the groups is held out at a time. A linear classifier of the descriptions is trained on the other groups
    without the class, and its answers and distances for the clips held out give their scores: no encoder is needed.

    Args:
        known: the descriptions of the training clips.
        names: the classes.
        seed: of the intervals.

    Returns:
        One result a class; none with fewer than three classes or two groups, and none for a class of one group.
    """
    labels, groups = known.labels.numpy(), np.unique(known.groups.numpy(), return_inverse=True)[1]
    classes = np.unique(labels)
    if len(classes) < 3 or groups.max() < 1:
        return ()
    plain = np.arange(len(labels)) < len(labels) // known.config.views
    shares = np.random.default_rng(seed).permutation(groups.max() + 1) % _SHARES
    found = []
    for absent in classes:
        scores = np.full(len(labels), np.nan)
        for share in np.unique(shares):
            out = shares[groups] == share
            inside = ~out & (labels != absent)
            if len(np.unique(labels[inside])) >= 2:
                scores[out & plain] = _scores(known, np.flatnonzero(inside), np.flatnonzero(out & plain))
        there = np.isfinite(scores)
        unknown = labels[there] == absent
        if unknown.any() and not unknown.all():
            inner = np.unique(groups[there], return_inverse=True)[1]
            name, threshold = names[int(absent)], known.config.threshold
            found.append(left_out_class(name, scores[there], unknown, inner, threshold=threshold, seed=seed))
    return tuple(found)


def _scores(known: Familiarity, inside: npt.NDArray[np.int64], out: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the scores of some clips as if the model had been trained on others."""
    rows = known.clips.float()
    values, labels = rows.numpy() / rows.shape[1] ** 0.5, known.labels.numpy()
    present = np.unique(labels[inside])
    (fit,) = fit_logistic(
        values[inside],
        np.searchsorted(present, labels[inside]),
        weights=np.ones(len(inside)),
        classes=len(present),
        strengths=[_STRENGTH],
    )
    probabilities = np.exp(log_softmax(fit.logits(values[out])))
    predicted = torch.from_numpy(present[probabilities.argmax(1)])
    apart = distances(rows[out], rows[inside])
    near = distances_to_class(apart, known.labels[inside], predicted)
    return unlikeness(near, torch.from_numpy(1 - probabilities.max(1))).numpy()
