from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from marey.service.guard import is_loopback

pytest_plugins = ["service_fixtures"]

TOKEN = "s3cret-and-long"  # noqa: S105


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "foreign_host"),
        ({"Host": "evil.example:8000"}, "foreign_host"),
        ({"Host": "127.0.0.1.evil.example"}, "foreign_host"),
        ({"Host": "[::1"}, "foreign_host"),
        ({"Origin": "https://evil.example"}, "foreign_origin"),
        ({"Origin": "null"}, "foreign_origin"),
        ({"Origin": "http://127.0.0.1:1"}, "foreign_origin"),
    ],
)
def test_pages_of_others_do_not_reach_a_service_of_this_machine(
    running: Any, headers: dict[str, str], code: str
) -> None:
    for method, path in (("GET", "/models"), ("POST", "/predict"), ("DELETE", "/jobs/a"), ("GET", "/docs")):
        reply = httpx.request(method, running.url + path, headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (403, code)
        assert reply.headers["content-type"] == "application/problem+json"


def test_programs_and_pages_of_this_machine_reach_it(running: Any) -> None:
    for headers in ({"Host": "localhost"}, {"Host": f"[::1]:{running.port}"}, {"Origin": running.url}, {}):
        assert httpx.get(f"{running.url}/models", headers=headers).status_code == 200


def test_with_a_token_the_page_is_shown_to_who_has_it(serve: Any, tmp_path: Path) -> None:
    with serve(tmp_path, token=TOKEN) as running:
        for path in ("/docs", "/openapi.json"):
            for auth in (None, ("anyone", "other")):
                reply = httpx.get(running.url + path, auth=auth)
                assert reply.status_code == 401
                assert reply.headers["www-authenticate"].startswith("Basic ")
            assert httpx.get(running.url + path, auth=("anyone", TOKEN)).status_code == 200
            assert httpx.get(running.url + path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
            assert httpx.get(running.url + path, headers={"Authorization": "Basic %%%"}).status_code == 401
        shown = {"Authorization": f"Bearer {TOKEN}", "Host": "marey.example", "Origin": "https://marey.example"}
        assert httpx.get(f"{running.url}/models", headers=shown).status_code == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("", False)],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected
