from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from marey.reports.style import PAPER, class_colours, clock_text, contrast, ink_on


@pytest.mark.parametrize(
    ("seconds", "digits", "text"),
    [
        (0.0, 1, "0:00.0"),
        (4.24, 1, "0:04.2"),
        (59.96, 1, "1:00.0"),
        (59.96, 0, "1:00"),
        (3599.99, 1, "1:00:00.0"),
        (3723.4, 1, "1:02:03.4"),
        (360_000.0, 0, "100:00:00"),
        (-0.01, 1, "0:00.0"),
        (1.2345, 3, "0:01.234"),
    ],
)
def test_a_time_is_a_clock_time(seconds: float, digits: int, text: str) -> None:
    assert clock_text(seconds, digits=digits) == text


def test_the_colour_of_a_class_does_not_depend_on_later_classes() -> None:
    colours = class_colours(21)
    assert len(set(colours)) == 21
    assert class_colours(3) == colours[:3]
    assert len(class_colours(101)) == 101
    for one, other in combinations(colours, 2):
        assert np.abs(np.subtract(to_rgb(one), to_rgb(other))).max() > 0.05
    assert PAPER not in colours


def test_text_is_legible_on_every_colour() -> None:
    assert all(contrast(colour, ink_on(colour)) >= 4.5 for colour in class_colours(21))
    assert contrast("#ffffff", "#000000") == pytest.approx(21)


# Machado, Oliveira and Fernandes, A Physiologically-based Model for Simulation of Color Vision Deficiency, 2009
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]


@pytest.mark.parametrize("eye", [DEUTERANOPIA, PROTANOPIA])
def test_the_first_seven_colours_differ_for_colour_blind_eyes(eye: list[list[float]]) -> None:
    seen = [np.clip(np.array(eye) @ np.square(to_rgb(colour)), 0, 1) ** 0.5 for colour in class_colours(7)]
    assert min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2)) > 0.12
