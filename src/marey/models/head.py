"""Base of all heads: from the features of a clip to logits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from marey.errors import UsageError
from marey.models.fine_tuning import FineTuning

InputKind = Literal["features", "frames"]
"""Input of a head: features of an encoder, or raw frames."""


class Standardise(nn.Module):
    """Standardisation with mean and deviation of the training clips; both are kept with the model.

    Features of a frozen network differ in scale by orders of magnitude, and a small head would spend its training on
    the scale.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    @torch.no_grad()
    def fit(self, values: Tensor) -> None:
        """Compute mean and deviation of the training set: values (N, D)."""
        mean = values.mean(0)
        self.fit_moments(mean, (values - mean).square_().mean(0))

    @torch.no_grad()
    def fit_moments(self, mean: Tensor, variance: Tensor) -> None:
        """Set mean and variance: (D,) both."""
        self.mean.copy_(mean)
        self.scale.copy_(scale_of(variance.sqrt()))

    def forward(self, values: Tensor) -> Tensor:
        """Standardise (..., D)."""
        return (values - self.mean) * self.scale


def scale_of(deviation: Tensor) -> Tensor:
    """Return what standardised features are multiplied by, (D,), from their deviations.

    A feature that hardly varies is noise, and must not be amplified to the size of the others.
    """
    floor = deviation.mean().clamp_min(1e-6) * 1e-2
    return 1 / deviation.clamp_min(floor)


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) that draws eight random numbers at a time.

    On a CPU `nn.Dropout` draws them one by one, which took half of the training time of a linear head on ten thousand
    features. Here each element costs a random byte, so the share is a multiple of 1/256.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"dropout={share}: it is a share, at least 0 and less than 1")
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Drop values in training: (...) to (...)."""
        dropped = min(255, round(self.share * 256))
        if not self.training or dropped == 0:
            return values
        count = values.numel()
        drawn = torch.empty(-(-count // 8), dtype=torch.int64, device=values.device).random_(-(2**63), None)
        # As floats: multiplying by booleans is ten times as slow on a CPU.
        keep = torch.empty_like(values, requires_grad=False)
        torch.ge(drawn.view(torch.uint8)[:count].view(values.shape), dropped, out=keep)
        return values * keep.mul_(256 / (256 - dropped))


class InputDropout(Dropout):
    """Dropout of the inputs of a recurrent layer: the same numbers at each frame of a clip, as Keras does it.

    Gal and Ghahramani 2016.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Drop values in training: (B, T, D) to (B, T, D)."""
        if not self.training or self.share == 0:
            return values
        return values * super().forward(torch.ones_like(values[:, :1], requires_grad=False))


@dataclass(slots=True)
class StepState:
    """State of a head that reads a source frame by frame.

    Attributes:
        memory: number of frames that a head with a prediction for each averages over: T of its training.
        recurrent: state of its recurrent layer; None before the first frame.
        recent: probabilities of the latest frames, (B, classes) each.
    """

    memory: int
    recurrent: Any = None
    recent: deque[Tensor] = field(default_factory=deque)

    def mean_with(self, logits: Tensor) -> Tensor:
        """Return the mean probabilities of this frame and of those before it, as log-probabilities: (B, classes)."""
        self.recent.append(logits.softmax(-1))
        if len(self.recent) > self.memory:
            self.recent.popleft()
        return torch.stack(list(self.recent)).mean(0).clamp_min(torch.finfo(logits.dtype).tiny).log()


class Head(nn.Module):
    """A trained network from one stream of a clip to logits: (B, T, ...) and a mask (B, T) to (B, classes).

    It has three steps: `pool` is fixed, and computed once for all trainings; `normalize` depends on the training
    clips (`prepare`), and is computed once a training; `forward_head` is trained.

    For features, (B, T, D), T may differ from call to call. The mask is true where there is a frame, and at least once
    a clip; other places have no influence.

    Attributes:
        takes: "features" of an encoder, or raw frames ("frames").
        causal: True if it can read a source frame by frame with `step`.
        trains: False if it has nothing to train.
        classes: number of labels.
    """

    takes: ClassVar[InputKind] = "features"
    causal: bool = False
    trains: ClassVar[bool] = True

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    @property
    def typical(self) -> Tensor | None:
        """The mean of the training features, (D,); None for heads that do not keep one."""
        return None

    @property
    def only_layer(self) -> nn.Linear | None:
        """The linear layer that is all that is trained, on one vector a clip; None for other heads."""
        linear = getattr(self, "linear", None)
        trained = {name for name, _ in self.named_parameters()}
        if not isinstance(linear, nn.Linear) or trained != {"linear.weight", "linear.bias"} or self.causal:
            return None
        return linear

    def prepare(self, features: Tensor) -> None:
        """Fit the fixed parts to the training clips, (N, T, ...), before training."""
        self.fit_normalizer(self.pool(features, None))

    def fit_normalizer(self, condensed: Tensor) -> None:
        """Fit the fixed parts to condensed training clips, (N, ...); by default there are none."""

    def load_pretrained(self, weights: str) -> None:
        """Load initial weights: "pretrained" ones, or those of a file.

        Raises:
            UsageError: there are none for this head.
            WeightsError: they cannot be loaded.
        """
        raise UsageError(f"there are no weights to begin from for a {type(self).__name__}: leave head.weights=random")

    def begin_training(self, tuning: FineTuning) -> None:
        """Choose what is trained of an encoder in front of the head; by default there is none.

        Raises:
            UsageError: it is to train something that is not there.
        """
        if tuning.trains:
            raise tuning.refuse(type(self).__name__)

    def finish_training(self) -> None:
        """Bring the trained weights into the form that is saved; by default they have it."""

    def fit_to_clips(self, clips: Iterable[Tensor]) -> None:
        """Fit the fixed parts to training clips of raw frames, (B, T, C, H, W) each; by default there are none."""

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        logits: Tensor = self.forward_head(self.forward_features(features, mask), mask)
        return logits

    def forward_features(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the input of the trained layers, (B, ...); nothing here is trained, so training computes it once."""
        return self.normalize(self.pool(features, mask), mask)

    def pool(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Return the fixed part of each clip, (B, ...); without a mask every frame is there."""
        return features if mask is None else mask_fill(features, mask)

    def normalize(self, condensed: Tensor, mask: Tensor) -> Tensor:
        """Return the input of the trained layers from condensed clips, (B, ...)."""
        return condensed

    def forward_head(self, summary: Tensor, mask: Tensor) -> Tensor:
        """Return logits of the output of `forward_features`, (B, classes)."""
        raise NotImplementedError  # pragma: no cover

    def step(self, frame: Tensor, state: StepState) -> Tensor:
        """Return logits after one more frame of a source, (B, ...) without a time axis, and update the state.

        Raises:
            UsageError: the head is not causal.
        """
        raise UsageError(f"a {type(self).__name__} reads whole windows, and keeps no state from frame to frame")

    def penalty(self) -> Tensor | None:
        """Return a term of the loss that depends on the weights, or None."""
        return None


class FeatureHead(Head):
    """A head that first standardises the features, D numbers a frame."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__(classes)
        self.dim = dim
        self.standardise = Standardise(dim)

    @property
    def typical(self) -> Tensor | None:
        """The mean of the training features, (D,)."""
        return self.standardise.mean

    def fit_normalizer(self, condensed: Tensor) -> None:
        """Fit the scale of the features to the training clips, (N, T, D)."""
        self.standardise.fit(condensed.flatten(0, 1))

    def normalize(self, condensed: Tensor, mask: Tensor) -> Tensor:
        """Return the standardised features, (B, T, D), zero where the mask is false."""
        standard: Tensor = self.standardise(condensed)
        return standard * mask.unsqueeze(-1).to(standard.dtype)


def mask_fill(features: Tensor, mask: Tensor) -> Tensor:
    """Return features (B, T, D) with zeros where there is no frame, even where they were infinite."""
    return features.masked_fill(~mask.unsqueeze(-1), 0.0)


def masked_moments(features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return mean and variance over the frames of the mask: (B, T, D) to (B, D) both."""
    if mask is None:
        mean = features.mean(1)
        return mean, (features - mean.unsqueeze(1)).square_().mean(1)
    mean = masked_mean(features, mask)
    return mean, masked_mean((features - mean.unsqueeze(1)) ** 2, mask)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the frames of the mask: (B, T, D), (B, T) to (B, D). No frame gives zeros."""
    weights = mask.to(values.dtype).unsqueeze(-1)
    return (values * weights).sum(1) / weights.sum(1).clamp_min(1)


def mean_of_predictions(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the mean probabilities of the frames: logits (B, T, classes) to log-probabilities (B, classes)."""
    return masked_mean(logits.softmax(-1), mask).clamp_min(torch.finfo(logits.dtype).tiny).log()
