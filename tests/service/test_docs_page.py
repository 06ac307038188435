"""The page that describes the service is there without the internet."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

pytest_plugins = ["service_fixtures"]

REFERENCE = re.compile(r"""(?:src|href)\s*=\s*["']([^"']+)["']|url:\s*["']([^"']+)["']""")


def test_the_start_leads_to_the_page(running: Any) -> None:
    reply = httpx.get(running.url, follow_redirects=True)
    assert (reply.status_code, str(reply.url)) == (200, f"{running.url}/docs")
    assert reply.headers["content-type"].startswith("text/html")


def test_all_that_the_page_names_is_served_here(running: Any) -> None:
    page = httpx.get(f"{running.url}/docs").text
    script = httpx.get(f"{running.url}/static/docs.js").text
    named = {first or second for text in (page, script) for first, second in REFERENCE.findall(text)}
    assert {"static/swagger-ui.css", "static/swagger-ui-bundle.js", "static/mark.svg", "openapi.json"} <= named
    assert "//" not in "".join(named)
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "json": "application/json"}
    for name in named:
        reply = httpx.get(urljoin(f"{running.url}/docs", name))
        assert reply.status_code == 200, name
        assert reply.headers["content-type"].split(";")[0] == kinds[name.rpartition(".")[2]]
        assert len(reply.content) > 100


def test_a_browser_is_told_to_ask_nobody_else(running: Any) -> None:
    for path in ("/docs", "/static/docs.js", "/static/swagger-ui-bundle.js"):
        policy = httpx.get(running.url + path).headers["content-security-policy"]
        sources = {word for part in policy.split(";") for word in part.split()[1:]}
        assert "default-src 'none'" in policy
        assert sources <= {"'none'", "'self'", "'unsafe-inline'", "data:"}
        assert "script-src 'self';" in policy


@pytest.mark.parametrize("path", ["/redoc", "/static/docs.html", "/static/..%2fservice.py", "/static/x", "/docs/x"])
def test_there_is_no_other_page(running: Any, path: str) -> None:
    reply = httpx.get(running.url + path)
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert "/docs lists what there is" in reply.json()["detail"]


def test_the_licences_of_the_files_are_beside_them() -> None:
    static = resources.files("marey") / "service" / "static"
    notice = (static / "swagger-ui-NOTICE.txt").read_text(encoding="utf-8")
    assert "Apache License, Version 2.0" in notice
    assert "SmartBear Software" in notice
    bundle = (static / "swagger-ui-bundle.js").read_text(encoding="utf-8")
    assert "see swagger-ui-bundle.js.LICENSE.txt" in bundle[:200]
    assert (static / "swagger-ui-bundle.js.LICENSE.txt").is_file()
