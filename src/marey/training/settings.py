"""The sections of a recipe that say how it is trained: `views` and `training`; and keys of earlier versions."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from marey.encoders import View
from marey.models import MOST_SEEDS, FineTuning, LowRank

_RENAMED: Final = {
    "training.rounds": "training.inner_folds",
    "training.refit": "training.retrain",
    "training.time_jitter": "training.temporal_jitter",
    "training.frame_drop": "training.frame_dropout",
    "head.options.unfreeze": "training.unfreeze",
    "head.options.backbone": "encoder.name",
}
"""Keys of earlier versions, which the next release will no longer read."""

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


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


OF_EPOCHS: Final = (
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "schedule",
    "plateau_factor",
    "warmup",
    "patience",
    "min_steps",
    "label_smoothing",
    "mixup",
    "temporal_jitter",
    "frame_dropout",
    "precision",
)
"""Settings of a training in epochs, which a logistic regression has not."""


class Training(BaseModel):
    """Settings of the training.

    Attributes:
        epochs: at most.
        batch_size: clips a step.
        learning_rate: the highest.
        weight_decay: of AdamW (Loshchilov and Hutter 2019); RMSprop adds it to the gradient.
        schedule: "cosine" falls to zero at the last epoch; "plateau" lowers the rate when validation has stopped
            improving for half of the patience.
        plateau_factor: by which "plateau" multiplies the rate.
        warmup: share of the steps over which the learning rate rises from zero.
        patience: epochs without a better validation score after which training stops.
        min_steps: steps before these epochs are counted: of few clips an epoch has two or three steps, in which a
            network that is trained from scratch learns nothing yet.
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
        unfreeze: number of the last blocks of the encoder that are trained with the head, with the layers after them:
            layers of a transformer, stages of a convolutional network. 0 leaves the encoder frozen.
        lora: low-rank adapters beside layers of the frozen encoder that are trained with the head (LoRA, Hu et al.
            2021), such as `{rank: 8, alpha: 16}`; null for none. They are merged into the weights of the saved model.
        precision: of the products while a network on frames is trained; its weights, its validation and the saved model
            are float32 (mixed precision, Micikevicius et al. 2018). "bfloat16" pays on GPUs and on CPUs that have it,
            and is many times slower on others: see `marey doctor`.
        solver: "adamw" and "rmsprop" (Tieleman and Hinton 2012) train any head in epochs. "logistic" finds the optimum
            of a head that is one linear layer on features, as multinomial logistic regression with an L2 penalty: it
            has no epochs and no learning rate, and the seed only decides which clips the inner folds set aside.
        seeds: number of trainings with other seeds, whose average is the model: the mean of their log-probabilities.
            "auto" is 5 for heads on features that are trained in epochs, and 1 for "logistic", whose optimum no seed
            changes, and for networks on frames, each of which would cost as much again.
        C: inverse strength of the L2 penalty of "logistic"; "auto" chooses it for each stream by the log loss on the
            inner folds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 60
    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.01
    schedule: Literal["cosine", "plateau"] = "cosine"
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    warmup: Share = 0.1
    patience: Annotated[int, Field(ge=1)] = 20
    min_steps: Annotated[int, Field(ge=0)] = 0
    label_smoothing: Share = 0.1
    class_weights: Literal["balanced", "none"] = "balanced"
    mixup: NotNegative = 0.0
    temporal_jitter: Annotated[int, Field(ge=0)] = 0
    frame_dropout: Share = 0.0
    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    inner_folds: Annotated[int, Field(ge=1, le=20)] = 1
    retrain: Literal["all", "none"] = "all"
    unfreeze: Annotated[int, Field(ge=0, le=4096)] = 0
    lora: LowRank | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    solver: Literal["adamw", "rmsprop", "logistic"] = "adamw"
    seeds: Literal["auto"] | Annotated[int, Field(ge=1, le=MOST_SEEDS)] = "auto"
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
        if self.solver != "logistic":
            if self.C != "auto":
                raise ValueError(f"C={self.C:g} is the penalty of solver: logistic; {self.solver} has weight_decay")
            return self
        if self.seeds not in ("auto", 1):
            raise ValueError(
                f"seeds={self.seeds}: a logistic regression has one optimum, whatever the seed: leave it out, or train "
                "in epochs, as the recipe default-0.1 does"
            )
        fields = type(self).model_fields
        unused = [name for name in OF_EPOCHS if getattr(self, name) != fields[name].default]
        if unused:
            raise ValueError(
                f"{unused[0]}={getattr(self, unused[0])} is a setting of solver: adamw; a logistic regression has no "
                "steps: leave it out, or choose a recipe that has them, such as default-0.1"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_train(self) -> Self:
        if self.unfreeze and self.lora is not None:
            raise ValueError(f"unfreeze={self.unfreeze} and lora are two ways to train an encoder: leave one out")
        if self.fine_tuning.trains and self.solver == "logistic":
            raise ValueError(
                "solver: logistic has no steps, and trains no encoder: begin from the recipe finetune, as in "
                "--recipe finetune --set encoder.name=efficientnet-lite0"
            )
        return self

    @property
    def fine_tuning(self) -> FineTuning:
        """The part of the encoder that is trained."""
        return FineTuning(self.unfreeze, self.lora)

    @property
    def changes_frames(self) -> bool:
        """True when clips are augmented, so that features differ from epoch to epoch."""
        return self.mixup > 0 or self.temporal_jitter > 0 or self.frame_dropout > 0
