"""Typer commands made of registered commands: options of their signatures, help of their docstrings."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import typer
from rich.markup import escape

from marey.cli.plain_text import visible, visible_json
from marey.cli.screen import Screen
from marey.commands.registry import EARLIER_NAME, Command, help_of
from marey.errors import did_you_mean
from marey.json_text import json_text

_SHORT: Final = {"out": ("-o",)}
_NO_OPTIONS: Final = ("on_answer", "reporter")  # the program gives these to a command
_STOPPED: Final = "\nmarey: stopped; what was finished is kept, and the same command continues from there\n"
_JSON: Final = inspect.Parameter(
    "json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")],
)


def typer_command(command: Command) -> Callable[..., None]:
    """Return the function that Typer makes a command of.

    Parameters given by position become arguments, keyword-only ones options. The answer goes to the screen, or as JSON
    to standard output. Earlier names of options are hidden, and still work with a warning.
    """
    known = {name: each for name, each in command.parameters.items() if name not in _NO_OPTIONS}
    parameters = [_parameter(command, each) for each in known.values()]
    parameters += [_earlier(command, old, known[new]) for old, new in command.renamed.items()]
    signature = inspect.Signature([*parameters, _JSON])

    def run(**given: Any) -> None:
        as_json = given.pop("json")
        for old, new in command.renamed.items():
            value = given.pop(old)
            if value is not None:
                _warn(f"{_flag(old)} is now called {_flag(new)}")
                given[new] = value
        _run(command, given, Screen(quiet=as_json), as_json=as_json)

    run.__name__ = command.function.__name__
    run.__doc__ = _help(command)
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
    return run


def _run(command: Command, given: dict[str, Any], screen: Screen, *, as_json: bool) -> None:
    printed = False

    def show(answer: Any) -> None:
        nonlocal printed
        printed = True
        if as_json:
            values = None if answer is None else answer.as_dict()
            sys.stdout.write(visible_json(json_text(values, indent=2)) + "\n")
            sys.stdout.flush()  # files are written next, which may take a while
        else:
            screen.show(command.show(answer))

    if "reporter" in command.parameters:
        given["reporter"] = screen.reporter()
    if "on_answer" in command.parameters:
        given["on_answer"] = show
    by_place = [
        given.pop(name)
        for name, parameter in command.parameters.items()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    answer: Any = None
    try:
        answer = command.function(*by_place, **given)
        if as_json and hasattr(answer, "lines"):
            for line in answer.lines():
                sys.stdout.write(visible_json(json_text(line)) + "\n")
                sys.stdout.flush()  # a reader waits for each
        elif getattr(answer, "of_other_process", False):
            pass
        elif not printed:
            show(answer)
        elif not as_json:
            screen.show_written(answer.written)
    except KeyboardInterrupt:
        if not hasattr(answer, "close"):
            sys.stderr.write(_STOPPED)
            raise typer.Exit(130) from None
        answer.close()  # this is how watching a live source ends, also between two answers
    finally:
        unwritten = tuple(getattr(answer, "unwritten", ()))
        for failed in unwritten:
            sys.stderr.write(visible(f"marey: {failed}\n"))
    if unwritten or not getattr(answer, "usable", True):
        raise typer.Exit(3)


def _choice(flag: str, values: tuple[str, ...], earlier: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of an option with these values; earlier ones are accepted with a warning."""

    def parse(value: str) -> str:
        if value in earlier:
            _warn(f"{flag} {value} is now {flag} {earlier[value]}")
            value = earlier[value]
        if value not in values:
            raise typer.BadParameter(f"no choice is called '{value}'; {did_you_mean(value, values)}")
        return value

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return {"parser": parse, "metavar": f"[{'|'.join(values)}]", "autocompletion": complete}


def _parameter(command: Command, parameter: inspect.Parameter) -> inspect.Parameter:
    text = escape(command.helps.get(parameter.name, ""))
    hint, more = _cli_type(command, parameter)
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        flags = [_flag(parameter.name), *_SHORT.get(parameter.name, ())]
        info: Any = typer.Option(*flags, help=text, **more)
    else:
        info = typer.Argument(help=text, **{"metavar": parameter.name.upper(), **more})
    return parameter.replace(annotation=Annotated[hint, info], kind=inspect.Parameter.KEYWORD_ONLY)


def _earlier(command: Command, old: str, parameter: inspect.Parameter) -> inspect.Parameter:
    """Return the hidden option of an earlier name."""
    hint, more = _cli_type(command, parameter)
    return inspect.Parameter(
        old,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[hint | None, typer.Option(_flag(old), hidden=True, **more)],
    )


def _cli_type(command: Command, parameter: inspect.Parameter) -> tuple[Any, dict[str, Any]]:
    """Return the type of a parameter on the command line, and further settings of its option."""
    hint = parameter.annotation
    shared = help_of(hint)
    if shared is not None and shared.cli is not None:
        return shared.cli, {}
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType):
        members = [each for each in get_args(hint) if each is not type(None)]
        chosen = Path if Path in members else members[0]
        hint = chosen | None if type(None) in get_args(hint) else chosen
    if get_origin(hint) is Literal:
        return str, _choice(_flag(parameter.name), get_args(hint), command.values.get(parameter.name, {}))
    return hint, {}


def _help(command: Command) -> str:
    paragraphs = [escape(" ".join(part.split())) for part in command.summary.split("\n\n")]
    if command.examples:
        paragraphs.append("\n".join(["\b", "Examples:", *(f"  $ marey {escape(line)}" for line in command.examples)]))
    return "\n\n".join(paragraphs)


def _flag(name: str) -> str:
    return f"--{name.rstrip('_').replace('_', '-')}"  # `from_` is --from: the word is Python's


def _warn(text: str) -> None:
    sys.stderr.write(visible(f"marey: {text}; {EARLIER_NAME}\n"))
