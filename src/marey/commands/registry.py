"""The registry of commands: one decorator makes a typed function a command, in Python and on the command line."""

from __future__ import annotations

import builtins
import inspect
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

from marey.errors import UsageError, did_you_mean
from marey.progress import AUTO, resolve

Function = TypeVar("Function", bound=Callable[..., Any])

Panel = Literal["Train and test", "Predict", "Data and features", "Information"]
"""The part of `marey --help` that a command is listed in."""


@dataclass(frozen=True, slots=True)
class Help:
    """The explanation of an option that several commands share: `Annotated[str, Help("...")]`.

    Attributes:
        text: the explanation.
        cli: its type on the command line, where that is narrower than in Python.
    """

    text: str
    cli: Any = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an answer.

    Attributes:
        text: without an end of line.
        style: how it is set off.
    """

    text: str
    style: Literal["plain", "strong", "note", "good", "warning", "fault"] = "plain"


@dataclass(slots=True)
class Table:
    """A table of an answer.

    Attributes:
        columns: headings.
        rows: cells, text or lines with a style.
        right: columns that are aligned to the right.
        whole: columns whose cells are never broken or cut.
        one_line: each row takes one line on a terminal: what is too long is cut.
        path: the column of paths, which lose their beginning where they are too long.
        widths: column -> largest width.
    """

    columns: tuple[str, ...]
    rows: list[tuple[str | Line, ...]] = field(default_factory=list)
    right: Sequence[str] = ()
    whole: Sequence[str] = ()
    one_line: bool = False
    path: str | None = None
    widths: Mapping[str, int] = field(default_factory=dict)

    def add(self, *cells: str | Line) -> None:
        """Add a row."""
        self.rows.append(cells)


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Attributes:
        name: on the command line, such as "train" or "data list".
        function: in Python.
        summary: its help.
        helps: parameter -> explanation.
        parameters: parameter -> parameter with its type.
        examples: command lines.
        show: makes lines, tables and results of an answer, for a screen to draw.
        panel: where it is listed.
        aliases: earlier names on the command line.
        renamed: earlier name of a parameter -> today's name.
        values: parameter -> earlier value -> today's value.
    """

    name: str
    function: Callable[..., Any]
    summary: str
    helps: Mapping[str, str]
    parameters: Mapping[str, inspect.Parameter]
    examples: tuple[str, ...]
    show: Callable[[Any], Iterable[Any]]
    panel: str
    aliases: tuple[str, ...]
    renamed: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]]

    @property
    def group(self) -> str:
        """The group on the command line, such as "data"; empty for commands of their own."""
        return self.name.rpartition(" ")[0]


COMMANDS: Final[dict[str, Command]] = {}
"""All commands, by their names on the command line."""

EARLIER_NAME: Final = "the earlier name goes with the next release"
"""The end of each warning about a renamed option, in Python and on the command line."""

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


