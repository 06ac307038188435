"""Differences between the supported versions of PyAV, 17 to 19."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import av
from av.container import InputContainer

MAJOR: Final = int(av.__version__.split(".")[0])
"""Major version of the installed PyAV."""

# Until 18, a tag that is not UTF-8 prevents opening the file; from 19 on, PyAV keeps its bytes.
_TAGS: Final[dict[str, Any]] = {"metadata_errors": "replace"} if MAJOR < 19 else {}


def open_input(file: Any, **options: Any) -> InputContainer:
    """Open a file, a URL or a file object for reading, whatever the encoding of its tags.

    Args:
        file: as in `av.open`.
        options: further arguments of `av.open`.

    Raises:
        av.FFmpegError: it cannot be opened.
    """
    container: InputContainer = av.open(file, "r", **_TAGS, **options)
    return container


def fraction_of(value: Any) -> Fraction | None:
    """Return a time base or a rate of FFmpeg as a fraction; None where it is not set.

    Until 18, PyAV gives a `Fraction` or None; from 19 on an `AVRational`, which is 0 if not set.
    """
    return Fraction(value.numerator, value.denominator) if value else None


def states_size(container: InputContainer) -> bool:
    """Return whether the size of the input is known: of files, not of live streams.

    Where it is not known, PyAV gives an error code below 0 until 18, and None from 19 on.
    """
    return (container.size or 0) > 0
