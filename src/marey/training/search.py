"""What of a recipe may be searched: its key `search`, from names of other keys to the values they may take."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from marey.errors import did_you_mean
from marey.models import check_options, head_names, head_options

if TYPE_CHECKING:
    from marey.training.recipe import Recipe

Scalar = bool | int | float | str | None
Number = Annotated[int | float, Field(allow_inf_nan=False)]

_FIXED: Final = {
    "name": "it is a name",
    "description": "it is a description",
    "search": "it is the search itself",
    "test": "the test part is set aside before the search begins",
    "seed": "a seed that is chosen by its score is luck",
    "testing": "it changes what is tested and no trial",
    "training.validation": "trials are compared on the same validation clips",
    "training.rounds": "trials are compared on the same validation clips",
    "training.refit": "no trial is trained again",
}


class Domain(BaseModel):
    """The values that a key may take: numbers from `low` to `high`, both included, or one of some `choices`.

    Attributes:
        low: the smallest number.
        high: the largest.
        log: whether equal factors are equally likely, in place of equal differences.
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
        """Low and high of numbers."""
        assert self.low is not None  # noqa: S101 - a domain has either choices or both ends
        assert self.high is not None  # noqa: S101
        return self.low, self.high

    @property
    def named(self) -> dict[Scalar, Any]:
        """The choices under names that a database can hold; none where the values are numbers of a range."""
        return {json.dumps(each) if isinstance(each, tuple) else each: each for each in self.choices or ()}

    @property
    def checked(self) -> tuple[Any, ...]:
        """The values that say whether all of them are possible: every choice, or both ends."""
        return self.span if self.choices is None else self.choices


def changed(values: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a recipe with other values; options that the head of such a recipe does not have are left out.

    Args:
        values: of a recipe, as `model_dump` gives them.
        parameters: dotted key to value.
    """
    found: dict[str, Any] = json.loads(json.dumps(values))
    for key, value in parameters.items():
        *folders, last = key.split(".")
        here = found
        for folder in folders:
            inner = here.get(folder)
            here[folder] = here = inner if isinstance(inner, dict) else {}
        here[last] = list(value) if isinstance(value, tuple) else value
    head = found["head"]
    if "head.name" in parameters and head["name"] in head_names():
        known = head_options(head["name"])
        head["options"] = {name: value for name, value in head["options"].items() if name in known}
    return found


def check_space(recipe: Recipe) -> None:
    """Whether all that may be searched are keys of the recipe, with values that they can have.

    Raises:
        ValueError: says which is not, and what was probably meant.
    """
    values = recipe.model_dump(mode="json", exclude={"search"})
    for key, domain in recipe.search.items():
        for name in (key, key.partition(".")[0]):
            if name in _FIXED:
                raise ValueError(f"'{key}' cannot be searched: {_FIXED[name]}")
        _require_key(recipe, key)
        if key == "head.name":
            for name in domain.checked:
                head_options(str(name))
        for value in domain.checked:
            if _is_option(key):
                _check_option(recipe, key, value)
            else:
                type(recipe).model_validate(changed(values, {key: value}))


def is_whole(recipe: Recipe, key: str) -> bool:
    """Whether a key that is searched in a range takes whole numbers."""
    if _is_option(key):
        name = key.removeprefix("head.options.")
        return any(isinstance(_options(head).get(name), int) for head in _heads(recipe))
    parameters = {key: recipe.search[key].span[0]}
    values: Any = type(recipe).model_validate(changed(recipe.model_dump(mode="json", exclude={"search"}), parameters))
    for part in key.split("."):
        values = values[part] if isinstance(values, dict) else getattr(values, part)
    return isinstance(values, int)


def grid_of(domain: Domain, *, whole: bool) -> tuple[Any, ...]:
    """The values that a grid search takes: all choices, all steps, or three of a range without steps."""
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
    """What there is to search: without the options that none of the recipe's heads has."""
    known = {name for head in _heads(recipe) for name in _options(head)}
    return {
        key: domain
        for key, domain in recipe.search.items()
        if not _is_option(key) or key.removeprefix("head.options.") in known
    }


def _heads(recipe: Recipe) -> tuple[str, ...]:
    """The heads that a trial may have."""
    names = recipe.search.get("head.name")
    return tuple(map(str, names.choices or ())) if names is not None else (recipe.head.name,)


def _options(head: str) -> dict[str, Any]:
    return head_options(head) if head in head_names() else {}


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
    # An option of another head may stand there: `--set head.name=gru` is to leave a recipe in one piece.
    known = sorted({name for head in head_names() for name in _options(head)}) if _is_option(key) else _keys(here)
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
