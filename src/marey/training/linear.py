"""Training of linear heads: regularisation and streams by inner folds, then one fit on all training clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from marey.errors import UsageError
from marey.evaluation import HeldOut, StreamScore, StreamSelection, fit_temperature
from marey.models import Classifier, Head
from marey.training.batches import FeatureSet, class_weights
from marey.training.logistic import DEFAULT_STRENGTH, STRENGTHS, LinearFit, fit_logistic
from marey.training.recipe import Recipe
from marey.training.stacking import LEAST_GAIN, Floats, choose_streams, fuse, log_losses, log_softmax, standard_error

Rows = Sequence[int]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FoldOutputs:
    """Logits of the validation clips of all inner folds, for each stream.

    Attributes:
        logits: head's name to float64 (strengths, N, K), each clip by a head that was not trained on it.
        labels: (N,).
        rows: (N,), numbers of the clips.
    """

    logits: dict[str, Floats]
    labels: Labels
    rows: tuple[int, ...]


class LinearTraining:
    """Clips and a recipe whose heads are linear.

    Args:
        clips: all clips, pooled: head's name to its values.
        recipe: with `training.solver: logistic`.
        prepare: returns an untrained classifier for all streams, its fixed parts fitted to the clips of some rows.

    Raises:
        UsageError: the head is not linear.
    """

    def __init__(self, clips: FeatureSet, recipe: Recipe, prepare: Callable[[Rows], Classifier]) -> None:
        self._clips = clips
        self._recipe = recipe
        self._prepare = prepare

    def outputs(self, splits: Sequence[tuple[Rows, Rows]]) -> FoldOutputs:
        """Train on each split with every strength, and return the outputs for the validation clips."""
        found: list[dict[str, Floats]] = []
        for train, validation in splits:
            classifier = self._prepare(train)
            seen = self._clips.take(validation).center_view().normalized(classifier)
            found.append(
                {
                    name: np.stack([fit.logits(seen.features[name][0].numpy()) for fit in fits])
                    for name, fits in self._fit(classifier, train, dict.fromkeys(classifier.names, self._strengths))
                }
            )
        rows = tuple(row for _, validation in splits for row in validation)
        logits = {name: np.concatenate([each[name] for each in found], axis=1) for name in found[0]}
        return FoldOutputs(logits, self._clips.labels[torch.tensor(rows)].numpy(), rows)

    def select(self, outputs: FoldOutputs) -> StreamSelection:
        """Choose the strength of each stream's head, and the streams, by the log loss on the inner folds."""
        alone = {name: self._best(logits, outputs.labels) for name, logits in outputs.logits.items()}
        scores = {name: score for name, (score, _) in alone.items()}
        calibrated = {name: logits for name, (_, logits) in alone.items()}
        if self._recipe.head.fusion != "stacked":
            weights, reason = dict.fromkeys(alone, 1 / len(alone)), "the recipe weighs all streams alike"
        else:
            weights, reason = self._weigh(calibrated, outputs.labels)
        fused = fuse(calibrated, weights)
        temperature = fit_temperature(fused, outputs.labels)
        return StreamSelection(
            {name: replace(score, weight=weights.get(name, 0.0)) for name, score in scores.items()},
            loss=float(log_losses(fused / temperature, outputs.labels).mean()),
            accuracy=_accuracy(fused, outputs.labels),
            temperature=temperature,
            reason=reason,
            held_out=HeldOut.of_logits(outputs.rows, [fused], temperature),
        )

    def select_untested(self) -> StreamSelection:
        """Return the selection where no clips could be set aside: all streams alike, and a strong penalty."""
        strength = DEFAULT_STRENGTH if self._recipe.training.C == "auto" else float(self._recipe.training.C)
        score = StreamScore(strength, 1.0, None, None, 1 / len(self._clips.features))
        reason = "no clips could be set aside to choose by"
        return StreamSelection(dict.fromkeys(self._clips.features, score), None, None, 1.0, reason)

    def fused(self, outputs: FoldOutputs, selection: StreamSelection) -> Floats:
        """Return the fused logits of the validation clips before the last temperature, (N, K)."""
        taken = {name: selection.streams[name] for name in selection.taken}
        calibrated = {
            name: log_softmax(outputs.logits[name][self._strengths.index(score.strength)] / score.temperature)
            for name, score in taken.items()
        }
        return fuse(calibrated, {name: score.weight for name, score in taken.items()})

    def finish(self, classifier: Classifier, rows: Rows, selection: StreamSelection) -> Classifier:
        """Fit the heads of a prepared classifier of the selected streams to all training clips."""
        path = {
            name: [each for each in self._strengths if each <= score.strength]
            for name, score in selection.streams.items()
        }
        for name, fits in self._fit(classifier, rows, path):
            linear, temperature = _linear(classifier, name), selection.streams[name].temperature
            with torch.no_grad():  # calibrated heads, so that their log-probabilities can be compared
                linear.weight.copy_(torch.from_numpy(fits[-1].weight / temperature))
                assert linear.bias is not None  # noqa: S101 - of all linear heads
                linear.bias.copy_(torch.from_numpy(fits[-1].bias / temperature))
        if classifier.stream_weights is not None:
            weights = [selection.streams[name].weight for name in classifier.streams]
            classifier.stream_weights.copy_(torch.tensor(weights))
        return classifier.eval()

    @property
    def _strengths(self) -> list[float]:
        strength = self._recipe.training.C
        return list(STRENGTHS) if strength == "auto" else [float(strength)]

    def _fit(
        self, classifier: Classifier, rows: Rows, strengths: dict[str, list[float]]
    ) -> list[tuple[str, list[LinearFit]]]:
        clips = self._clips.take(rows).normalized(classifier)
        labels = np.tile(clips.labels.numpy(), clips.views)
        weights = class_weights(clips.labels, clips.classes, self._recipe.training).numpy()[labels] / clips.views
        found = []
        for name in classifier.names:
            _linear(classifier, name)
            values = clips.features[name].flatten(0, 1).numpy()
            fits = fit_logistic(values, labels, weights=weights, classes=clips.classes, strengths=strengths[name])
            found.append((name, fits))
        return found

    def _best(self, logits: Floats, labels: Labels) -> tuple[StreamScore, Floats]:
        """Return the score of the strength with the least calibrated log loss, and its calibrated log-probabilities."""
        found = []
        for strength, each in zip(self._strengths, logits, strict=True):
            temperature = fit_temperature(each, labels)
            calibrated = log_softmax(each / temperature)
            loss = float(log_losses(calibrated, labels).mean())
            found.append((StreamScore(strength, temperature, loss, _accuracy(each, labels), 1.0), calibrated))
        return min(found, key=lambda each: each[0].loss or 0.0)

    def _weigh(self, calibrated: dict[str, Floats], labels: Labels) -> tuple[dict[str, float], str]:
        """Return the weights of the streams that are taken, and why."""
        chosen = self._recipe.selection
        first = {name: calibrated[name] for name in chosen.first if name in calibrated} or calibrated
        few = choose_streams(first, labels)
        spoken = " and ".join(few)
        if _accuracy(fuse(calibrated, few), labels) >= chosen.enough:
            return few, f"{spoken}: enough, with at least {chosen.enough:g} of the inner folds' clips right"
        if set(first) == set(calibrated):
            return few, f"{spoken}: each lowers the log loss on the inner folds"
        many = choose_streams(calibrated, labels)
        losses = [
            log_losses(log_softmax(fused / fit_temperature(fused, labels)), labels)
            for fused in (fuse(calibrated, few), fuse(calibrated, many))
        ]
        gain = losses[0] - losses[1]
        error = standard_error(gain)
        if gain.mean() > max(LEAST_GAIN, error):
            return many, f"{' and '.join(many)}: a lower log loss than {spoken} alone, by more than its standard error"
        return few, f"{spoken}: other streams do not lower the log loss by more than its standard error"


def _accuracy(logits: Floats, labels: Labels) -> float:
    return float((logits.argmax(-1) == labels).mean())


def _linear(classifier: Classifier, name: str) -> nn.Linear:
    """Return the linear layer that is all that is trained of a head.

    Raises:
        UsageError: more of it is trained.
    """
    head = dict(zip(classifier.names, classifier.heads, strict=True))[name]
    assert isinstance(head, Head)  # noqa: S101 - ModuleList has lost the type
    if head.only_layer is None:
        raise UsageError(
            f"training.solver=logistic fits heads that are one linear layer (mean, pyramid), and a "
            f"{type(head).__name__} is not: add training.solver=adamw, and head.fusion=late if it is stacked"
        )
    return head.only_layer
