"""Tests that are skipped, and where that is a failure.

A test that needs an optional program, library or package is skipped with its reason where there is none. Where the
environment variable `MAREY_NO_SKIPS` is set, all of them are meant to be installed, and a skip is a failure: a test
that nobody runs would look like one that passes. What cannot be had everywhere stays a skip. Where `MAREY_SKIPPED`
names a file, the names of skipped tests and modules are added to it, so that they can be run where all is installed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

ALLOWED: Final = (
    "no GPU here",
    "no camera at",
    "on Linux only",
    "this is Linux",
    "another C library",
    "unrar is not installed",  # it is not free
    "the same program under another name",
    "no mount namespace can be made",
    "no network namespace can be made",
    "this version of transformers",
    "no environment with Keras",  # it would need other versions of what marey has
)
"""Parts of reasons: hardware, other systems, other versions, and what Debian and PyPI do not have."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that was skipped without need."""
    report = yield
    _note(report)
    _fail_if_needless(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that was skipped as a whole, likewise."""
    report = yield
    _note(report)
    _fail_if_needless(report)
    return report


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    name = os.environ.get("MAREY_SKIPPED")
    if name and report.skipped:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(f"{report.nodeid}\n")


def _fail_if_needless(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or not os.environ.get("MAREY_NO_SKIPS"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = re.sub("^Skipped: ", "", reason)
    if not any(part in reason for part in ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"skipped, and MAREY_NO_SKIPS is set: {reason}"
