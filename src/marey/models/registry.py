"""Head registry: heads by name, and their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from marey.errors import UnknownNameError, UsageError
from marey.extensions import find_registered, load_extensions, unknown_name
from marey.models.head import Head, InputKind

HeadType = TypeVar("HeadType", bound=type[Head])
Option = bool | int | float | str
"""Value of an option of a head."""

_LARGEST: Final = 4096
"""The largest count of anything: an untrusted model folder may name any number."""
_PLAIN: Final[dict[Any, tuple[Any, str]]] = {
    bool: (bool, "true or false"),
    int: (Annotated[int, Field(ge=1, le=_LARGEST)], f"a whole number from 1 to {_LARGEST}"),
    float: (Annotated[float, Field(ge=0, le=1)], "a number from 0 to 1"),
    str: (Annotated[str, Field(max_length=_LARGEST)], "text"),
}
_HEADS: dict[str, type[Head]] = {}


def register_head(name: str) -> Callable[[HeadType], HeadType]:
    """Make a head available to recipes under a name.

    Its options are the keyword-only parameters of its constructor, each with a default. An `int` is a count from 1, a
    `float` a share from 0 to 1; other limits are stated as `Annotated[float, Field(gt=0, le=8)]`. There are also
    `bool`, `str`, and `Literal["sum", "mean"]` for a choice.
    """

    def register(head: HeadType) -> HeadType:
        if name in _HEADS:
            raise ValueError(f"two heads are called '{name}'")
        _HEADS[name] = head
        return head

    return register


def head_names(takes: InputKind | None = None) -> tuple[str, ...]:
    """Return the registered names of heads that train, sorted; of all, or of those with one kind of input."""
    load_extensions(listing=True)
    return tuple(sorted(name for name, head in _HEADS.items() if head.trains and takes in (None, head.takes)))


def find_head(name: str) -> type[Head] | None:
    """Return the class of a head, of marey or of an extension; None where there is no such head."""
    return find_registered(_HEADS, name)


def head_options(name: str) -> dict[str, Any]:
    """Return the options of a head, with their defaults.

    Raises:
        UnknownNameError: there is no such head.
    """
    return {name: option.default for name, option in _parameters(name).items()}


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Check options of a head.

    Raises:
        UnknownNameError: there is no such head, no such option of it, or no such choice.
        UsageError: an option has an impossible value.
    """
    known = _parameters(name)
    for option, value in options.items():
        if option not in known:
            raise UnknownNameError(f"option of the head '{name}'", option, known)
        kind = known[option].annotation
        if kind is Parameter.empty:
            kind = type(known[option].default)
        if get_origin(kind) is Literal and isinstance(value, str) and value not in get_args(kind):
            raise UnknownNameError(f"{option} of the head '{name}'", value, map(str, get_args(kind)))
        checked, words = _PLAIN.get(kind, (kind, ""))
        try:
            TypeAdapter(checked, config=ConfigDict(strict=True)).validate_python(value)
        except ValidationError as error:
            expected = words or f"different ({error.errors()[0]['msg']})"
            raise UsageError(f"{option} of the head '{name}' has to be {expected}, not {value!r}") from error


def create_head(name: str, shape: tuple[int, ...], classes: int, options: Mapping[str, Any] | None = None) -> Head:
    """Build a head.

    Args:
        name: a registered name.
        shape: of its input: (D,) a feature vector, or (T, C, H, W) of a clip's frames.
        classes: number of labels.
        options: of this head; the others have their defaults.

    Raises:
        UnknownNameError: there is no such head, or no such option of it.
        UsageError: it has another kind of input, or an option has an impossible value.
    """
    given = dict(options or {})
    check_options(name, given)
    gets: InputKind = "frames" if len(shape) == 4 else "features"
    if _HEADS[name].takes != gets:
        fitting = ", ".join(head_names(gets))
        raise UsageError(
            f"'{name}' takes {_HEADS[name].takes}, and this encoder gives {gets}: choose another head ({fitting}), or "
            + ("an encoder such as efficientnet-lite0" if gets == "frames" else "the encoder 'pixels'")
        )
    try:
        build: Any = _HEADS[name]
        head: Head = build(shape if gets == "frames" else shape[0], classes, **given)
        return head
    except (ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise UsageError(f"the head '{name}' cannot be built with {given}: {error}") from error


def _parameters(name: str) -> dict[str, Parameter]:
    head = find_head(name)
    if head is None:
        raise unknown_name("head", name, _HEADS)
    parameters = signature(head, eval_str=True).parameters.values()
    return {each.name: each for each in parameters if each.kind is Parameter.KEYWORD_ONLY}
