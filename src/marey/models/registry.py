"""Heads by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from marey.errors import UnknownNameError, UsageError
from marey.models.head import Head, Takes

HeadType = TypeVar("HeadType", bound=type[Head])

_LARGEST: Final = 4096
"""The most of anything that a head may be asked for: a model folder from a stranger may name any number."""

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


def head_names(takes: Takes | None = None) -> tuple[str, ...]:
    """The registered names, sorted; of all heads, or of those that take features, or pictures."""
    return tuple(sorted(name for name, head in _HEADS.items() if takes in (None, head.takes)))


def head_options(name: str) -> dict[str, Any]:
    """The options of a head, with their defaults.

    Raises:
        UnknownNameError: no such head.
    """
    if name not in _HEADS:
        raise UnknownNameError("head", name, _HEADS)
    parameters = inspect.signature(_HEADS[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Whether a head may be given these options.

    Raises:
        UnknownNameError: no such head, or no such option of it.
        UsageError: an option has a value that it cannot take.
    """
    known = head_options(name)
    for option, value in options.items():
        if option not in known:
            raise UnknownNameError(f"option of the head '{name}'", option, known)
        if not _fits(value, known[option]):
            kind = f"a whole number from 1 to {_LARGEST}" if isinstance(known[option], int) else "a number from 0 to 1"
            raise UsageError(f"{option} of the head '{name}' has to be {kind}, not {value!r}")


def create_head(name: str, shape: tuple[int, ...], classes: int, options: Mapping[str, Any] | None = None) -> Head:
    """Build a head.

    Args:
        name: a registered name.
        shape: of what it gets of a clip: (D,) a frame, or (T, C, H, W) of all pictures.
        classes: number of labels.
        options: of this head; those that are left out take their defaults.

    Raises:
        UnknownNameError: no such head, or no such option of it.
        UsageError: it takes something else than that, or an option has a value that it cannot take.
    """
    given = dict(options or {})
    check_options(name, given)
    gets: Takes = "pictures" if len(shape) == 4 else "features"
    if _HEADS[name].takes != gets:
        fitting = ", ".join(head_names(gets))
        raise UsageError(
            f"'{name}' takes {_HEADS[name].takes}, and this encoder gives {gets}: choose another head ({fitting}), or "
            + ("an encoder such as efficientnet-lite0" if gets == "pictures" else "the encoder 'pixels'")
        )
    try:
        build: Any = _HEADS[name]
        head: Head = build(shape if gets == "pictures" else shape[0], classes, **given)
        return head
    except (ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise UsageError(f"the head '{name}' cannot be built with {given}: {error}") from error


def _fits(value: object, default: object) -> bool:
    """Whether an option may have a value: counts like counts, shares like shares."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(default, int):
        return isinstance(value, int) and 1 <= value <= _LARGEST
    return 0 <= value <= 1
