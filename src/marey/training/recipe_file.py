"""Recipes from YAML files, with changes of single keys."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from marey.encoders import Stream, stream_class
from marey.errors import RecipeError, UnknownNameError, did_you_mean
from marey.training.fine_tuning import RECIPE as FINE_TUNING
from marey.training.fine_tuning import (
    read_finetune,
    take_settings,
    trained_on_frames,
    trains_encoder,
)
from marey.training.recipe import Recipe
from marey.training.search import check_space
from marey.training.settings import current_key
from marey.training.yaml_text import YamlTextError, read_yaml

DEFAULT_RECIPE: Final = "auto"
"""Name of the recipe that is taken where none is named."""

_RENAMED: Final = {"default": DEFAULT_RECIPE}
"""Names of earlier versions, which the next release will no longer know."""

_SHOWN: Final = 120
"""Characters of a value in a message."""


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that come with marey, sorted."""
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
        values = read_yaml(text)
    except YamlTextError as error:
        raise RecipeError(f"{source} {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{source} is not a recipe: it holds no keys")
    values = read_finetune(values)
    frozen, changes = not trains_encoder(values), tuple(changes)
    keys = {_change(values, change) for change in changes}
    if frozen and trains_encoder(values):
        take_settings(values, read_yaml(_read(FINE_TUNING)[0])["training"], named=keys)
    try:
        loaded = trained_on_frames(Recipe.model_validate(values))
    except ValidationError as error:
        raise RecipeError(f"{source}: {_explain(error, values)}") from error
    try:
        check_space(loaded)
    except ValidationError as error:
        raise RecipeError(f"{source}: search: {_explain(error, values)}") from error
    except ValueError as error:
        raise RecipeError(f"{source}: search: {error}") from error
    return loaded


def _read(recipe: str | Path) -> tuple[str, str]:
    path = Path(recipe)
    if path.suffix in (".yaml", ".yml"):
        try:
            return path.read_text(encoding="utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"the recipe {path} cannot be read: {error}") from error
    name = str(recipe)
    if name in _RENAMED:
        warnings.warn(
            f"the recipe '{name}' is now called '{_RENAMED[name]}', and learns otherwise; that of marey 0.1 is "
            "'default-0.1'. The next release will not know the old name",
            FutureWarning,
            stacklevel=3,
        )
        name = _RENAMED[name]
    if name not in recipe_names():
        raise UnknownNameError("recipe", name, recipe_names())
    file = resources.files("marey").joinpath("recipes", f"{name}.yaml")
    return file.read_text(encoding="utf-8"), f"recipe '{name}'"


def _change(values: dict[str, Any], change: str) -> str:
    """Change a key of a recipe, and return it."""
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"'{change}' changes nothing; write key=value, as in training.epochs=100")
    try:
        value = read_yaml(text)
    except YamlTextError as error:
        raise RecipeError(f"the value in '{_shown(change)}' {error}") from error
    if isinstance(value, str):
        value = _number(value)
    key = current_key(key.strip())
    *folders, last = key.split(".")
    here = values
    for folder in folders:
        if here.get(folder) is None:
            here[folder] = {}
        inside = here[folder]
        if not isinstance(inside, dict):
            raise RecipeError(f"'{key}': '{folder}' is a value, {inside!r}, and has no keys below it")
        here = inside
    here[last] = value
    return key


def _number(text: str) -> str | float:
    """Read a number such as 1e-3, which YAML 1.1 takes for a word."""
    try:
        return float(text)
    except ValueError:
        return text


def _explain(error: ValidationError, values: Mapping[str, Any]) -> str:
    sentences = []
    for fault in error.errors():
        keys = [str(key) for key in fault["loc"]]
        place = ".".join(keys)
        if fault["type"] == "extra_forbidden":
            sentences.append(
                f"no key is called '{place}'; {did_you_mean(keys[-1], _keys_beside(fault['loc'], values))}"
            )
        elif fault["type"] == "missing":
            sentences.append(f"'{place}' is missing")
        else:
            given = f" (it is {_shown(repr(fault['input']))})" if not isinstance(fault["input"], Mapping) else ""
            message = fault["msg"].removeprefix("Value error, ")
            sentences.append(f"'{place}': {message}{given}" if place else message)
    return "; ".join(sentences)


def _shown(text: str) -> str:
    """Return the beginning of a value in a message."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _keys_beside(place: tuple[int | str, ...], values: Any) -> list[str]:
    model: type[BaseModel] = Recipe
    for key in place[:-1]:
        field = model.model_fields.get(str(key))
        inner = _model_of(field.annotation) if field is not None else None
        model = inner or model  # a name in a dictionary of models leaves the model as it is
        values = values.get(key) if isinstance(values, Mapping) else None
    if model is Stream and isinstance(values, Mapping) and "kind" in values:
        model = stream_class(values["kind"])
    return list(model.model_fields)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (dict, Union, UnionType, Annotated):
        found = [_model_of(inner) for inner in get_args(annotation)]
        return next((model for model in found if model is not None), None)
    return None
