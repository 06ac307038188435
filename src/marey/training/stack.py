"""Classifiers of one shape on cached features, computed as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.optim.adamw import adamw

from marey.models import Classifier, fuse
from marey.training.chance import Chance, GivenDropout

_ALONE: Final = (nn.RNNBase, nn.MultiheadAttention, nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


@dataclass(frozen=True, slots=True)
class StackedBatch:
    """What several classifiers learn from in one step, each its own clips; K classifiers, at most B clips each.

    Attributes:
        features: stream name to (K, B, T, D), or head name to what the trained layers see, (K, B, ...).
        mask: bool (K, B, T), true where there is a frame.
        targets: (K, B, classes), how much each class of each clip counts in the loss; zeros where there is no clip.
        counts: clips of each classifier.
    """

    features: dict[str, Tensor]
    mask: Tensor
    targets: Tensor
    counts: list[int]


def is_stackable(classifier: Classifier) -> bool:
    """Whether it can be computed together with others, and chance be drawn for each by itself.

    Recurrent layers cannot be vectorised; attention and PyTorch's dropout draw from the one generator that all share.
    """
    return not any(isinstance(module, _ALONE) for module in classifier.modules())


class Stack:
    """The parameters of several classifiers, and AdamW's moments (Loshchilov and Hutter 2019).

    Several are stacked, and `vmap` runs all of them at once, each on clips of its own. One is run as it is. Either way
    each draws the same chance and comes to the same weights, to the rounding of sums.

    Args:
        classifiers: of one shape; they stay as they are. Several have to be stackable.
        summarised: whether batches hold what the trained layers see, or features.
        length: frames of a clip.
        sample: one clip of a batch, (1, 1, ...) each, to see where the classifiers drop out.
        device: where they are computed.
    """

    def __init__(
        self,
        classifiers: Sequence[Classifier],
        *,
        summarised: bool,
        length: int,
        sample: Mapping[str, Tensor],
        device: str,
    ) -> None:
        self._several = len(classifiers) > 1
        self._device = device
        self._chance = Chance(device)
        network = deepcopy(classifiers[0]).to(device)
        self._step = _Step(network, self._chance, summarised=summarised).train()
        if is_stackable(network):
            GivenDropout.replace_in(network, self._chance)
            mask = torch.ones(1, length, dtype=torch.bool, device=device)
            with torch.no_grad():
                self._step({name: values[0] for name, values in sample.items()}, mask, ())
        self._chance.noted()
        self._buffers: dict[str, Tensor] = {}
        if self._several:
            parameters, buffers = stack_module_state([_Step(each, self._chance) for each in classifiers])
            self.values = {name: values.detach().to(device) for name, values in parameters.items()}
            self._buffers = {name: values.to(device) for name, values in buffers.items()}
        else:
            self.values = {name: values.detach().unsqueeze(0) for name, values in self._step.named_parameters()}
        self._moments = [[torch.zeros_like(values) for values in self.values.values()] for _ in range(2)]
        self._steps = 0

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def begin(self, seeds: Sequence[int], counts: Sequence[Sequence[int]]) -> None:
        """Begin an epoch: its seed for each classifier, and how many clips of each come in each step."""
        self._chance.begin(seeds, counts)
        # For a head that draws by itself. `torch.manual_seed` takes as long as a step, even where there is no GPU.
        torch.default_generator.manual_seed(seeds[0])
        if self._device.startswith("cuda"):
            torch.cuda.manual_seed(seeds[0])

    def learn(self, batch: StackedBatch, *, rates: Sequence[float], weight_decay: float) -> Tensor:
        """One step of AdamW for each classifier, at its own learning rate; the losses before, (K,)."""
        keeps = self._chance.draw(batch.counts)
        if self._several:
            gradients, losses = vmap(grad(self._loss_of, has_aux=True))(
                self.values, self._buffers, batch.features, batch.mask, batch.targets, tuple(keeps)
            )
            found = [gradients[name] for name in self.values]
        else:
            features = {name: values[0] for name, values in batch.features.items()}
            logits, penalty = self._step(features, batch.mask[0], tuple(keep[0] for keep in keeps))
            loss = _loss(logits, batch.targets[0])
            gradients = torch.autograd.grad(loss + penalty, list(self._step.parameters()))
            found, losses = [values.unsqueeze(0) for values in gradients], loss.detach().unsqueeze(0)
        self._adamw(found, rates, weight_decay)
        found_losses: Tensor = losses.detach()
        return found_losses

    @torch.no_grad()
    def log_probabilities(self, summaries: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """What each classifier says to its own clips: (K, B, ...) and (K, B, T) to (K, B, classes)."""
        self._step.eval()
        if self._several:
            found: Tensor = vmap(self._said)(self.values, self._buffers, dict(summaries), mask)
        else:
            logits, _ = self._step(
                {name: values[0] for name, values in summaries.items()}, mask[0], (), summarised=True
            )
            found = fuse(logits).unsqueeze(0)
        self._step.train()
        return found

    def keep(self, places: Sequence[int]) -> None:
        """Go on with the classifiers at these places."""
        chosen = torch.tensor(places, device=next(iter(self.values.values())).device)
        self.values = {name: values[chosen] for name, values in self.values.items()}
        self._buffers = {name: values[chosen] for name, values in self._buffers.items()}
        self._moments = [[values[chosen] for values in moment] for moment in self._moments]

    def snapshot(self, place: int) -> dict[str, Tensor]:
        """What the classifier at a place has become, by the names of its own state."""
        if self._several:
            found = {name: values[place] for name, values in self.values.items()}
        else:
            found = self._step.state_dict()
        return {name.removeprefix(_PREFIX): values.to("cpu", copy=True) for name, values in found.items()}

    def state(self) -> dict[str, Any]:
        """All that a training goes on from."""
        values = self.values if self._several else self._step.state_dict()
        return {"values": dict(values), "moments": self._moments, "steps": self._steps}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, with as many classifiers as there were."""
        if self._several:
            self.values = {name: state["values"][name].to(values) for name, values in self.values.items()}
        else:
            self._step.load_state_dict(state["values"])
        for moment, kept in zip(self._moments, state["moments"], strict=True):
            moment[:] = [values.to(zeros) for values, zeros in zip(kept, moment, strict=True)]
        self._steps = state["steps"]

    def _loss_of(
        self,
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        features: dict[str, Tensor],
        mask: Tensor,
        targets: Tensor,
        keeps: tuple[Tensor, ...],
    ) -> tuple[Tensor, Tensor]:
        logits, penalty = functional_call(self._step, (parameters, buffers), (features, mask, keeps))
        loss = _loss(logits, targets)
        return loss + penalty, loss

    def _said(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], summaries: dict[str, Tensor], mask: Tensor
    ) -> Tensor:
        logits, _ = functional_call(self._step, (parameters, buffers), (summaries, mask, ()), {"summarised": True})
        return fuse(logits)

    @torch.no_grad()
    def _adamw(self, gradients: Sequence[Tensor], rates: Sequence[float], weight_decay: float) -> None:
        """All that share a learning rate at once."""
        first, second = self._moments
        for rate in dict.fromkeys(rates):
            places = [place for place, other in enumerate(rates) if other == rate]
            tensors = [list(self.values.values()), list(gradients), first, second]
            if len(places) < len(rates):
                tensors = [[values[place] for values in each for place in places] for each in tensors]
            values, found, means, squares = tensors
            adamw(
                values,
                found,
                means,
                squares,
                [],
                [torch.tensor(float(self._steps), device=each.device) for each in values],
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=rate,
                weight_decay=weight_decay,
                eps=1e-8,
                maximize=False,
            )
        self._steps += 1


_PREFIX: Final = "classifier."


class _Step(nn.Module):
    """A classifier as it is computed in a step: logits of its heads, and the penalty for its weights."""

    def __init__(self, classifier: Classifier, chance: Chance, *, summarised: bool = True) -> None:
        super().__init__()
        self.classifier = classifier
        self._chance = chance
        self._summarised = summarised

    def forward(
        self, features: Mapping[str, Tensor], mask: Tensor, keeps: tuple[Tensor, ...], *, summarised: bool = False
    ) -> tuple[Tensor, Tensor]:
        self._chance.give(keeps)
        if not (self._summarised or summarised):
            features = self.classifier.summarise(features, mask)
        logits = self.classifier.head_logits(features, mask)
        penalty = self.classifier.penalty()
        return logits, logits.new_zeros(()) if penalty is None else penalty


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, the mean over the heads: (heads, B, classes), (B, classes) to a number."""
    return -(targets * logits.log_softmax(-1)).sum((1, 2)).mean()
