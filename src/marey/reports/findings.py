"""Findings about the data of a training as a page shows them: sentences, and clips with their images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from marey.data import Clip
from marey.evaluation import WORTH, DataFindings, LearningCurve
from marey.reports.embedding import EmbeddedImage, embed_pixels
from marey.reports.phrases import count, share, span

FEW: Final = 6
"""Clips of each kind that the report of a training shows."""

MANY: Final = 24
"""Clips of each kind that the page of `marey diagnose` shows."""

_CLASSES: Final = 12  # of which the report of a training shows examples
_SIDE: Final = 320  # pixels; the longer side of an image

ClipImage = Callable[[Clip], npt.NDArray[np.uint8] | None]
"""Function that returns an image of a clip, uint8 RGB `(H, W, 3)`, or None if there is none."""


@dataclass(frozen=True, slots=True)
class ShownClip:
    """A clip on a page.

    Attributes:
        clip: it.
        caption: what it is, in a few words.
        other: a word set off from the caption, such as the suggested label.
        image: its chronophotograph, if it can be read.
    """

    clip: Clip
    caption: str
    other: str
    image: EmbeddedImage | None


@dataclass(frozen=True)
class ShownFindings:
    """Findings as a page shows them.

    Attributes:
        labels: a sentence on labels that look wrong.
        suspects: the first of those clips.
        copies: a sentence on near-duplicates.
        pairs: the first of them.
        examples: typical and odd clips, a class after the other.
        notes: what was not done, and why.
    """

    labels: str
    suspects: tuple[ShownClip, ...]
    copies: str
    pairs: tuple[tuple[ShownClip, ShownClip], ...]
    examples: tuple[ShownClip, ...]
    notes: tuple[str, ...]


def show_findings(findings: DataFindings, image_of: ClipImage | None, *, most: int = MANY) -> ShownFindings:
    """Return findings for a page, with the images of at most `most` clips of each kind."""
    known: dict[int, EmbeddedImage | None] = {}
    clips = findings.clips

    def shown(number: int, caption: str, other: str = "") -> ShownClip:
        clip = clips[number]
        if number not in known:
            pixels = None if image_of is None else image_of(clip)
            alt = f"Chronophotograph of {clip.id}."
            known[number] = None if pixels is None else embed_pixels(pixels, alt, side=_SIDE)
        return ShownClip(clip, caption, other, known[number])

    suspects = tuple(
        shown(one.clip, findings.labels[one.label], findings.labels[one.suggested]) for one in findings.suspects[:most]
    )
    pairs = tuple(
        (shown(pair.first, f"likeness {share(pair.likeness)}"), shown(pair.second, "its copy"))
        for pair in findings.duplicates[:most]
    )
    few = most <= FEW
    classes = findings.typical[: _CLASSES if few else None]
    examples: list[ShownClip] = []
    for each in classes:
        name = findings.labels[each.label]
        examples += [shown(number, name, "typical") for number in each.typical[: 1 if few else None]]
        examples += [shown(number, name, "odd") for number in each.odd[: 1 if few else None]]
    return ShownFindings(labels_text(findings), suspects, copies_text(findings), pairs, tuple(examples), findings.notes)


def labels_text(findings: DataFindings) -> str:
    """Return a sentence on labels that look wrong."""
    if not findings.checked:
        return "No clip has a prediction of a model that was not trained on it: labels are not checked."
    number, of = len(findings.suspects), count(findings.checked, "clip")
    if not number:
        return f"None of {of} tested looks wrongly labelled."
    verb = "looks" if number == 1 else "look"
    return (
        f"{count(number, 'label')} of {of} tested {verb} wrong: a model that has not seen the clip names another class."
    )


def copies_text(findings: DataFindings) -> str:
    """Return a sentence on near-duplicates."""
    pairs = len(findings.duplicates)
    if not pairs:
        return "No two clips of different groups show the same scene."
    certain = sum(pair.certain for pair in findings.duplicates)
    what = (
        "1 pair of clips of different groups shows"
        if pairs == 1
        else f"{pairs} pairs of clips of different groups show"
    )
    if not certain:
        return f"{what} much the same, and may be copies: look at them."
    known = "" if certain == pairs else f" ({certain} certainly; the others may be different takes)"
    return f"{what} the same scene{known}: keep one clip of each, or give both the same group."


def curve_text(curve: LearningCurve) -> str:
    """Return a sentence on whether more clips would help."""
    measured = [point for point in curve.points if point.measured][-1]
    text = (
        f"With {count(measured.groups, 'group')} the accuracy is {share(measured.accuracy)} {span(measured.interval)}"
    ).rstrip()
    text += (
        f"; twice the {curve.groups} there are would add about {curve.gain:.3f} {span(curve.gain_interval, 3)}".rstrip()
    )
    low, high = curve.gain_interval or (curve.gain, curve.gain)
    if low >= WORTH:
        verdict = "more groups would help"
    elif high < WORTH:
        verdict = "more groups like these would hardly help"
    else:
        verdict = "more groups may help"
    return f"{text}: {verdict}."
