"""Waiting for events, and clocks that tests turn by hand: no test depends on the speed of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import pytest

PATIENCE: Final = 300.0
"""Seconds after which something that is waited for will not come: more than the slowest machine takes."""


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what will come to hold, however slow the machine is.

    Raises:
        AssertionError: it does not come.
    """
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Clock:
    """Stands in for the module `time` in modules of marey that look at the clock.

    Attributes:
        now: seconds.
        step: seconds by which it goes on each time that somebody looks at it.
        looks: how often that was.
    """

    def __init__(self, *modules: str, patch: pytest.MonkeyPatch) -> None:
        self.now = 10_000.0
        self.step = 0.0
        self.looks = 0
        for module in modules:
            patch.setattr(f"{module}.time", self)

    def monotonic(self) -> float:
        """The time, as of `time.monotonic`."""
        self.looks += 1
        self.now += self.step
        return self.now

    time = monotonic
