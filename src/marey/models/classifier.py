"""One head a stream, and the fusion of their outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from torch import Tensor, nn

from marey.encoders import BackboneSpec
from marey.errors import UsageError
from marey.models.fine_tuning import FineTuning
from marey.models.head import Head, StepState
from marey.models.members import LinearMembers, Members, average_heads
from marey.models.networks.finetune import FineTunedEncoder
from marey.models.registry import Option, check_options, create_head, find_head

States = dict[str, StepState]
"""State of each head while a source is read frame by frame, by the head's name."""


def _as_number(value: object) -> object:
    """Read text such as "1e-3", which YAML leaves as it is, as a number."""
    if isinstance(value, str):
        for kind in (int, float):
            with suppress(ValueError):
                return kind(value)
    return value


class HeadSpec(BaseModel):
    """The choice of a head.

    Attributes:
        name: a registered name.
        fusion: "late" trains one head a stream and averages their log-probabilities, as two-stream networks do
            (Simonyan and Zisserman 2014); "early" trains one head on the features of all streams side by side;
            "stacked" is late, with a weight a stream that the inner folds of the training decide (Wolpert 1992).
        weights: initial weights of a network that is fine-tuned: "random", "pretrained", or the path of a file.
        options: of the head; the others have their defaults.
        backbone: the encoder that is trained with the head, on raw frames; None for a head on features, and for
            networks that are trained whole. Recipes get it from `training.unfreeze` and `training.lora`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    fusion: Literal["late", "early", "stacked"] = "late"
    weights: str = "random"
    options: Annotated[dict[str, Annotated[Option, BeforeValidator(_as_number)]], Field(default_factory=dict)]
    backbone: BackboneSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_finetune(cls, values: Any) -> Any:
        """Read the head `finetune` of models of earlier versions: attention over the frames of a backbone."""
        if not isinstance(values, dict) or values.get("name") != "finetune":
            return values
        options = dict(values.get("options") or {})
        backbone = {"name": options.pop("backbone", "efficientnet-lite0")}
        options.pop("unfreeze", None)
        return {**values, "name": "attention", "options": options, "backbone": backbone}

    @model_serializer(mode="wrap")
    def _leave_out_backbone(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write what versions without `backbone` wrote, where there is none."""
        values: dict[str, Any] = write(self)
        if values.get("backbone") is None:
            values.pop("backbone", None)
        return values

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        """Refuse text and booleans for numbers at once; numbers are checked when the head is built."""
        texts = {name: value for name, value in self.options.items() if isinstance(value, str | bool)}
        if texts and find_head(self.name) is not None:
            check_options(self.name, texts)
        return self


