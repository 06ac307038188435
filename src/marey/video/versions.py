"""What differs between the versions of PyAV, 17 to 19, in one place."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final, Protocol

import av
from av.container import InputContainer

MAJOR: Final = int(av.__version__.split(".")[0])
"""Of the PyAV that is installed."""

# Until 18 a tag that is not UTF-8 keeps a file from being opened; from 19 on PyAV keeps its bytes by itself.
_TAGS: Final[dict[str, Any]] = {"metadata_errors": "replace"} if MAJOR < 19 else {}


def open_input(file: Any, **options: Any) -> InputContainer:
    """Open a file, a URL or a file object for reading, whatever the encoding of its tags.

    Args:
        file: as `av.open` takes it.
        options: further arguments of `av.open`.

    Raises:
        av.FFmpegError: it cannot be opened.
    """
    container: InputContainer = av.open(file, "r", **_TAGS, **options)
    return container


class Ratio(Protocol):
    """A `Fraction`, or PyAV's own kind of number."""

    @property
    def numerator(self) -> int:
        """What is divided."""

    @property
    def denominator(self) -> int:
        """By what."""


def fraction_of(value: Ratio | None) -> Fraction | None:
    """Return a time base or a rate of FFmpeg as a fraction; None where it is not set.

    Until 18 PyAV gives a `Fraction` or None, from 19 on an `AVRational`, which is 0 where nothing is set.
    """
    return Fraction(value.numerator, value.denominator) if value else None


def states_size(container: InputContainer) -> bool:
    """Return whether the size of what is read is known: of a file, and not of a broadcast.

    Until 18 PyAV gives an error code below 0 where it is not known, from 19 on None.
    """
    return (container.size or 0) > 0
