"""The real app for tests: its server in a child process, and headless Chromium."""

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
    """Return the path of the browser; skip the test if there is none."""
    pytest.importorskip("playwright.sync_api", reason="the page is not tested: playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("the page is not tested: Chromium is not installed")
    return program


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a headless browser; skip the test if there is none."""
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
    """Start `marey app` on these folders; yields its URL."""
    pytest.importorskip("streamlit", reason="the page is not tested: streamlit is not installed")
    command = [sys.executable, "-m", "marey", "app", str(models), "--data", str(data)]
    process = subprocess.Popen(  # noqa: S603 - ours
        [*command, "--port", "8700", "--browser", "none"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    try:
        yield url_of(process)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        if process.stderr is not None:
            process.stderr.close()


def url_of(process: subprocess.Popen[str]) -> str:
    """Return the URL that the server prints."""
    lines = []
    for line in process.stderr or ():
        lines.append(line)
        if "the page is at " in line:
            return line.split("the page is at ")[1].split()[0]
    raise AssertionError(f"the page did not come up: {''.join(lines)}")


def open_page(browser: Browser, address: str, *, width: int = 1280, height: int = 1000) -> Page:
    """Open the page in a new browser context, as a new user."""
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(address)
    page.locator("h1").wait_for()
    return page
