"""Tests that are skipped, and where that is a failure.

A test that needs an optional program, library or package is skipped with its reason where there is none. Where the
environment variable `MAREY_NO_SKIPS` is set, all of them are meant to be installed, and a skip is a failure: a test
that nobody runs would look like one that passes. What cannot be had everywhere stays a skip.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
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
    "this version of transformers",
)
"""Parts of reasons: hardware, other systems, other versions, and what Debian and PyPI do not have."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that was skipped without need."""
    report = yield
    _fail_if_needless(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that was skipped as a whole, likewise."""
    report = yield
    _fail_if_needless(report)
    return report


def _fail_if_needless(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or not os.environ.get("MAREY_NO_SKIPS"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = re.sub("^Skipped: ", "", reason)
    if not any(part in reason for part in ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"skipped, and MAREY_NO_SKIPS is set: {reason}"
