"""The origin of a run: its data, how they were read, and its command line."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from marey.atomic import write_atomic
from marey.data import CATALOG
from marey.remote_path import as_path, shown_text

EVALUATION: Final = "evaluation.json"
"""The file that marks the folder of an evaluation."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The call that made a run.

    Attributes:
        data: absolute path of the data, or the name of a data set.
        group_regex: as given.
        exclude: absolute path of the quarantine list, if any.
        command: the command line, ready to paste.
    """

    data: str
    group_regex: str | None
    exclude: str | None
    command: str

    @classmethod
    def of(cls, data: str, *, group_regex: str | None, exclude: str | Path | None, command: str) -> Self:
        """Return the origin of a call."""
        return cls(located(data), group_regex, None if exclude is None else str(Path(exclude).absolute()), command)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self | None:
        """Read the origin from the values of a run; None for runs of earlier versions."""
        try:
            return cls(**{name: values["origin"][name] for name in cls.__dataclass_fields__})
        except (KeyError, TypeError):
            return None

    def as_dict(self) -> dict[str, str | None]:
        """Return it for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Mark:
    """The file beside the results of an evaluation, which marks its folder.

    Attributes:
        model: absolute path of the model.
        data: absolute path of the data, or the name of a data set.
        command: the command line, ready to paste.
    """

    model: str
    data: str
    command: str

    def write(self, folder: Path) -> None:
        """Write it, before the results."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / EVALUATION, json.dumps(asdict(self), indent=1) + "\n", single_writer=True)


def located(data: str) -> str:
    """Return the absolute path of data, or the name of a data set as it is."""
    return data if data in CATALOG and not Path(data).exists() else str(as_path(data).absolute())


def command_line(name: str, function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """Return the command line of a call, ready to paste; URLs are without password and query.

    Arguments are those of `command_words`.
    """
    return shlex.join(shown_text(word) for word in command_words(name, function, given))


def command_words(name: str, function: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    """Return the words of the command line of a call, as a process takes them.

    Args:
        name: of the command, such as "train".
        function: its function, whose defaults are left out.
        given: parameter -> value.
    """
    words = ["marey", name]
    for parameter in inspect.signature(function).parameters.values():
        value = given[parameter.name]
        if parameter.name == "reporter" or value is None or value == parameter.default:
            continue
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            words.append(str(value))
            continue
        flag = f"--{parameter.name.rstrip('_').replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
            continue
        for each in value if isinstance(value, list | tuple) else [value]:
            words += [flag, str(each)]
    return words
