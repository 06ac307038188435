from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from marey.client import Client
from marey.errors import ServiceError, VideoError

ANSWER = {
    "source": "a.mp4",
    "model": "first",
    "label": "walking",
    "confidence": 0.75,
    "top": [{"label": "walking", "probability": 0.75}, {"label": "boxing", "probability": 0.25}],
}


@contextmanager
def service(*replies: tuple[int, dict[str, str], bytes]) -> Iterator[tuple[str, list[tuple[str, Any, bytes]]]]:
    """A web server that gives these replies, one after another, and notes what it was asked."""
    left, asked = list(replies), []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((f"{self.command} {self.path}", self.headers, body))
            status, headers, content = left.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - as http.server calls them

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(body: Any, status: int = 200, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, headers, json.dumps(body).encode()


BUSY = reply({"code": "too_many", "detail": "64 wait"}, 429, **{"Retry-After": "1"})


def test_a_prediction_is_asked_for_and_read(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    none = {**ANSWER, "label": None}
    replies = [reply(ANSWER), reply(ANSWER), reply(none), reply(none)]
    with service(*replies) as (url, asked), Client(url, token="sesame") as client:  # noqa: S106
        answer = client.predict(tmp_path / "a.mp4", model="first", top=2)
        assert (answer.label, answer.confidence) == ("walking", 0.75)
        assert [(label, probability) for label, probability in answer.top] == [("walking", 0.75), ("boxing", 0.25)]
        assert client.predict(b"video") == answer
        below = client.predict(b"video", threshold=0.8)
        assert (below.label, below.confidence) == (None, 0.75)
        assert client.predict_url("https://example.org/a.mp4", threshold=0.8) == below
    line, headers, body = asked[0]
    assert line == "POST /predict?model=first&top=2"
    assert headers["Authorization"] == "Bearer sesame"
    assert b'name="file"; filename="a.mp4"' in body
    assert b"video" in body
    assert asked[1][0] == "POST /predict?top=3"
    assert asked[2][0] == asked[3][0] == "POST /predict?top=3&threshold=0.8"


def test_the_token_of_the_environment_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAREY_TOKEN", "from-there")
    with service(reply([])) as (url, asked), Client(url) as client:
        assert client.models() == ()
    assert asked[0][1]["Authorization"] == "Bearer from-there"


def test_whoever_is_told_to_come_again_does_with_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    with service(BUSY, reply(ANSWER)) as (url, asked), Client(url) as client:
        assert client.predict(tmp_path / "a.mp4").label == "walking"
    assert len(asked) == 2
    assert asked[0][2].count(b"\r\nvideo\r\n") == asked[1][2].count(b"\r\nvideo\r\n") == 1


def test_patience_has_an_end() -> None:
    with service(BUSY) as (url, _), Client(url, patience=0.5) as client:
        with pytest.raises(ServiceError, match="too_many: 64 wait") as raised:
            client.predict(b"video")
        assert (raised.value.status, raised.value.code, raised.value.exit_code) == (429, "too_many", 3)


def test_an_answer_of_something_else_is_an_error_too() -> None:
    gateway = service((502, {}, b"<h1>Bad gateway</h1>"))
    with gateway as (url, _), Client(url) as client, pytest.raises(ServiceError, match="answers 502: <h1>Bad gateway"):
        client.models()


def test_a_file_that_is_not_there_is_named() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(VideoError, match=r"nowhere\.mp4: missing"):
        client.predict("nowhere.mp4")


def test_waiting_has_an_end_and_outlives_a_restart() -> None:
    job = {"id": "j", "state": "running", "progress": 0.5, "source": "a", "model": "m", "result": None}
    job |= {"created": "2026-03-01T10:00:00Z", "ended": None}
    job |= {"code": None, "detail": None}
    done = {**job, "state": "done", "progress": 1.0, "ended": "2026-03-01T10:01:00Z"}
    done["result"] = {"duration": 3.0, "window": 2.0, "segments": []}
    with service(reply(job), reply(job), reply(done)) as (url, asked), Client(url) as client:
        with pytest.raises(TimeoutError, match=r"job j has not ended within 0\.01 s"):
            client.wait("j", timeout=0.01)
        found = client.wait("j")
        assert (found.state, found.duration, found.segments, bool(found.ended)) == ("done", 3.0, (), True)
        assert {line for line, *_ in asked} == {"GET /jobs/j"}
    with Client(url, patience=0.3) as client, pytest.raises(ServiceError, match="unreachable"):
        client.wait("j")


def test_the_client_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'av', 'numpy', 'fastapi'}"
    code = f"import sys, marey.client; print({heavy} & sys.modules.keys() or 'none')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "none"
