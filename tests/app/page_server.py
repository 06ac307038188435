"""The real page for the tests: its server in a process of its own, and headless Chromium to look at it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


def require_chromium() -> str:
    """Return where the browser is; the test is skipped where there is none, before it begins anything."""
    pytest.importorskip("playwright.sync_api", reason="the page is not tested: playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("the page is not tested: Chromium is not installed")
    return program


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser; the test is skipped where there is none."""
    program = require_chromium()
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(models: Path, data: Path) -> Iterator[str]:
    """The address of a page that shows these folders, as `marey app` serves it."""
    pytest.importorskip("streamlit", reason="the page is not tested: streamlit is not installed")
    command = [sys.executable, "-m", "marey", "app", str(models), "--data", str(data)]
    process = subprocess.Popen(  # noqa: S603 - ours
        [*command, "--port", "8700", "--browser", "none"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    try:
        yield address_of(process)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        if process.stderr is not None:
            process.stderr.close()


def address_of(process: subprocess.Popen[str]) -> str:
    """Where a page says that it is."""
    said = []
    for line in process.stderr or ():
        said.append(line)
        if "the page is at " in line:
            return line.split("the page is at ")[1].split()[0]
    raise AssertionError(f"the page did not come up: {''.join(said)}")


def open_page(browser: Browser, address: str, *, width: int = 1280, height: int = 1000) -> Page:
    """A page of its own, as somebody else would have it; the test fails where it asks anybody but our server."""
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(address)
    page.locator("h1").wait_for()
    return page
