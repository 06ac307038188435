"""Texts around the numbers: the result in a sentence, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from marey.evaluation import Bootstrap, Evaluation, Metrics, OrderEffect, SeedAnswers

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


def confidence_texts(probabilities: Sequence[float], *, threshold: float = 0.0) -> list[str]:
    """Return probabilities as text; where two digits do not show what decided, in percent with as many as do.

    The most probable class is decided by the second one and by the threshold: 0.434 and 0.431 are "43.4 %" and
    "43.1 %", and 0.597 below a threshold of 0.6 is "59.7 %".

    Args:
        probabilities: of the classes, most probable first.
        threshold: below it the answer is none of the classes.
    """
    texts = [confidence_text(value) for value in probabilities]
    rivals = [*probabilities[1:2], *([threshold] if threshold else [])]
    decisive = [value for value in rivals if probabilities and value != probabilities[0]]
    for digits in range(1, 5):
        if all(_differ(texts[0], probabilities[0], value, digits - 1) for value in decisive):
            break
        texts = [
            text if text[0] in "<>" else f"{100 * value:.{digits}f} %"
            for text, value in zip(map(confidence_text, probabilities), probabilities, strict=True)
        ]
    return texts


def _differ(text: str, one: float, other: float, digits: int) -> bool:
    """Return whether two probabilities look different with so many digits of percent."""
    return text[0] in "<>" or f"{100 * one:.{digits}f}" != f"{100 * other:.{digits}f}"


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


def signed(value: float) -> str:
    """Return a contribution with its sign: "+1.50", "-0.31"; small ones with two digits, "+0.0038"."""
    return f"{value:+.2f}" if abs(value) >= 0.095 or value == 0 else f"{value:+.2g}"


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


def settings(values: Mapping[str, float | str | None]) -> str:
    """Return the settings that are not None: "threshold 0.5, smooth 2, unknown mark"."""
    written = {
        name: value if isinstance(value, str) else f"{value:g}" for name, value in values.items() if value is not None
    }
    return ", ".join(f"{name} {value}" for name, value in written.items())


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


def about_seeds(metrics: Metrics) -> list[str]:
    """Return sentences on the seeds of the training: what each gives alone, and whether the interval holds them."""
    resampled = metrics.interval.seeds
    fixed = "The seed of the training is kept: the interval does not hold how much another would change the numbers."
    there = metrics.interval.accuracy is not None
    if metrics.seeds is None:
        return [fixed] if resampled == 1 and there else []
    text = [f"The model is the average of {len(metrics.seeds.accuracy)} seeds: {seeds_alone(metrics.seeds)}."]
    held = "The interval resamples the seeds with the test set." if resampled != 1 else fixed
    return [*text, held] if there else text


def seeds_alone(seeds: SeedAnswers) -> str:
    """Return the accuracy of each seed by itself: "alone from 0.71 to 0.80, standard deviation 0.031"."""
    low, high = min(seeds.accuracy), max(seeds.accuracy)
    return f"alone from {share(low, 3)} to {share(high, 3)}, standard deviation {share(seeds.spread, 3)}"


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
    ends = metrics.interval.accuracy
    if metrics.accuracy <= metrics.majority_baseline or (ends is not None and ends[0] <= metrics.majority_baseline):
        text.append("That is no better than always predicting the most frequent class, as far as these clips can tell.")
    text += about_intervals(metrics.interval, there=metrics.interval.accuracy is not None)
    text += about_seeds(metrics)
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
