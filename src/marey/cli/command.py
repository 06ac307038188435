"""From a verb, a typed function with a docstring, to a command."""

from __future__ import annotations

import inspect
import json
import re
import sys
import typing
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from marey.cli.screen import Screen

_SHORT: Final = {"out": "-o"}
_NO_OPTIONS: Final = ("on_answer", "reporter")  # what the program itself gives to a verb
_STOPPED: Final = "\nmarey: stopped; what was finished is kept, and the same command goes on from there\n"
_JSON: Final = inspect.Parameter(
    "json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")],
)


def command(verb: Callable[..., Any]) -> Callable[..., None]:
    """The command of a verb.

    Parameters that may be given by place become arguments, keyword-only ones options; the docstring gives the help.
    The answer goes to the screen, or as JSON to standard output.
    """
    summary, helps = read_docstring(inspect.getdoc(verb) or "")
    hints = typing.get_type_hints(verb, localns={"EvaluationResult": Any})
    parameters = [
        _parameter(parameter, hints[name], helps.get(name, ""))
        for name, parameter in inspect.signature(verb).parameters.items()
        if name not in _NO_OPTIONS
    ]

    def run(**given: Any) -> None:
        as_json = given.pop("json")
        screen = Screen(quiet=as_json)
        printed = False

        def show(answer: Any) -> None:
            nonlocal printed
            printed = True
            if as_json:
                sys.stdout.write(json.dumps(answer.as_dict(), indent=2, ensure_ascii=False) + "\n")
                sys.stdout.flush()  # files are written next, and that may take its time
            else:
                screen.show(answer)

        if "reporter" in hints:
            given["reporter"] = screen.reporter()
        if "on_answer" in hints:
            given["on_answer"] = show
        by_place = [
            given.pop(name)
            for name, parameter in inspect.signature(verb).parameters.items()
            if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        ]
        answer: Any = None
        try:
            answer = verb(*by_place, **given)
            if as_json and hasattr(answer, "lines"):
                for line in answer.lines():
                    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
                    sys.stdout.flush()  # whoever reads them waits for each
            elif not printed:
                show(answer)
            elif not as_json:
                screen.show_written(answer.written)
        except KeyboardInterrupt:
            if not hasattr(answer, "close"):
                sys.stderr.write(_STOPPED)
                raise typer.Exit(130) from None
            answer.close()  # this is how watching ends, also between two answers
        finally:
            unwritten = tuple(getattr(answer, "unwritten", ()))
            for failed in unwritten:
                sys.stderr.write(f"marey: {failed}\n")
        if unwritten or not getattr(answer, "usable", True):
            raise typer.Exit(3)

    run.__name__ = verb.__name__
    run.__doc__ = summary
    run.__signature__ = inspect.Signature([*parameters, _JSON])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*parameters, _JSON]}
    return run


def _parameter(parameter: inspect.Parameter, hint: Any, text: str) -> inspect.Parameter:
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        flag = f"--{parameter.name.rstrip('_').replace('_', '-')}"  # `from_` is --from: the word is Python's
        flags = [flag, _SHORT[parameter.name]] if parameter.name in _SHORT else [flag]
        info: Any = typer.Option(*flags, help=text)
    else:
        info = typer.Argument(help=text, metavar=parameter.name.upper())
    return parameter.replace(annotation=Annotated[hint, info], kind=inspect.Parameter.KEYWORD_ONLY)


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The text before `Args:`, and what stands there of each parameter."""
    summary, _, rest = text.partition("\nArgs:\n")
    arguments = re.split(r"\n(?:Returns|Raises):\n", rest)[0]
    helps: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \w)", "\n" + arguments):
        name, colon, explanation = entry.strip().partition(":")
        if colon and name.isidentifier():
            sentence = " ".join(explanation.split())
            helps[name] = sentence[:1].upper() + sentence[1:]
    return summary.strip(), helps
