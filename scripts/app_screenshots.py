"""Take screenshots of the app: python scripts/app_screenshots.py RUNS CLIP FOLDER [LONG_VIDEO].

RUNS is a folder of finished runs, CLIP a video of the demo to predict. Needs the extras `app` and `dev`, and Chromium.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
LAPTOP, TALL, PHONE = (1280, 1130), (1280, 1330), (390, 844)
SETTLED = 2500  # ms until videos play and charts are drawn


def main(runs: Path, clip: Path, folder: Path, long: Path | None = None) -> None:
    """Write app-dark.jpg, app-phone.jpg, app-runs.jpg, app-train.jpg, and app-timeline.jpg."""
    folder.mkdir(parents=True, exist_ok=True)
    with served(runs) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        for name, size, scheme in (
            ("app-dark", LAPTOP, "dark"),
            ("app-phone", PHONE, "light"),
        ):
            page = predict(browser, url, clip, size=size, scheme="dark" if scheme == "dark" else "light")
            if size == PHONE:
                page.locator(".marey-answer").scroll_into_view_if_needed()
                page.get_by_test_id("stVideo").evaluate("video => video.scrollIntoView({block: 'start'})")
            take(page, folder / f"{name}.jpg")
        page = open_page(browser, url, "runs", size=LAPTOP)
        mistakes = page.locator("button[aria-label*='predicted as']")
        page.locator("button[data-row]").first.wait_for()
        (mistakes if mistakes.count() else page.locator("button[data-row]")).first.click()
        page.get_by_test_id("stVideo").first.wait_for()
        take(page, folder / "app-runs.jpg")
        page = open_page(browser, url, "train", size=LAPTOP)
        page.get_by_role("tab", name="Folder on this machine").click()
        page.get_by_label("Path of a folder").fill(os.path.relpath(clip.parent.parent / "clips"))
        page.get_by_role("button", name="Open").click()
        page.get_by_role("button", name="Train", exact=True).wait_for()
        take(page, folder / "app-train.jpg")
        if long is not None:
            page = predict(browser, url, long, size=TALL, scheme="light")
            take(page, folder / "app-timeline.jpg")
        browser.close()


@contextmanager
def served(runs: Path) -> Iterator[str]:
    """Start the app on these runs; yields its URL."""
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "marey", "app", str(runs), "--data", data, "--browser", "none"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603 - ours
        try:
            lines = (line for line in process.stderr or () if "the page is at " in line)
            yield next(lines).split("the page is at ")[1].split()[0]
        finally:
            process.terminate()
            process.wait()


def open_page(
    browser: Browser,
    url: str,
    path: str = "",
    *,
    size: tuple[int, int],
    scheme: Literal["light", "dark"] = "light",
) -> Page:
    """Open the page in a window of that width and height."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1.5
    )
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{url}/{path}")
    page.locator("h1").wait_for()
    return page


def predict(browser: Browser, url: str, clip: Path, *, size: tuple[int, int], scheme: Literal["light", "dark"]) -> Page:
    """Open the page and upload a clip."""
    page = open_page(browser, url, size=size, scheme=scheme)
    page.locator("input[type=file]").first.set_input_files(str(clip))
    page.get_by_test_id("stVideo").wait_for()
    return page


def take(page: Page, path: Path) -> None:
    """Take a screenshot of a page, and close it."""
    page.wait_for_timeout(SETTLED)
    page.screenshot(path=path, type="jpeg", quality=85)
    page.context.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
