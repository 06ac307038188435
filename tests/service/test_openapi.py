from __future__ import annotations

import random
from typing import Any

import httpx
import pytest

from waiting import PATIENCE

pytest_plugins = ["service_fixtures"]

OPERATIONS = {
    ("/predict", "post"),
    ("/models", "get"),
    ("/health", "get"),
    ("/metrics", "get"),
    ("/jobs", "post"),
    ("/jobs/{id}", "get"),
    ("/jobs/{id}", "delete"),
    ("/jobs/{id}/events", "get"),
}


@pytest.fixture(scope="module")
def page(running: Any) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{running.url}/openapi.json").json()
    return found


def operations(page: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(path, method): each for path, methods in page["paths"].items() for method, each in methods.items()}


def test_every_operation_is_described(page: dict[str, Any], running: Any) -> None:
    found = operations(page)
    assert found.keys() == OPERATIONS
    assert all(each["description"] for each in found.values())
    assert httpx.get(f"{running.url}/docs").status_code == 200


def test_every_reference_leads_somewhere_and_every_answer_has_an_example(page: dict[str, Any]) -> None:
    schemas = page["components"]["schemas"]

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [each for value in node.values() for each in references(value)]
        return [each for value in node for each in references(value)] if isinstance(node, list) else []

    assert {each.rpartition("/")[2] for each in references(page)} <= schemas.keys()
    for name in ("Answer", "JobAnswer", "ModelAnswer", "HealthAnswer", "ProblemAnswer"):
        assert "example" in schemas[name]
        assert set(schemas[name]["example"]) <= set(schemas[name]["properties"])
    assert "HTTPValidationError" not in schemas  # nothing answers so here


def test_failures_are_described_as_problems(page: dict[str, Any]) -> None:
    replies = operations(page)["/predict", "post"]["responses"]
    assert replies.keys() == {
        str(status) for status in (200, 400, 401, 403, 404, 408, 413, 415, 422, 429, 503, 504, 507)
    }
    assert "application/problem+json" in replies["429"]["content"]
    body = operations(page)["/predict", "post"]["requestBody"]["content"]
    assert body.keys() == {"multipart/form-data", "video/*", "application/json"}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2, 3))])
def test_whatever_is_sent_the_answer_is_one_that_is_described(
    page: dict[str, Any], running: Any, clip: Any, seed: int
) -> None:
    """A small fuzz: random methods, headers, bodies and values, of which none may end in a fault."""
    chance = random.Random(seed)  # noqa: S311
    video = clip.read_bytes()
    kinds = [
        "multipart/form-data; boundary=x",
        "video/mp4",
        "application/json",
        "text/plain",
        "",
        "\xe9;=;",
        "video/" * 9,
    ]
    pieces = [
        b"--x\r\n",
        b"--x--\r\n",
        b"\r\n",
        b"\r\n\r\n",
        video,
        video[:500],
        b"{}",
        b"\xff\x00",
        b'{"url": "http://a"}',
    ]
    pieces += [b'Content-Disposition: form-data; name="file"; filename="a"\r\n', b"Content-Disposition: " + b"n" * 9000]
    ids = ["x", "%00", "..%2f..%2fetc%2fpasswd", "0" * 32, "'; DROP TABLE jobs; --", "\U0001f3ac"]
    described = operations(page)
    with httpx.Client(base_url=running.url, timeout=PATIENCE) as client:
        for _ in range(40):
            path, method = chance.choice(sorted(OPERATIONS))
            shown = chance.choice([b"", "Bearer é".encode()])
            headers = {b"Content-Type": chance.choice(kinds).encode("latin-1"), b"Authorization": shown}
            body = b"".join(chance.choices(pieces, k=chance.randrange(6)))
            query = chance.choice(
                ["", "?model=%00", "?model=small", "?top=1e9", "?top=-1", "?model=&model=b", "?%ff=%fe"]
            )
            reply = client.request(
                method, path.replace("{id}", chance.choice(ids)) + query, headers=headers, content=body
            )
            allowed = described[path, method]["responses"].keys() | {"404"}  # an id with a slash is another path
            assert str(reply.status_code) in allowed, (method, reply.url, headers, body[:300], reply.text)
            assert reply.status_code != 500
    assert httpx.get(f"{running.url}/health").json()["waiting"] == 0
