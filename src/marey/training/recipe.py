"""The recipe: every choice of a training run."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from marey.encoders import TEXT_TOWERS, EncoderSpec, MultiView, Photometric, Streams, View, family_of
from marey.errors import UsageError
from marey.models import ZERO_SHOT, HeadSpec, find_head
from marey.training.augmentation import Augmentation
from marey.video import Fit, Sampling

_RENAMED: Final = {
    "training.rounds": "training.inner_folds",
    "training.refit": "training.retrain",
    "training.time_jitter": "training.temporal_jitter",
    "training.frame_drop": "training.frame_dropout",
}
"""Keys of earlier versions, which the next release will no longer read."""

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Scalar = bool | int | float | str | None
Number = Annotated[int | float, Field(allow_inf_nan=False)]


def current_key(key: str) -> str:
    """Return today's name of a dotted recipe key, with a `FutureWarning` for the name of an earlier version."""
    if key not in _RENAMED:
        return key
    warnings.warn(
        f"the recipe key '{key}' is now called '{_RENAMED[key]}'; the next release will not read the old name",
        FutureWarning,
        stacklevel=2,
    )
    return _RENAMED[key]


class Views(BaseModel):
    """Further readings of the training clips; each costs as much to extract as the first.

    Attributes:
        random: number of readings at random timestamps of the segments.
        mirrored: "train" adds each reading with left and right exchanged. Not for actions that differ in just that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    random: Annotated[int, Field(ge=0, le=64)] = 0
    mirrored: Literal["none", "train"] = "none"

    @property
    def readings(self) -> tuple[View, ...]:
        """Return all readings of a training clip, the plain one first."""
        sides = (False, True) if self.mirrored == "train" else (False,)
        return tuple(View(index, mirrored) for mirrored in sides for index in range(self.random + 1))


_OF_ADAMW: Final = (
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "schedule",
    "warmup",
    "patience",
    "label_smoothing",
    "mixup",
    "temporal_jitter",
    "frame_dropout",
    "precision",
)


class Training(BaseModel):
    """Settings of the training.

    Attributes:
        epochs: at most.
        batch_size: clips a step.
        learning_rate: the highest.
        weight_decay: of AdamW (Loshchilov and Hutter 2019).
        schedule: "cosine" falls to zero at the last epoch; "plateau" divides by 10 when validation stops improving.
        warmup: share of the steps over which the learning rate rises from zero.
        patience: epochs without a better validation score after which training stops.
        label_smoothing: share of the target that is spread over all classes (Szegedy et al. 2016).
        class_weights: "balanced" weighs each class by how rare it is; "none" does not.
        mixup: alpha of the Beta distribution by which two clips are mixed (Zhang et al. 2018); 0 for none.
        temporal_jitter: places by which a frame's features may be exchanged for those of a neighbour.
        frame_dropout: probability with which a frame is left out.
        validation: share of the training clips, by group, that is set aside to choose the epoch and the temperature.
        inner_folds: times that this is done, each with another share; the median of the chosen epochs is taken, and one
            temperature for the clips of all folds. A dozen clips say little; all of them, each set aside once, say
            more.
        retrain: "all" trains again on all training clips, with a full schedule of as much learning as the one that was
            cut off at the chosen epoch; "none" keeps the classifier of that epoch, and needs a single inner fold.
        precision: of the products while a network on frames is trained; its weights, its validation and the saved model
            are float32 (mixed precision, Micikevicius et al. 2018). "bfloat16" pays on GPUs and on CPUs that have it,
            and is many times slower on others: see `marey doctor`.
        solver: "adamw" trains any head in epochs. "logistic" finds the optimum of a head that is one linear layer on
            features, as multinomial logistic regression with an L2 penalty: it has no epochs and no learning rate,
            and the seed only decides which clips the inner folds set aside.
        C: inverse strength of the L2 penalty of "logistic"; "auto" chooses it for each stream by the log loss on the
            inner folds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 60
    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.01
    schedule: Literal["cosine", "plateau"] = "cosine"
    warmup: Share = 0.1
    patience: Annotated[int, Field(ge=1)] = 20
    label_smoothing: Share = 0.1
    class_weights: Literal["balanced", "none"] = "balanced"
    mixup: NotNegative = 0.0
    temporal_jitter: Annotated[int, Field(ge=0)] = 0
    frame_dropout: Share = 0.0
    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    inner_folds: Annotated[int, Field(ge=1, le=20)] = 1
    retrain: Literal["all", "none"] = "all"
    precision: Literal["float32", "bfloat16"] = "float32"
    solver: Literal["adamw", "logistic"] = "adamw"
    C: Literal["auto"] | Positive = "auto"

    @model_validator(mode="before")
    @classmethod
    def _rename_keys(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {current_key(f"training.{key}").removeprefix("training."): value for key, value in values.items()}

    @model_validator(mode="after")
    def _inner_folds_fit(self) -> Self:
        if self.inner_folds > 1 and self.inner_folds * self.validation > 1 + 1e-9:
            most = f"at most {int(1 / self.validation + 1e-9)} fit"
            raise ValueError(
                f"{self.inner_folds} inner folds, each with another {self.validation:g} of the clips: {most}"
            )
        if self.inner_folds > 1 and self.retrain == "none":
            raise ValueError("retrain 'none' keeps the one classifier that was validated, and needs inner_folds: 1")
        return self

    @model_validator(mode="after")
    def _solver_fits(self) -> Self:
        if self.solver == "adamw":
            if self.C != "auto":
                raise ValueError(f"C={self.C:g} is the penalty of solver: logistic; adamw has weight_decay")
            return self
        fields = type(self).model_fields
        unused = [name for name in _OF_ADAMW if getattr(self, name) != fields[name].default]
        if unused:
            raise ValueError(
                f"{unused[0]}={getattr(self, unused[0])} is a setting of solver: adamw; a logistic regression has no "
                "steps: leave it out, or choose a recipe that has them, such as default-0.1"
            )
        return self

    @property
    def changes_frames(self) -> bool:
        """True when clips are augmented, so that features differ from epoch to epoch."""
        return self.mixup > 0 or self.temporal_jitter > 0 or self.frame_dropout > 0


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
        fit: resizing of frames to the encoder's size.
        photometric: "auto" stretches the contrast of frames, for video in the dark; "none" leaves them as they are.
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
    fit: Fit = "stretch"
    photometric: Photometric = "none"
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
            raise ValueError("testing.crops=3 looks at what a crop leaves out, and needs fit: crop")
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
        on_frames = family_of(self.encoder).gives == "frames"
        if on_frames and self.training.solver == "logistic":
            raise ValueError("training.solver=logistic fits linear heads on features, and the encoder gives frames")
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
            unused = {"head.options.dropout", *(f"training.{name}" for name in _OF_ADAMW)}
            searched = {key: domain for key, domain in searched.items() if key not in unused}
        return {**values, "search": searched}

    def require_training(self) -> None:
        """Refuse a recipe that has nothing to train.

        Raises:
            UsageError: its head is of that kind.
        """
        head = find_head(self.head.name)
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
