"""The recipe: every choice of a training run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from marey.encoders import (
    TEXT_TOWERS,
    ClipFit,
    EncoderSpec,
    MultiView,
    Photometric,
    Streams,
    architecture,
    crops_need_crop,
    family_of,
    feature_streams,
    require_encodable,
)
from marey.errors import UsageError
from marey.models import ZERO_SHOT, HeadSpec, TrainedCount, count_trained, find_head
from marey.training.augmentation import Augmentation
from marey.training.settings import OF_EPOCHS, Training, Views, current_key
from marey.video import Conversion, Sampling

_SEEDS = 5  # were they independent, the spread of accuracy would fall with the root of their number

Scalar = bool | int | float | str | None
Number = Annotated[int | float, Field(allow_inf_nan=False)]


class StreamChoice(BaseModel):
    """Rule by which `head.fusion: stacked` takes streams.

    Attributes:
        first: names of the streams that are read first; by default all are read.
        enough: share of the inner folds' clips; where the first streams answer as many, no others are read. Below it
            all are, and they are taken if they lower the log loss by more than its standard error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: tuple[str, ...] = ()
    enough: Annotated[float, Field(gt=0, le=1)] = 1.0


class Domain(BaseModel):
    """Values that a search may try for a key: numbers from `low` to `high`, both included, or `choices`.

    Attributes:
        low: the smallest number.
        high: the largest.
        log: true draws on a logarithmic scale.
        step: only `low`, `low + step`, ...
        choices: two or more values; a list, such as a grid, is one value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    step: Annotated[Number, Field(gt=0)] | None = None
    choices: Annotated[tuple[Scalar | tuple[Scalar, ...], ...], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log or self.step is not None:
                raise ValueError("give choices, or low and high, and not both")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, as in {low: 0.1, high: 0.5}, or choices, as in {choices: [16, 32]}")
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) has to be less than high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"low ({self.low:g}) has to be greater than 0 where log is true")
        if self.log and self.step is not None:
            raise ValueError("a step and log: true exclude each other")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"the step ({self.step:g}) is larger than the range")
        return self

    @property
    def span(self) -> tuple[float, float]:
        """Return low and high."""
        assert self.low is not None  # noqa: S101 - a domain has either choices or both ends
        assert self.high is not None  # noqa: S101
        return self.low, self.high

    @property
    def named(self) -> dict[Scalar, Any]:
        """Return the choices by names that a database can hold; empty for numbers of a range."""
        return {json.dumps(each) if isinstance(each, tuple) else each: each for each in self.choices or ()}

    @property
    def checked(self) -> tuple[Any, ...]:
        """Return the values to check: every choice, or both ends."""
        return self.span if self.choices is None else self.choices


class Recipe(BaseModel):
    """Every choice of a training run.

    Attributes:
        name: name of the recipe.
        description: its purpose, in a sentence.
        sampling: the timestamps of a clip.
        streams: the inputs of the encoder, made of the frames around each timestamp.
        fit: "stretch" brings whole frames to the encoder's size, "crop" their middle, and "motion" the region of the
            clip where something moves.
        photometric: "auto" stretches the contrast of frames, for video in the dark; "none" leaves them as they are.
        conversion: "standard" takes one field of interlaced frames, and brings HDR video to BT.709; "none" reads frames
            as they are stored.
        testing: number of readings of a clip that is tested or predicted.
        encoder: the frozen network.
        views: further readings of the training clips.
        head: the network that is trained.
        selection: rule by which streams are taken, where the fusion is stacked.
        augment: random changes to training clips, where the head is a network on frames.
        training: settings of the training.
        test: share of the clips, by group, that are tested on where the data names no split and there are no folds.
        seed: for all that is random.
        search: keys that `marey tune` chooses: dotted key to the values that it may take.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    sampling: Sampling
    streams: Streams
    fit: ClipFit = "stretch"
    photometric: Photometric = "none"
    conversion: Conversion = "standard"
    testing: MultiView = MultiView()
    encoder: EncoderSpec = EncoderSpec()
    views: Views = Views()
    head: HeadSpec
    selection: StreamChoice = StreamChoice()
    augment: Augmentation = Augmentation()
    training: Training = Training()
    test: Annotated[float, Field(gt=0, lt=1)] = 0.25
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    search: dict[str, Domain] = {}

    @model_validator(mode="after")
    def _input_fits(self) -> Self:
        if self.testing.crops > 1 and self.fit != "crop":
            raise ValueError(crops_need_crop(self.fit))
        unknown = [name for name in self.selection.first if name not in self.streams]
        if unknown:
            raise ValueError(f"selection.first names '{unknown[0]}', and the streams are {', '.join(self.streams)}")
        if self.selection.first and self.head.fusion != "stacked":
            raise ValueError("selection.first is for head.fusion: stacked, which weighs streams")
        if self.head.fusion == "stacked" and self.training.solver != "logistic":
            raise ValueError("head.fusion=stacked weighs streams by inner folds, and needs training.solver: logistic")
        if self.head.name == ZERO_SHOT and not family_of(self.encoder).has_text_tower:
            raise ValueError(
                f"head.name=zero-shot compares clips with words, and {self.encoder.name} has no text tower: choose the "
                f"encoder {', '.join(TEXT_TOWERS)}"
            )
        if self.head.name == ZERO_SHOT and self.head.fusion != "late":
            raise ValueError(f"head.fusion={self.head.fusion}: zero-shot compares each stream with words, by late")
        if self.head.name == ZERO_SHOT and feature_streams(self.streams):
            raise ValueError("head.name=zero-shot compares images with words, and a stream here gives no images")
        require_encodable(self.streams, self.encoder)
        on_frames = family_of(self.encoder).gives == "frames"
        if self.head.backbone is not None and not on_frames:
            raise ValueError(f"head.backbone takes frames, and {self.encoder.name} gives features: leave it out")
        if on_frames and self.head.backbone is None and self.training.fine_tuning.trains:
            raise ValueError(str(self.training.fine_tuning.refuse(f"'{self.head.name}' on {self.encoder.name}")))
        if self.training.fine_tuning.trains and self.head.name == ZERO_SHOT:
            raise ValueError("head.name=zero-shot has nothing to train: leave training.unfreeze and training.lora out")
        if self.training.fine_tuning.trains and self.encoder.precision != "float32":
            raise ValueError("encoder.precision is that of a frozen encoder: leave it out, and see training.precision")
        on_frames = on_frames or self.training.fine_tuning.trains
        if on_frames and self.training.solver == "logistic":
            raise ValueError("training.solver=logistic fits linear heads on features, and the encoder gives frames")
        if on_frames and self.training.seeds not in ("auto", 1):
            raise ValueError(
                f"training.seeds={self.training.seeds} averages heads on features; a network on frames would cost as "
                "much again for each: leave it out, and compare seeds with marey compare"
            )
        if not on_frames and (self.augment.moves or self.augment.colours):
            raise ValueError(f"augment changes frames, and {self.encoder.name} gives features: see training.mixup")
        if on_frames and (self.training.temporal_jitter or self.training.frame_dropout):
            raise ValueError(
                "temporal_jitter and frame_dropout change features, and the encoder gives frames: see augment"
            )
        if not on_frames and self.training.precision != "float32":
            raise ValueError("training.precision is for networks on frames; the encoder's is encoder.precision")
        return self

    @model_validator(mode="before")
    @classmethod
    def _rename_searched(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("search"), dict):
            return values
        searched = {current_key(str(key)): domain for key, domain in values["search"].items()}
        training = values.get("training")
        if isinstance(training, dict) and training.get("solver") == "logistic":  # which has none of these
            unused = {"head.options.dropout", *(f"training.{name}" for name in OF_EPOCHS)}
            searched = {key: domain for key, domain in searched.items() if key not in unused}
        return {**values, "search": searched}

    @property
    def seed_count(self) -> int:
        """The number of trainings with other seeds whose average is the model."""
        if self.training.seeds != "auto":
            return self.training.seeds
        on_frames = family_of(self.encoder).gives == "frames" or self.training.fine_tuning.trains
        return 1 if on_frames or self.training.solver == "logistic" else _SEEDS

    def count_trained(self, classes: int = 2) -> TrainedCount:
        """Return how many parameters are trained, of a recipe on frames.

        Raises:
            UsageError: the encoder has no such part, or a package that it needs is not installed.
        """
        shape = architecture(self.encoder, frames=self.sampling.count).shape
        return count_trained(self.head, dict.fromkeys(self.streams, shape), classes, self.training.fine_tuning)

    def require_training(self) -> None:
        """Refuse a recipe that has nothing to train, or asks for what cannot be trained.

        Raises:
            UsageError: its head is of that kind, or its encoder has no such blocks or layers.
        """
        if self.head.backbone is not None:
            self.count_trained()
        head = find_head(self.head.name)
        if head is not None and not head.trains and self.head.name != ZERO_SHOT:
            raise UsageError(
                f"the head '{self.head.name}' is not trained: choose another recipe, or leave out head.name"
            )
        if head is not None and not head.trains:
            raise UsageError(
                f"the recipe '{self.name}' has nothing to train: it names actions by their words, as in "
                f'marey predict VIDEO --labels "wave, clap" --recipe {self.name}'
            )

    def with_streams(self, names: Sequence[str]) -> Self:
        """Return the recipe with some of its streams; with all where none are named."""
        if not names:
            return self
        kept = {name: stream for name, stream in self.streams.items() if name in names}
        return self.model_copy(update={"streams": kept})

    def to_yaml(self) -> str:
        """Return the recipe with every key, as a file that `load_recipe` reads."""
        values = self.model_dump(mode="json")
        values["search"] = {
            key: domain.model_dump(mode="json", exclude_defaults=True) for key, domain in self.search.items()
        }
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