def command(
    name: str,
    *,
    examples: Sequence[str] = (),
    show: Callable[[Any], Iterable[Any]] | None = None,
    panel: Panel = "Information",
    aliases: Sequence[str] = (),
    renamed: Mapping[str, str] = _NONE,
    values: Mapping[str, Mapping[str, str]] = _NONE,
) -> Callable[[Function], Function]:
    """Register a typed function with a docstring as a command.

    On the command line, parameters given by position become arguments, keyword-only ones become options.
    In Python, the function is `marey.<function>` if the command belongs to no group.

    Args:
        name: on the command line, with its group: "train", "data list".
        examples: command lines for its help, without "marey".
        show: makes strings, `Line`s and `Table`s of the answer; by default its `as_dict`, a line a key.
        panel: the part of `marey --help` that lists it.
        aliases: earlier names on the command line, which still work and are not listed.
        renamed: earlier name of a parameter -> today's; it still works, with a warning.
        values: parameter -> earlier value -> today's; likewise.

    Raises:
        ValueError: the name is taken, or there is no such panel.
    """
    if panel not in get_args(Panel):
        raise ValueError(f"no panel is called '{panel}'; {did_you_mean(panel, get_args(Panel))}")

    def register(function: Function) -> Function:
        if name in COMMANDS:
            raise ValueError(f"two commands are called '{name}'")
        parameters = inspect.signature(function, eval_str=True, locals=_Names(function)).parameters
        summary, helps = read_docstring(inspect.getdoc(function) or "")
        for key, parameter in parameters.items():
            shared = help_of(parameter.annotation)
            if shared is not None and key not in helps:
                helps[key] = _sentence(shared.text)

        @wraps(function)
        def run(*places: Any, **options: Any) -> Any:
            for old, new in renamed.items():
                if old in options:
                    if new in options:
                        raise UsageError(f"{old} is the earlier name of {new}: give only {new}")
                    _warn(f"{old}= is now called {new}=")
                    options[new] = options.pop(old)
            for key, known in values.items():
                if isinstance(given := options.get(key), str) and given in known:
                    _warn(f"{key}='{given}' is now {key}='{known[given]}'")
                    options[key] = known[given]
            if "reporter" in parameters:
                options["reporter"] = resolve(options.get("reporter", AUTO))
            return function(*places, **options)

        run.__doc__ = _complete(function, parameters, helps)
        COMMANDS[name] = Command(
            name,
            run,
            summary,
            helps,
            parameters,
            tuple(examples),
            show or _as_lines,
            panel,
            tuple(aliases),
            renamed,
            values,
        )
        return run  # type: ignore[return-value]

    return register


def help_of(annotation: Any) -> Help | None:
    """Return the shared explanation of an annotated type, if it has one."""
    if get_origin(annotation) is not Annotated:
        return None
    return next((each for each in get_args(annotation)[1:] if isinstance(each, Help)), None)


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return the text before `Args:`, and the explanation of each parameter."""
    summary, _, rest = text.partition("\nArgs:\n")
    summary = re.split(r"\n(?:Returns|Raises):\n", summary)[0]
    arguments = re.split(r"\n(?:Returns|Raises):\n", rest)[0]
    helps: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \w)", "\n" + arguments):
        name, colon, explanation = entry.strip().partition(":")
        if colon and name.isidentifier():
            helps[name] = _sentence(" ".join(explanation.split()))
    return summary.strip(), helps


class _Names(dict[str, Any]):
    """Names of a module; those that only type checkers import stand for any type."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._known = getattr(function, "__globals__", {})

    def __missing__(self, name: str) -> Any:
        if name in self._known or hasattr(builtins, name):
            raise KeyError(name)
        return Any


def _complete(
    function: Callable[..., Any], parameters: Mapping[str, inspect.Parameter], helps: Mapping[str, str]
) -> str:
    """Return the docstring with the explanations of shared options in it, for `help()`."""
    text = inspect.getdoc(function) or ""
    shared = [key for key, parameter in parameters.items() if help_of(parameter.annotation) is not None]
    if not shared:
        return text
    before, _, rest = text.partition("\nArgs:\n")
    after = re.search(r"\n(?:Returns|Raises):\n", rest if rest else before)
    end = (rest if rest else before)[after.start() :] if after else ""
    lines = [
        textwrap.fill(f"{key}: {helps[key]}", 100, initial_indent="    ", subsequent_indent="        ")
        for key in parameters
        if key in helps
    ]
    head = before if rest else before.removesuffix(end)
    return "\n".join([head.rstrip(), "", "Args:", *lines]) + ("\n" + end if end else "\n")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _warn(text: str) -> None:
    warnings.warn(f"{text}; {EARLIER_NAME}", FutureWarning, stacklevel=3)


def _as_lines(answer: Any) -> Iterable[str]:
    if answer is None:
        return ()
    found = answer.as_dict()
    return [f"{key}   {value}" for key, value in found.items()] if isinstance(found, dict) else map(str, found)
