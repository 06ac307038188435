"""The search space of a recipe: its key `search`, from other keys to the values that they may take."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from marey.errors import did_you_mean
from marey.models import check_options, find_head, head_names, head_options
from marey.training.recipe import Domain, Recipe

_FIXED: Final = {
    "name": "it is a name",
    "description": "it is a description",
    "search": "it is the search itself",
    "test": "the test part is set aside before the search begins",
    "seed": "a seed that is chosen by its score is luck",
    "testing": "it changes what is tested and no trial",
    "training.validation": "trials are compared on the same validation clips",
    "training.inner_folds": "trials are compared on the same validation clips",
    "training.retrain": "no trial is trained again",
}


def changed(values: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a recipe with other values, without options that its head does not have.

    Args:
        values: of a recipe, as `model_dump` gives them.
        parameters: dotted key to value.
    """
    result: dict[str, Any] = json.loads(json.dumps(values))
    for key, value in parameters.items():
        *folders, last = key.split(".")
        here = result
        for folder in folders:
            inner = here.get(folder)
            here[folder] = here = inner if isinstance(inner, dict) else {}
        here[last] = list(value) if isinstance(value, tuple) else value
    head = result["head"]
    if "head.name" in parameters and find_head(head["name"]) is not None:
        known = head_options(head["name"])
        head["options"] = {name: value for name, value in head["options"].items() if name in known}
    return result


def check_space(recipe: Recipe) -> None:
    """Check that all that is searched are keys of the recipe, with possible values.

    Raises:
        ValueError: names the wrong key or value, and the likely right one.
    """
    values = recipe.model_dump(mode="json", exclude={"search"})
    for key, domain in recipe.search.items():
        for name in (key, key.partition(".")[0]):
            if name in _FIXED:
                raise ValueError(f"'{key}' cannot be searched: {_FIXED[name]}")
        _require_key(recipe, key)
        if key.startswith(("training.unfreeze", "training.lora")) and recipe.head.backbone is None:
            raise ValueError(f"'{key}' is searched where the recipe trains its encoder: --set training.unfreeze=1")
        if key == "head.name":
            for name in domain.checked:
                head_options(str(name))
        for value in domain.checked:
            if _is_option(key):
                _check_option(recipe, key, value)
            else:
                type(recipe).model_validate(changed(values, {key: value}))


def is_whole(recipe: Recipe, key: str) -> bool:
    """Return True for a key, searched in a range, that takes whole numbers."""
    if _is_option(key):
        name = key.removeprefix("head.options.")
        return any(isinstance(_options(head).get(name), int) for head in _heads(recipe))
    parameters = {key: recipe.search[key].span[0]}
    values: Any = type(recipe).model_validate(changed(recipe.model_dump(mode="json", exclude={"search"}), parameters))
    for part in key.split("."):
        values = values[part] if isinstance(values, dict) else getattr(values, part)
    return isinstance(values, int)


def grid_of(domain: Domain, *, whole: bool) -> tuple[Any, ...]:
    """Return the values of a grid search: all choices, all steps, or three of a range without steps."""
    if domain.choices is not None:
        return tuple(domain.named)
    low, high = domain.span
    if domain.step is not None:
        count = math.floor((high - low) / domain.step + 1e-9) + 1
        points = [low + place * domain.step for place in range(count)]
    else:
        points = [low, math.sqrt(low * high) if domain.log else (low + high) / 2, high]
    return tuple(dict.fromkeys(round(point) if whole else float(f"{point:.12g}") for point in points))


def applicable(recipe: Recipe) -> dict[str, Domain]:
    """Return the search space without options that none of the recipe's heads has."""
    known = {name for head in _heads(recipe) for name in _options(head)}
    return {
        key: domain
        for key, domain in recipe.search.items()
        if not _is_option(key) or key.removeprefix("head.options.") in known
    }


def _heads(recipe: Recipe) -> tuple[str, ...]:
    """Return the heads that a trial may have."""
    names = recipe.search.get("head.name")
    return tuple(map(str, names.choices or ())) if names is not None else (recipe.head.name,)


def _options(head: str) -> dict[str, Any]:
    return head_options(head) if find_head(head) is not None else {}


def _check_option(recipe: Recipe, key: str, value: object) -> None:
    name = key.removeprefix("head.options.")
    for head in _heads(recipe):
        if name in _options(head):
            check_options(head, {name: value})


def _require_key(recipe: Recipe, key: str) -> None:
    here: Any = recipe
    *folders, last = key.split(".")
    for folder in folders:
        known = _keys(here)
        if folder not in known:
            raise ValueError(f"no key is called '{key}'; {_meant(folder, known)}")
        here = here[folder] if isinstance(here, dict) else getattr(here, folder)
    known = sorted({name for head in _heads(recipe) for name in _options(head)}) if _is_option(key) else _keys(here)
    if last not in known and _is_option(key):
        # An option of another head may stand there: `--set head.name=gru` is to leave a recipe in one piece.
        known = sorted({name for head in head_names() for name in _options(head)})
    if last not in known:
        raise ValueError(f"no key is called '{key}'; {_meant(last, known)}")
    below = None if _is_option(key) else here[last] if isinstance(here, dict) else getattr(here, last)
    if isinstance(below, BaseModel | dict):
        raise ValueError(f"'{key}' has keys of its own; name one of them: {', '.join(_keys(below))}")


def _is_option(key: str) -> bool:
    return key.startswith("head.options.") and key.count(".") == 2


def _meant(name: str, known: list[str]) -> str:
    return did_you_mean(name, known) if known else "what stands before its last dot is a value"


def _keys(here: Any) -> list[str]:
    if isinstance(here, BaseModel):
        return list(type(here).model_fields)
    return list(here) if isinstance(here, dict) else []
