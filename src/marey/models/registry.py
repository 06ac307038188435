"""Heads by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from marey.errors import UnknownNameError, UsageError
from marey.models.head import Head

HeadType = TypeVar("HeadType", bound=type[Head])

_HEADS: dict[str, type[Head]] = {}


def register_head(name: str) -> Callable[[HeadType], HeadType]:
    """Make a head available to recipes under a name.

    The options that a recipe may give it are the keyword-only parameters of its constructor.
    """

    def register(head: HeadType) -> HeadType:
        if name in _HEADS:
            raise ValueError(f"two heads are called '{name}'")
        _HEADS[name] = head
        return head

    return register


def head_names() -> tuple[str, ...]:
    """The registered names, sorted."""
    return tuple(sorted(_HEADS))


def head_options(name: str) -> dict[str, Any]:
    """The options of a head, with their defaults.

    Raises:
        UnknownNameError: no such head.
    """
    if name not in _HEADS:
        raise UnknownNameError("head", name, _HEADS)
    parameters = inspect.signature(_HEADS[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def create_head(name: str, dim: int, classes: int, options: Mapping[str, Any] | None = None) -> Head:
    """Build a head.

    Args:
        name: a registered name.
        dim: D, numbers a feature vector.
        classes: number of labels.
        options: of this head; those that are left out take their defaults.

    Raises:
        UnknownNameError: no such head, or no such option of it.
        UsageError: an option has a value that the head cannot take.
    """
    known = head_options(name)
    given = dict(options or {})
    for option, value in given.items():
        if option not in known:
            raise UnknownNameError(f"option of the head '{name}'", option, known)
        default = known[option]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or (isinstance(default, int) and not isinstance(value, int)) or value < 0:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise UsageError(f"{option} of the head '{name}' has to be {kind} of 0 or more, not {value!r}")
    try:
        return _HEADS[name](dim, classes, **given)
    except (ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise UsageError(f"the head '{name}' cannot be built with {given}: {error}") from error
