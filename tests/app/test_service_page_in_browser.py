"""The service's page in a real browser that reaches nothing but the service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_server import chromium, require_chromium

pytestmark = pytest.mark.long


@pytest.fixture
def address(small_run: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a service, as `marey serve` says it."""
    require_chromium()
    pytest.importorskip("fastapi", reason="the service is not tested: FastAPI is not installed")
    command = [sys.executable, "-m", "marey", "serve", str(small_run), "--port", "0", "--jobs", str(tmp_path / "jobs")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)  # noqa: S603 - ours
    assert process.stderr is not None
    with process.stderr:
        found = None
        for line in process.stderr:
            found = found or re.search(r"listening at (http://\S+),", line)
            if line.startswith("ready"):
                break
        assert found is not None
        try:
            yield found[1]
        finally:
            process.terminate()
            process.wait()


def test_the_page_shows_every_operation_and_runs_one_without_asking_anybody_else(address: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        strangers: list[str] = []
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))

        def only_the_service(url: str) -> bool:
            if url.startswith((f"{address}/", "data:", "blob:")):
                return False
            strangers.append(url)
            return True

        page.route(only_the_service, lambda route: route.abort())
        page.goto(f"{address}/")
        page.get_by_text("/jobs/{id}/events").wait_for()
        assert page.url == f"{address}/docs"
        assert page.locator(".opblock").count() == 8
        page.locator("#operations-service-health_health_get").get_by_role("button").first.click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        page.locator(".live-responses-table .response .microlight").get_by_text("ready").wait_for()
        assert strangers == []
        assert complaints == []