class Classifier(nn.Module):
    """From the features of all streams to log-probabilities.

    Args:
        spec: the head.
        shapes: stream name to shape of its input: (D,) a feature vector, or (T, C, H, W) of a clip's frames.
        classes: number of labels.
        members: number of heads a stream whose average is taken.
    """

    def __init__(
        self, spec: HeadSpec, shapes: Mapping[str, tuple[int, ...]], classes: int, *, members: int = 1
    ) -> None:
        super().__init__()
        self.streams = tuple(shapes)
        self.classes = classes
        self.fusion = spec.fusion
        each = [_together(list(shapes.values()))] if spec.fusion == "early" else list(shapes.values())
        self.heads: nn.ModuleList = nn.ModuleList(_new_heads(spec, shape, classes, members) for shape in each)
        self.names = ("together",) if spec.fusion == "early" else self.streams
        self.stream_weights: Tensor | None
        equal = torch.full((len(each),), 1 / len(each)) if spec.fusion == "stacked" else None
        self.register_buffer("stream_weights", equal)

    def prepare(self, features: Mapping[str, Tensor]) -> None:
        """Fit the fixed parts to the training clips, stream name to (N, T, D)."""
        self.fit_normalizer(self.pool(features))

    def fit_normalizer(self, condensed: Mapping[str, Tensor]) -> None:
        """Fit the fixed parts to condensed training clips."""
        for name, head in self._named_heads():
            head.fit_normalizer(condensed[name])

    def load_pretrained(self, weights: str) -> None:
        """Load initial weights, see `Head.load_pretrained`."""
        for _, head in self._named_heads():
            head.load_pretrained(weights)

    def begin_training(self, tuning: FineTuning) -> None:
        """Choose what is trained, see `Head.begin_training`."""
        for _, head in self._named_heads():
            head.begin_training(tuning)

    def finish_training(self) -> None:
        """Bring the trained weights into the form that is saved."""
        for _, head in self._named_heads():
            head.finish_training()

    def fit_to_clips(self, clips: Callable[[], Iterator[Mapping[str, Tensor]]]) -> None:
        """Fit the fixed parts to training clips of raw frames.

        Args:
            clips: yields them batch by batch, stream name to (B, T, C, H, W); called once a head.
        """
        for name, head in self._named_heads():
            head.fit_to_clips(values for batch in clips() for key, _, values in self._inputs(batch) if key == name)

    def penalty(self) -> Tensor | None:
        """Return a term of the loss that depends on the weights, or None."""
        found = [penalty for _, head in self._named_heads() if (penalty := head.penalty()) is not None]
        return torch.stack(found).sum() if found else None

    def forward_features(self, features: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
        """Return the input of the trained layers by the head's name: (B, ...)."""
        return self.normalize(self.pool(features, mask), mask)

    def pool(self, features: Mapping[str, Tensor], mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return the fixed part of clips by the head's name: (B, ...)."""
        return {name: head.pool(values, mask) for name, head, values in self._inputs(features)}

    def normalize(self, condensed: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
        """Return the input of the trained layers from condensed clips."""
        return {name: head.normalize(condensed[name], mask) for name, head in self._named_heads()}

    def head_logits(self, summaries: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Return the logits of each head from the output of `forward_features`: (heads, B, classes)."""
        return torch.stack([head.forward_head(summaries[name], mask) for name, head in self._named_heads()])

    @torch.inference_mode()
    def member_logits(self, features: Mapping[str, Tensor], linear: LinearMembers | None = None) -> Tensor:
        """Return log-probabilities before calibration of each member, (members, B, classes).

        Args:
            features: stream name to (B, T, D).
            linear: the members of heads that were averaged into one linear layer.
        """
        mask = full_mask(features)
        summaries = self.forward_features(features, mask)
        if linear is not None:
            by_head = linear.logits(summaries[name] for name in self.names)
        else:
            by_head = [
                head.member_logits(summaries[name], mask)
                if isinstance(head, Members)
                else head.forward_head(summaries[name], mask)[None]
                for name, head in self._named_heads()
            ]
        return torch.stack([fuse(torch.stack(logits), self.stream_weights) for logits in zip(*by_head, strict=True)])

    @property
    def only_layers(self) -> tuple[nn.Linear, ...]:
        """The linear layers of its heads, where they are all that is trained; fewer than heads where more is."""
        return tuple(layer for _, head in self._named_heads() if (layer := head.only_layer) is not None)

    @property
    def causal(self) -> bool:
        """True if a source can be read frame by frame, each frame once."""
        return all(head.causal for _, head in self._named_heads())

    def initial_state(self, memory: int) -> States:
        """Return the state before the first frame of a source.

        Args:
            memory: number of frames that heads with a prediction for each average over.
        """
        return {name: StepState(memory) for name, _ in self._named_heads()}

    def step(self, features: Mapping[str, Tensor], states: States) -> Tensor:
        """Return log-probabilities before calibration after one more frame, (B, classes), and update the states.

        Args:
            features: stream name to float32 (B, D), or uint8 (B, C, H, W).
            states: of the frames before; they are updated.

        Raises:
            UsageError: a head is not causal.
        """
        given = {stream: values.unsqueeze(1) for stream, values in features.items()}
        logits = [head.step(value[:, 0], states[name]) for name, head, value in self._inputs(given)]
        return fuse(torch.stack(logits), self.stream_weights)

    def forward(self, features: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """Return log-probabilities before calibration.

        Args:
            features: stream name to float32 (B, T, D), or uint8 (B, T, C, H, W).
            mask: bool (B, T), true where there is a frame; True everywhere by default.

        Returns:
            float32 (B, classes).
        """
        if mask is None:
            mask = full_mask(features)
        return fuse(self.head_logits(self.forward_features(features, mask), mask), self.stream_weights)

    def _named_heads(self) -> Iterator[tuple[str, Head]]:
        for name, head in zip(self.names, self.heads, strict=True):
            assert isinstance(head, Head)  # noqa: S101 - ModuleList has lost the type
            yield name, head

    def _inputs(self, features: Mapping[str, Tensor]) -> Iterator[tuple[str, Head, Tensor]]:
        values = [features[stream] for stream in self.streams]
        if self.fusion == "early":
            values = [torch.cat(values, dim=-1 if values[0].ndim == 3 else -3)]
        for (name, head), value in zip(self._named_heads(), values, strict=True):
            yield name, head, value


def average(classifiers: Sequence[Classifier]) -> tuple[Classifier, LinearMembers | None]:
    """Return one classifier in place of several that were trained on the same clips with other seeds.

    Its log-probabilities before calibration are the mean of theirs, normalised.

    Args:
        classifiers: of one recipe; a single one is returned as it is.

    Returns:
        The classifier; and, where heads are one linear layer, the layers that were averaged into it.
    """
    if len(classifiers) == 1:
        return classifiers[0], None
    streams = zip(*([head for _, head in each._named_heads()] for each in classifiers), strict=True)
    heads, linear = average_heads(list(streams))
    averaged = copy(classifiers[0])
    averaged._modules = dict(averaged._modules)
    averaged.heads = nn.ModuleList(heads)
    return averaged.eval(), linear


def _new_heads(spec: HeadSpec, shape: tuple[int, ...], classes: int, members: int) -> Head:
    """Return a head, or several of which the average is taken."""
    if members == 1:
        return _new_head(spec, shape, classes)
    return Members([_new_head(spec, shape, classes) for _ in range(members)])


def _new_head(spec: HeadSpec, shape: tuple[int, ...], classes: int) -> Head:
    if spec.backbone is None:
        return create_head(spec.name, shape, classes, spec.options)
    if len(shape) != 4:
        raise UsageError(
            f"training.unfreeze and training.lora train {spec.backbone.name} on frames, and the data holds features: "
            "train on the videos, or leave both out"
        )
    frames, channels, height, width = shape
    return FineTunedEncoder(
        (frames, channels, height, width), classes, backbone=spec.backbone, head=spec.name, options=spec.options
    )


def stack_clips(clips: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return clips of one length as a batch: each stream name to (T, ...), to stream name to (B, T, ...)."""
    return {stream: torch.stack([features[stream] for features in clips]) for stream in clips[0]}


def full_mask(features: Mapping[str, Tensor]) -> Tensor:
    """Return the mask of a batch without gaps, bool (B, T)."""
    first = next(iter(features.values()))
    return torch.ones(first.shape[:2], dtype=torch.bool, device=first.device)


def _together(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape of all streams together: features are concatenated, frames along their channels."""
    if len(shapes[0]) == 1:
        return (sum(dim for (dim,) in shapes),)
    frames, _, *size = shapes[0]
    return (frames, sum(shape[1] for shape in shapes), *size)


def fuse(head_logits: Tensor, weights: Tensor | None = None) -> Tensor:
    """Average the heads' log-probabilities and normalise: (heads, B, classes) to (B, classes).

    Args:
        head_logits: of each head.
        weights: of the heads, (heads,), which sum to 1; equal by default.
    """
    found = head_logits.log_softmax(-1)
    fused = found.mean(0) if weights is None else (found * weights[:, None, None]).sum(0)
    return fused.log_softmax(-1)
