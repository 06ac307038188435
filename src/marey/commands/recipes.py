"""`marey recipes`: the built-in recipes, one of them as YAML, and the keys of a recipe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Final

from marey.commands.options import Changes, RecipeName, changes_of
from marey.commands.registry import Line, Table, command

_LINE: Final = re.compile(r"(?P<indent> *)(?P<off># )?(?P<key>[A-Za-z_]+):(?: (?P<value>[^#]*))?(?:# (?P<text>.*))?")


@dataclass(frozen=True)
class RecipeList:
    """The answer of `recipes`: name -> description."""

    descriptions: dict[str, str]

    def as_dict(self) -> dict[str, str]:
        """Return it for JSON."""
        return self.descriptions


@dataclass(frozen=True)
class RecipeText:
    """The answer of `recipes show`.

    Attributes:
        text: the recipe with all its keys, as YAML.
        values: the same as a mapping.
    """

    text: str
    values: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return self.values


@dataclass(frozen=True)
class Key:
    """A key of a recipe.

    Attributes:
        name: with dots, as `--set` takes it.
        default: its value in the default recipe as YAML; empty where it is not set.
        help: its explanation.
    """

    name: str
    default: str
    help: str


@dataclass(frozen=True)
class KeyList:
    """The answer of `recipes keys`."""

    keys: tuple[Key, ...]

    def as_dict(self) -> list[dict[str, str]]:
        """Return it for JSON."""
        return [asdict(key) for key in self.keys]


def _show_list(answer: RecipeList) -> Iterator[Any]:
    table = Table(("recipe", "description"), whole=("recipe",))
    for name, description in answer.descriptions.items():
        table.add(name, description)
    yield table
    yield "next    marey recipes show NAME, marey recipes keys, marey models"


def _show_keys(answer: KeyList) -> Iterator[Any]:
    table = Table(("key", "default", "explanation"), whole=("key",))
    for key in answer.keys:
        table.add(key.name, key.default, key.help)
    yield table
    yield Line("change a key with --set KEY=VALUE, or in a YAML file of your own", "note")


@command("recipes", examples=("recipes", "recipes show auto", "recipes keys"), show=_show_list)
def list_recipes() -> RecipeList:
    """List the built-in recipes; `recipes show` prints one, `recipes keys` explains all keys."""
    from marey.training import load_recipe, recipe_names

    return RecipeList({name: load_recipe(name).description for name in recipe_names()})


@command(
    "recipes show",
    examples=("recipes show auto > mine.yaml", "recipes show lrcn --set training.epochs=10"),
    show=lambda answer: [answer.text.rstrip("\n")],
)
def show_recipe(name: RecipeName, *, set: Changes = None) -> RecipeText:
    """Print a recipe with all its keys, as YAML."""
    from marey.training import load_recipe

    recipe = load_recipe(name, changes=changes_of(set))
    return RecipeText(recipe.to_yaml(), recipe.model_dump(mode="json"))


@command("recipes keys", examples=("recipes keys", "recipes keys training"), show=_show_keys)
def list_keys(key: str = "") -> KeyList:
    """List the keys of a recipe with their defaults and explanations.

    Args:
        key: list only this key, or the keys below it.
    """
    from marey.errors import UnknownNameError
    from marey.training import DEFAULT_RECIPE, load_recipe

    text = resources.files("marey").joinpath("recipes", f"{DEFAULT_RECIPE}.yaml").read_text(encoding="utf-8")
    every = tuple(read_keys(text, load_recipe(DEFAULT_RECIPE).model_dump(mode="json")))
    chosen = tuple(each for each in every if not key or f"{each.name}.".startswith(f"{key}."))
    if not chosen:
        raise UnknownNameError("key", key, [each.name for each in every])
    return KeyList(chosen)


def read_keys(text: str, defaults: Mapping[str, Any]) -> Iterator[Key]:
    """Read the keys of a recipe with their comments; one that is commented out has the value of `defaults`, if any."""
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        depth = len(found["indent"])
        path = [*(each for each in path if each[0] < depth), (depth, found["key"])]
        keys = [key for _, key in path]
        value = _default(keys, defaults) if found["off"] else (found["value"] or "").strip()
        name = ".".join(keys)
        if value or found["text"]:
            yield Key(name, value, found["text"] or "")


def _default(keys: list[str], defaults: Mapping[str, Any]) -> str:
    value: Any = defaults
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)
