"""A recipe: one YAML file that names every choice of a training run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from marey.encoders import EncoderSpec, MultiView, Stream, View, family_of
from marey.errors import RecipeError, UnknownNameError, did_you_mean
from marey.models import HeadSpec
from marey.training.augmentation import Augmentation
from marey.training.search import Domain, check_space
from marey.video import Fit, Sampling

DEFAULT_RECIPE: Final = "default"

_NOT_YAML: Final = (yaml.YAMLError, ValueError, RecursionError)
"""What PyYAML raises at text that is none: also for a date or a number that cannot be, and for too many brackets."""

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Views(BaseModel):
    """Further readings of the training clips; each costs as much to extract as the first.

    Attributes:
        random: how many, each at random instants of the segments.
        mirrored: "train" adds each reading with left and right exchanged. Not for actions that differ in just that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    random: Annotated[int, Field(ge=0, le=64)] = 0
    mirrored: Literal["none", "train"] = "none"

    @property
    def readings(self) -> tuple[View, ...]:
        """All readings of a training clip, the plain one first."""
        sides = (False, True) if self.mirrored == "train" else (False,)
        return tuple(View(index, mirrored) for mirrored in sides for index in range(self.random + 1))


class Training(BaseModel):
    """How the head learns.

    Attributes:
        epochs: at most.
        batch_size: clips a step.
        learning_rate: the highest.
        weight_decay: of AdamW (Loshchilov and Hutter 2019).
        schedule: "cosine" falls to zero at the last epoch; "plateau" divides by 10 when validation stops improving.
        warmup: share of the steps over which the learning rate rises from zero.
        patience: epochs without a better validation score after which training stops.
        label_smoothing: share of the truth that is spread over all classes (Szegedy et al. 2016).
        class_weights: "balanced" weighs each class by how rare it is; "none" does not.
        mixup: alpha of the Beta distribution by which two clips are mixed (Zhang et al. 2018); 0 mixes none.
        time_jitter: places by which a frame's features may be exchanged for those of a neighbour.
        frame_drop: probability with which a frame is left out.
        validation: share of the training clips, by group, that is set aside to choose the epoch and the temperature.
        rounds: how often that is done, each time with another share: the median is taken of what they choose, and one
            temperature for the clips of all. A dozen clips say little; all of them, each set aside once, say more.
        refit: "all" trains again on all training clips, with a whole schedule that learns as much as the one that was
            cut off at the chosen epoch; "none" keeps the classifier of that epoch, and needs a single round.
        precision: of the products while a network on pictures learns; its weights, its validation and what is saved
            are float32 (mixed precision, Micikevicius et al. 2018). "bfloat16" pays on GPUs and on processors that
            have it, and is many times slower on others: see `marey doctor`.
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
    time_jitter: Annotated[int, Field(ge=0)] = 0
    frame_drop: Share = 0.0
    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    rounds: Annotated[int, Field(ge=1, le=20)] = 1
    refit: Literal["all", "none"] = "all"
    precision: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _rounds_fit(self) -> Self:
        if self.rounds > 1 and self.rounds * self.validation > 1 + 1e-9:
            most = f"at most {int(1 / self.validation + 1e-9)} fit"
            raise ValueError(f"{self.rounds} rounds, each with another {self.validation:g} of the clips: {most}")
        if self.rounds > 1 and self.refit == "none":
            raise ValueError("refit 'none' keeps the one classifier that was validated, and needs rounds: 1")
        return self

    @property
    def changes_frames(self) -> bool:
        """Whether clips are augmented, so that each epoch sees other features than the one before."""
        return self.mixup > 0 or self.time_jitter > 0 or self.frame_drop > 0


class Recipe(BaseModel):
    """Every choice of a training run.

    Attributes:
        name: what it is called.
        description: what it is for, in a sentence.
        sampling: the instants of a clip.
        streams: what is made of the frames around each.
        fit: how pictures come to the encoder's size.
        testing: in how many ways a clip is read when it is tested or predicted.
        encoder: the frozen network.
        views: further readings of the training clips.
        head: the network that learns.
        augment: what is done to training clips, where the head is a network on pictures.
        training: how it learns.
        test: share of the clips, by group, that are tested on where the data names no split and there are no folds.
        seed: of every chance.
        search: what `marey tune` may choose: dotted key to the values that it may take.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    sampling: Sampling
    streams: Annotated[dict[str, Stream], Field(min_length=1)]
    fit: Fit = "stretch"
    testing: MultiView = MultiView()
    encoder: EncoderSpec = EncoderSpec()
    views: Views = Views()
    head: HeadSpec
    augment: Augmentation = Augmentation()
    training: Training = Training()
    test: Annotated[float, Field(gt=0, lt=1)] = 0.25
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    search: dict[str, Domain] = {}

    @model_validator(mode="after")
    def _input_fits(self) -> Self:
        if self.testing.crops > 1 and self.fit != "crop":
            raise ValueError("testing.crops=3 looks at what a crop leaves out, and needs fit: crop")
        pictures = family_of(self.encoder).gives == "frames"
        if not pictures and (self.augment.moves or self.augment.colours):
            raise ValueError(f"augment changes pictures, and {self.encoder.name} gives features: see training.mixup")
        if pictures and (self.training.time_jitter or self.training.frame_drop):
            raise ValueError("time_jitter and frame_drop change features, and the encoder gives pictures: see augment")
        if not pictures and self.training.precision != "float32":
            raise ValueError("training.precision is for networks on pictures; the encoder's is encoder.precision")
        return self

    @model_validator(mode="after")
    def _search_fits(self) -> Self:
        try:
            check_space(self)
        except ValidationError as error:
            raise ValueError(f"search: {_explain(error)}") from error
        except ValueError as error:
            raise ValueError(f"search: {error}") from error
        return self

    def to_yaml(self) -> str:
        """The recipe with every key, as a file that `load_recipe` reads."""
        values = self.model_dump(mode="json")
        values["search"] = {
            key: domain.model_dump(mode="json", exclude_defaults=True) for key, domain in self.search.items()
        }
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def recipe_names() -> tuple[str, ...]:
    """The recipes that come with marey, sorted."""
    files = resources.files("marey").joinpath("recipes").iterdir()
    return tuple(sorted(Path(file.name).stem for file in files if file.name.endswith(".yaml")))


