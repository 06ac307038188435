"""The words around the numbers: what the answer is, and how far to trust it."""

from __future__ import annotations

import numpy as np

from marey.evaluation import Evaluation, Metrics, OrderEffect, Resampling

CLEAR_GAP = 0.05  # a confidence this far from the accuracy deserves a word


def confidence_text(probability: float) -> str:
    """Return a probability as "0.94"; what would round to 1 or 0 is ">0.99" or "<0.01".

    Files for programs keep the number itself.
    """
    if probability >= 0.995:
        return ">0.99"
    if probability < 0.005:
        return "<0.01"
    return f"{probability:.2f}"


def percent_text(probability: float) -> str:
    """Return the same in percent: "94 %", ">99 %", "<1 %"."""
    sign, digits = "", confidence_text(probability)
    if digits[0] in "<>":
        sign, digits = digits[0], digits[1:]
    return f"{sign}{100 * float(digits):.0f} %"


def share(value: float | None, digits: int = 2) -> str:
    """A share of clips as text that never rounds something to nothing, or nearly all to all."""
    if value is None:
        return "–"
    value += 0.0  # minus nothing is nothing
    text = f"{value:.{digits}f}"
    while digits < 6 and float(text) in (0.0, 1.0) and value not in (0.0, 1.0):
        digits += 1
        text = f"{value:.{digits}f}"
    return text


def count(number: int, noun: str) -> str:
    """A number with its noun, in the singular for one."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def span(ends: tuple[float, float] | None, digits: int = 2) -> str:
    """An interval as text, empty where there is none."""
    return "" if ends is None else f"[{share(ends[0], digits)}, {share(ends[1], digits)}]"


def answer(metrics: Metrics) -> str:
    """Return the result in one sentence.

    As in "56 of 60 clips right (0.93, 0.87 to 0.98), leave one group out, 10 folds", or where every clip is right "6
    of 6 clips right (at least 0.54 with 95 %), 1 split; no groups known: this may be too high".
    """
    said = ", ".join(part for part in (right_clips(metrics), metrics.protocol) if part)
    doubt = "; no groups known: this may be too high" if metrics.interval.unit == "clips" else ""
    return f"{said}{doubt}"


def right_clips(metrics: Metrics) -> str:
    """Return how many clips are right, and how far that can be trusted: "56 of 60 clips right (0.93, 0.87 to 0.98)"."""
    number = round(metrics.accuracy * metrics.clips)
    right = f"{number:,} of {count(metrics.clips, 'clip')} right"
    ends, level = metrics.interval.accuracy, f"{100 * metrics.interval.level:.0f} %"
    if ends is None:
        return f"{right} ({share(metrics.accuracy)})"
    if metrics.interval.method == "exact":
        at = f"at least {share(ends[0])}" if number else f"at most {share(ends[1])}"
        return f"{right} ({at} with {level})"
    return f"{right} ({share(metrics.accuracy)}, {share(ends[0])} to {share(ends[1])})"


def frame_order(effect: OrderEffect) -> str:
    """Return what another order of the frames changes.

    As in "frames in their order 0.93, shuffled 0.61: -0.32 [-0.43, -0.21], p = 0.002; what is lost is what the model
    knows of time".
    """
    found = effect.difference
    said = f"frames in their order {share(effect.given.accuracy)}, {effect.order} {share(effect.changed.accuracy)}"
    if found.accuracy is not None:
        said += f": {0.0 - found.accuracy:+.2f}"
    if found.interval is not None:
        low, high = found.interval
        said += f" [{0.0 - high:+.2f}, {0.0 - low:+.2f}]"
    if found.p is not None:
        said += f", p = {found.p:.2g}"
    return f"{said}; what is lost is what the model knows of time"


def about_intervals(drawn: Resampling, *, there: bool) -> list[str]:
    """What was resampled for intervals, where there are any, and what their note says: a sentence each."""
    said = []
    if there and drawn.method == "bootstrap":
        said.append(
            f"The intervals hold {drawn.level:.0%} of {drawn.resamples:,} resamples of the "
            f"{count(drawn.units, drawn.unit.removesuffix('s'))} of the test set."
        )
    if drawn.note is not None:
        said.append(sentence(drawn.note))
    return said


def sentence(half: str) -> str:
    """A sentence made of what begins in lower case and has no full stop."""
    return f"{half[0].upper()}{half[1:]}."


def remarks(evaluation: Evaluation) -> list[str]:
    """What one should know before believing the answer, a sentence each."""
    metrics = evaluation.metrics
    said = [
        f"Guessing blindly would get {share(metrics.chance)} right, "
        f"and always naming the most frequent class {share(metrics.majority)}."
    ]
    said += about_intervals(metrics.interval, there=metrics.interval.accuracy is not None)
    if metrics.interval.unit == "clips":
        said.append(
            "No groups are known. If several clips show one person or come from one video, the interval is too narrow."
        )
    said += [_confidence(evaluation)] if metrics.failed < metrics.clips else []
    weakest = _weakest_class(metrics)
    return said if weakest is None else [*said, weakest]


def mistaken_for(metrics: Metrics, index: int) -> tuple[str, int] | None:
    """The class that a class is most often taken for, and how many clips; None where no clip is."""
    row = np.array(metrics.confusion[index][:-1])
    row[index] = 0
    other = int(row.argmax())
    return (metrics.labels[other], int(row[other])) if row[other] else None


def _confidence(evaluation: Evaluation) -> str:
    scored = [row for row in evaluation.rows if row.confidence is not None]
    said = sum(row.confidence or 0.0 for row in scored) / len(scored)
    right = sum(evaluation.predicted(row) == row.label for row in scored) / len(scored)
    verdict = "about as sure as it should be"
    if abs(said - right) > CLEAR_GAP:
        verdict = "surer than it should be" if said > right else "less sure than it could be"
    return (
        f"Its mean confidence is {confidence_text(said)} and {share(right)} of these clips are right: it is {verdict}."
    )


def _weakest_class(metrics: Metrics) -> str | None:
    found = [(row.f1, index) for index, row in enumerate(metrics.classes) if row.f1 is not None]
    f1, index = min(found)
    if f1 == 1.0:
        return None
    other = mistaken_for(metrics, index)
    taken = f", most often taken for “{other[0]}” ({count(other[1], 'clip')})" if other and other[1] > 1 else ""
    return f"The weakest class is “{metrics.labels[index]}” with an F1 of {share(f1)}{taken}."
