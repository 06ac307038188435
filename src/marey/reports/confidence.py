"""Probabilities as people read them: two digits, and never certain."""

from __future__ import annotations


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