def load_recipe(recipe: str | Path, *, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        recipe: the name of one that comes with marey, or the path of a YAML file.
        changes: `key=value`, the key with dots (`training.epochs=100`), the value as YAML writes it.

    Raises:
        UnknownNameError: no recipe has that name.
        RecipeError: an unknown key, a value that a key cannot have, or a file that is not YAML.
    """
    text, source = _read(recipe)
    try:
        values = yaml.safe_load(text)
    except _NOT_YAML as error:
        raise RecipeError(f"{source} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{source} is not a recipe: it holds no keys")
    for change in changes:
        _change(values, change)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{source}: {_explain(error)}") from error


def _read(recipe: str | Path) -> tuple[str, str]:
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml"):
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"the recipe {path} cannot be read: {error}") from error
    if str(recipe) not in recipe_names():
        raise UnknownNameError("recipe", str(recipe), recipe_names())
    file = resources.files("marey").joinpath("recipes", f"{recipe}.yaml")
    return file.read_text(encoding="utf-8"), f"recipe '{recipe}'"


def _change(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"'{change}' changes nothing; write key=value, as in training.epochs=100")
    try:
        value = yaml.safe_load(text)
    except _NOT_YAML as error:
        raise RecipeError(f"the value in '{change}' is not YAML: {' '.join(str(error).split())}") from error
    if isinstance(value, str):
        value = _number(value)
    *folders, last = key.strip().split(".")
    here = values
    for folder in folders:
        inside = here.setdefault(folder, {})
        if not isinstance(inside, dict):
            raise RecipeError(f"'{key}': '{folder}' is a value, {inside!r}, and has no keys below it")
        here = inside
    here[last] = value


def _number(text: str) -> str | float:
    """YAML 1.1 reads 1e-3 as a word; people mean the number."""
    try:
        return float(text)
    except ValueError:
        return text


def _explain(error: ValidationError) -> str:
    sentences = []
    for fault in error.errors():
        keys = [str(key) for key in fault["loc"]]
        place = ".".join(keys)
        if fault["type"] == "extra_forbidden":
            sentences.append(f"no key is called '{place}'; {did_you_mean(keys[-1], _keys_beside(fault['loc']))}")
        elif fault["type"] == "missing":
            sentences.append(f"'{place}' is missing")
        else:
            given = f" (it is {fault['input']!r})" if not isinstance(fault["input"], Mapping) else ""
            said = fault["msg"].removeprefix("Value error, ")
            sentences.append(f"'{place}': {said}{given}" if place else said)
    return "; ".join(sentences)


def _keys_beside(place: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Recipe
    for key in place[:-1]:
        field = model.model_fields.get(str(key))
        inner = _model_of(field.annotation) if field is not None else None
        model = inner or model  # a name in a dictionary of models leaves the model as it is
    return list(model.model_fields)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (dict, Union, Annotated):
        found = [_model_of(inner) for inner in get_args(annotation)]
        return next((model for model in found if model is not None), None)
    return None
