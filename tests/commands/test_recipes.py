from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from marey import commands
from marey.errors import UnknownNameError
from marey.training import load_recipe, recipe_names

Call = Callable[..., Any]


def test_recipes_lists_every_built_in_recipe_with_its_description(call_marey: Call) -> None:
    listed = json.loads(call_marey("recipes", "--json").out)
    assert listed == {name: load_recipe(name).description for name in recipe_names()}
    assert "auto" in call_marey("recipes").out


def test_recipes_show_prints_a_recipe_that_can_be_read_again(call_marey: Call) -> None:
    shown = call_marey("recipes", "show", "lrcn", "--set", "training.epochs=7")
    assert shown.code == 0
    assert yaml.safe_load(shown.out)["training"]["epochs"] == 7


def keys_of(values: Mapping[str, Any], before: str = "") -> set[str]:
    found = set()
    for key, value in values.items():
        found.add(before + key)
        if isinstance(value, dict):
            found |= keys_of(value, f"{before}{key}.")
    return found


def test_recipes_keys_are_those_of_the_default_recipe_with_their_explanations() -> None:
    listed = {key.name: key for key in commands.recipes.list_keys().keys}
    assert listed["training.epochs"].default == "60"
    assert "training.precision" in listed
    assert all("#" not in key.default for key in listed.values())
    training = keys_of(load_recipe("auto").model_dump(mode="json")["training"], "training.")
    assert training <= listed.keys()


def test_recipes_keys_lists_one_branch_and_suggests_the_nearest_key() -> None:
    names = [key.name for key in commands.recipes.list_keys("sampling").keys]
    assert names
    assert all(name.split(".")[0] == "sampling" for name in names)
    with pytest.raises(UnknownNameError, match=r"did you mean 'training\.epochs'"):
        commands.recipes.list_keys("training.epoch")
