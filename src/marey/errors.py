"""Everything that marey raises on purpose.

MareyError
├── UsageError              wrong use: the call has to change           exit code 2
│   ├── UnknownNameError    no such recipe, encoder, head, policy, ...
│   └── RecipeError         a key or a value of a recipe is wrong
├── InputError              the input cannot be used                    exit code 3
│   ├── VideoError          a file, with its reason code
│   ├── DatasetError        a manifest, a folder of clips, a split
│   ├── ModelFormatError    a model folder
│   ├── WeightsError        an encoder's weights are not to be had
│   └── TrainingError       a training that diverged
└── ServiceError            a service that was asked gives no answer    exit code 3

Anything else that escapes is a fault of marey (exit code 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

Reason = Literal[
    "missing",
    "empty",
    "not_video",
    "no_video_stream",
    "no_frames",
    "truncated",
    "corrupt",
    "too_short",
    "too_large",
    "timeout",
]
"""Why a file cannot be used, as one word that scripts can count on."""

REASONS: tuple[Reason, ...] = get_args(Reason)


class MareyError(Exception):
    """An error whose message is meant for the person who made the call."""

    exit_code = 1


class UsageError(MareyError, ValueError):
    """The call is wrong: an option, a value, or two that exclude each other."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not registered; the message says which were probably meant."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.known = sorted(known)
        super().__init__(f"no {kind} is called '{name}'; {did_you_mean(name, self.known)}")


class RecipeError(UsageError):
    """A recipe names an unknown key, or gives a key a value that it cannot have."""


class InputError(MareyError):
    """The input exists only in part, or not in a form that can be used."""

    exit_code = 3


class VideoError(InputError):
    """A video file that cannot be used, and why.

    Attributes:
        path: the file.
        name: the file, or the address of a stream, as it was given.
        reason: one of `REASONS`.
        detail: what was seen, in words.
    """

    def __init__(self, path: str | Path, reason: Reason, detail: str) -> None:
        self.path = Path(path)
        self.name = str(path)
        self.reason: Reason = reason
        self.detail = detail
        super().__init__(f"{self.name}: {reason}: {detail}")

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, Reason, str]]:
        return type(self), (self.name, self.reason, self.detail)


class DatasetError(InputError):
    """A manifest, a folder of clips or a split that cannot be used."""


class ModelFormatError(InputError):
    """A model folder that is incomplete, damaged, or of a kind that this version cannot read."""


class WeightsError(InputError):
    """The weights of an encoder are not here and cannot be had."""


class TrainingError(InputError):
    """A training that diverged: its loss is not a number any more."""


class ServiceError(MareyError):
    """A service gives no answer, and says why.

    Attributes:
        status: of HTTP; None where the service cannot be reached.
        code: one word, such as "not_video" or "too_many".
        detail: in words.
    """

    exit_code = 3

    def __init__(self, status: int | None, code: str, detail: str) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that says which of the known names was probably meant."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(match) for match in close)}?"
    return f"choose one of: {', '.join(names)}"


def inner_sentence(error: Exception) -> str:
    """Return what a validator of ours said, from an error of pydantic: its sentences without what is around them."""
    faults: list[dict[str, Any]] = getattr(error, "errors", list)()
    said = [str(fault["msg"]).removeprefix("Value error, ") for fault in faults]
    places = [".".join(map(str, fault["loc"])) for fault in faults]
    return "; ".join(f"{place}: {text}" if place else text for place, text in zip(places, said, strict=True))


def first_line(error: BaseException) -> str:
    """The first line of what an error of a library says, without its full stop, or the error's name."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
