"""Texts around the numbers: the result in a sentence, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from marey.evaluation import Bootstrap, Evaluation, Metrics, OrderEffect

CLEAR_GAP = 0.05  # of mean confidence from accuracy, that is worth a remark


def confidence_text(probability: float) -> str:
    """Return a probability as "0.94", and never as certain: ">0.99", "<0.01".

    Files for programs keep the number itself.
    """
    if probability >= 0.995:
        return ">0.99"
    if probability < 0.005:
        return "<0.01"
    return f"{probability:.2f}"


def percent_text(probability: float) -> str:
    """Return a probability in percent, and never as certain: "94 %", ">99 %", "<1 %"."""
    sign, digits = "", confidence_text(probability)
    if digits[0] in "<>":
        sign, digits = digits[0], digits[1:]
    return f"{sign}{100 * float(digits):.0f} %"


def share(value: float | None, digits: int = 2) -> str:
    """Return a share as text that is never rounded to 0 or 1; "–" for None."""
    if value is None:
        return "–"
    value += 0.0  # no minus zero
    text = f"{value:.{digits}f}"
    while digits < 6 and float(text) in (0.0, 1.0) and value not in (0.0, 1.0):
        digits += 1
        text = f"{value:.{digits}f}"
    return text


def count(number: int, noun: str) -> str:
    """Return a number with its noun: "1 clip", "2 clips"."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def span(ends: tuple[float, float] | None, digits: int = 2) -> str:
    """Return an interval as text; empty for None."""
    return "" if ends is None else f"[{share(ends[0], digits)}, {share(ends[1], digits)}]"


def answer(metrics: Metrics) -> str:
    """Return the result in one sentence.

    For example "56 of 60 clips correct (0.93, 0.87 to 0.98), leave one group out, 10 folds", or, if all clips are
    correct, "6 of 6 clips correct (at least 0.54 with 95 %), 1 split; no groups known: this may be too high".
    """
    text = ", ".join(part for part in (correct_clips(metrics), metrics.protocol) if part)
    doubt = "; no groups known: this may be too high" if metrics.interval.unit == "clips" else ""
    return f"{text}{doubt}"


def correct_clips(metrics: Metrics) -> str:
    """Return the number of correct clips and its interval: "56 of 60 clips correct (0.93, 0.87 to 0.98)"."""
    number = round(metrics.accuracy * metrics.clips)
    text = f"{number:,} of {count(metrics.clips, 'clip')} correct"
    ends, level = metrics.interval.accuracy, f"{100 * metrics.interval.level:.0f} %"
    if ends is None:
        return f"{text} ({share(metrics.accuracy)})"
    if metrics.interval.method == "exact":
        at = f"at least {share(ends[0])}" if number else f"at most {share(ends[1])}"
        return f"{text} ({at} with {level})"
    return f"{text} ({share(metrics.accuracy)}, {share(ends[0])} to {share(ends[1])})"


def frame_order(effect: OrderEffect) -> str:
    """Return the effect of another order of the frames.

    For example "frames in their order 0.93, shuffled 0.61: -0.32 [-0.43, -0.21], p = 0.002; the drop shows how much the
    model uses temporal order".
    """
    found = effect.difference
    text = f"frames in their order {share(effect.given.accuracy)}, {effect.order} {share(effect.changed.accuracy)}"
    if found.accuracy is not None:
        text += f": {0.0 - found.accuracy:+.2f}"
    if found.interval is not None:
        low, high = found.interval
        text += f" [{0.0 - high:+.2f}, {0.0 - low:+.2f}]"
    if found.p is not None:
        text += f", p = {found.p:.2g}"
    return f"{text}; the drop shows how much the model uses temporal order"


def settings(values: Mapping[str, float | None]) -> str:
    """Return the settings that are not None: "threshold 0.5, smooth 2"."""
    return ", ".join(f"{name} {value:g}" for name, value in values.items() if value is not None)


def about_intervals(drawn: Bootstrap, *, there: bool) -> list[str]:
    """Return sentences on how the intervals were made, and their note."""
    remarks = []
    if there and drawn.method == "bootstrap":
        remarks.append(
            f"The intervals contain {drawn.level:.0%} of {drawn.resamples:,} resamples of the "
            f"{count(drawn.units, drawn.unit.removesuffix('s'))} of the test set."
        )
    if drawn.note is not None:
        remarks.append(sentence(drawn.note))
    return remarks


def sentence(half: str) -> str:
    """Return a sentence from a text that begins in lower case and has no full stop."""
    return f"{half[0].upper()}{half[1:]}."


def remarks(evaluation: Evaluation) -> list[str]:
    """Return sentences that a reader should know before trusting the result."""
    metrics = evaluation.metrics
    text = [
        f"Chance level is {share(metrics.chance_level)}; "
        f"always predicting the most frequent class has an accuracy of {share(metrics.majority_baseline)}."
    ]
    text += about_intervals(metrics.interval, there=metrics.interval.accuracy is not None)
    if metrics.interval.unit == "clips":
        text.append(
            "No groups are known. If several clips show one person or come from one video, the interval is too narrow."
        )
    text += [_confidence(evaluation)] if metrics.failed < metrics.clips else []
    weakest = _weakest_class(metrics)
    return text if weakest is None else [*text, weakest]


def mistaken_for(metrics: Metrics, index: int) -> tuple[str, int] | None:
    """Return the class that a class is most often predicted as, with the number of clips; None if all are correct."""
    row = np.array(metrics.confusion[index][:-1])
    row[index] = 0
    other = int(row.argmax())
    return (metrics.labels[other], int(row[other])) if row[other] else None


def _confidence(evaluation: Evaluation) -> str:
    scored = [row for row in evaluation.rows if row.confidence is not None]
    confidence = sum(row.confidence or 0.0 for row in scored) / len(scored)
    accuracy = sum(evaluation.predicted(row) == row.label for row in scored) / len(scored)
    verdict = "well calibrated on average"
    if abs(confidence - accuracy) > CLEAR_GAP:
        verdict = "overconfident" if confidence > accuracy else "underconfident"
    return f"Mean confidence is {confidence_text(confidence)} and accuracy {share(accuracy)}: the model is {verdict}."


def _weakest_class(metrics: Metrics) -> str | None:
    found = [(row.f1, index) for index, row in enumerate(metrics.classes) if row.f1 is not None]
    f1, index = min(found)
    if f1 == 1.0:
        return None
    other = mistaken_for(metrics, index)
    taken = f", most often predicted as “{other[0]}” ({count(other[1], 'clip')})" if other and other[1] > 1 else ""
    return f"The weakest class is “{metrics.labels[index]}” with an F1 of {share(f1)}{taken}."
