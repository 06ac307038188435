"""The exceptions of marey.

MareyError
├── UsageError              wrong use: the call has to change           exit code 2
│   ├── UnknownNameError    no such recipe, encoder, head, policy, ...
│   └── RecipeError         a key or a value of a recipe is wrong
├── InputError              the input cannot be used                    exit code 3
│   ├── VideoError          a file, with its reason code
│   ├── DatasetError        a manifest, a folder of clips, a split
│   ├── ModelFormatError    a model folder
│   ├── WeightsError        an encoder's weights are not available
│   └── TrainingError       a training that diverged
└── ServiceError            a service cannot be reached, or refuses     exit code 3

Any other exception is a bug in marey (exit code 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from marey.remote_path import as_path, is_remote

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
    "not_finite",
    "forbidden",
    "expired",
    "unreachable",
    "no_ranges",
    "changed",
    "crashed",
]
"""Reason codes of files that cannot be used; scripts may rely on them."""

REASONS: tuple[Reason, ...] = get_args(Reason)


class MareyError(Exception):
    """Base class; the message is for the user."""

    exit_code = 1


class UsageError(MareyError, ValueError):
    """Wrong use: an invalid option or value, or two that exclude each other."""

    exit_code = 2


class UnknownNameError(UsageError):
    """An unknown name; the message suggests similar ones, and ends with a note if there is one."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, note: str = "") -> None:
        self.kind = kind
        self.name = name
        self.known = sorted(known)
        end = f"; {note}" if note else ""
        super().__init__(f"no {kind} is called '{name}'; {did_you_mean(name, self.known)}{end}")


class RecipeError(UsageError):
    """An unknown key of a recipe, or an invalid value."""


class InputError(MareyError):
    """An input that is incomplete or cannot be used."""

    exit_code = 3


class VideoError(InputError):
    """A video that cannot be used, with its reason.

    Attributes:
        path: the file.
        name: the file, or its URL without password and query.
        reason: one of `REASONS`.
        detail: a description of the problem.
    """

    def __init__(self, path: str | Path, reason: Reason, detail: str) -> None:
        self.path = as_path(path)
        self.name = str(self.path if is_remote(path) else path)
        self.reason: Reason = reason
        self.detail = detail
        super().__init__(f"{self.name}: {reason}: {detail}")

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, Reason, str]]:
        return type(self), (self.name, self.reason, self.detail)


class DatasetError(InputError):
    """A manifest, a folder of clips or a split that cannot be used."""


class ModelFormatError(InputError):
    """A model folder that is incomplete, damaged, or of an unsupported version."""


class WeightsError(InputError):
    """Weights of an encoder that are neither stored nor available for download."""


class TrainingError(InputError):
    """A training that diverged: its loss is not finite."""


class LostProcessError(MareyError):
    """A process that trained along, on this machine or on another, and has ended."""


class ServiceError(MareyError):
    """A service that cannot be reached, or refuses a request.

    Attributes:
        status: HTTP status; None if the service cannot be reached.
        code: reason code, such as "not_video" or "too_many".
        detail: a description of the problem.
    """

    exit_code = 3

    def __init__(self, status: int | None, code: str, detail: str) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that suggests known names similar to `name`, or lists all."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(repr(match) for match in close)}?"
    return f"choose one of: {', '.join(names)}"


def inner_sentence(error: Exception) -> str:
    """Return the messages of a pydantic error, each with its field."""
    faults: list[dict[str, Any]] = getattr(error, "errors", list)()
    messages = [str(fault["msg"]).removeprefix("Value error, ") for fault in faults]
    fields = [".".join(map(str, fault["loc"])) for fault in faults]
    return "; ".join(f"{field}: {text}" if field else text for field, text in zip(fields, messages, strict=True))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message without full stop; its class if it is empty."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
