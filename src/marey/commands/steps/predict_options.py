"""Options of `marey predict` that do not go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from marey.commands.steps.outputs import Outputs
from marey.errors import UsageError

OUTPUTS: Final = ("annotate", "frames", "chronophotograph", "segments", "timeline", "thumbnails", "csv")
"""The files and folders that are made from the answers, in the order of `Outputs`."""


def check_clip_options(given: Mapping[str, float | None], outputs: Outputs) -> None:
    """Refuse options of windows and segments for whole clips.

    Args:
        given: options of windows, None where they are left out.
        outputs: the files that are asked for.
    """
    named = [name for name, value in given.items() if value is not None and name != "threshold"]
    named += [name for name in ("segments", "timeline", "thumbnails") if getattr(outputs, name) is not None]
    if named:
        option = f"--{named[0].replace('_', '-')}"
        raise UsageError(f"{option} is for segments, and a whole clip has one label: add --mode window")


def check_independent(mode: str, given: Mapping[str, float | None], live: Sequence[str]) -> None:
    """Refuse options of windows for frames that are classified by themselves; arguments as of `predict`."""
    if mode != "frame" or live:
        raise UsageError("--independent classifies the frames of files by themselves: add --mode frame")
    named = [name for name in ("window", "stride", "smooth") if given[name] is not None]
    if named:
        raise UsageError(f"--{named[0]} is for windows of several frames: leave it out with --independent")


def check_promises(risk: float | None, sets: float | None, threshold: float | None, *, whole: bool) -> None:
    """Refuse bounds on wrong answers for windows, and beside a threshold; arguments as of `predict`."""
    given = {name: value for name, value in (("risk", risk), ("sets", sets)) if value is not None}
    for name, value in given.items():
        if not whole:
            raise UsageError(f"--{name} is for whole clips, as those that were held out of the training: leave it out")
        if not 0 < value < 1:
            raise UsageError(f"{name}={value:g}: a share lies between 0 and 1, as in --risk 0.05 and --sets 0.9")
    if risk is not None and threshold is not None:
        raise UsageError(f"threshold={threshold:g} and risk={risk:g}: the risk sets the threshold; leave one out")


def check_rows(out: object, on_cluster: bool, outputs: Outputs, plain: bool) -> None:
    """Refuse a cluster without a table of rows, and a table beside what has the videos or their features here.

    Args:
        out: the Parquet file; None if there is none.
        on_cluster: whether a cluster does the work.
        outputs: the files that are asked for.
        plain: False for labels in words, live sources, downloads and `verbose`.
    """
    if out is None:
        if on_cluster:
            raise UsageError("a cluster writes its answers to a file: add --out predictions.parquet")
        return
    named = [name for name in OUTPUTS if getattr(outputs, name) is not None]
    if named:
        raise UsageError(f"--{named[0]} is made from the video here: leave it out with --out")
    if not plain:
        raise UsageError("--out is for files and a model: leave out --labels, --download, --verbose and cameras")
