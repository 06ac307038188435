from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import MakeVideo
from marey.service.uploads import display_name
from waiting import PATIENCE, wait_until

pytest_plugins = ["service_fixtures"]

Ask = Callable[..., httpx.Response]

TOKEN = "sesame"  # noqa: S105
HEAD = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{further}\r\n"
FORM = "multipart/form-data; boundary=cut"
PART = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'


def status_of(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


@contextmanager
def connected(port: int, source: str = "") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0)) as opened:
        yield opened


def speak(port: int, *said: bytes, close_after: bool = False) -> bytes:
    """What the server answers to these bytes, until it closes or is silent."""
    with connected(port) as opened:
        for each in said:
            opened.sendall(each)
        if close_after:
            opened.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: opened.recv(65536), b""))


def check_problem(reply: httpx.Response, status: int, code: str) -> None:
    assert reply.headers["content-type"] == "application/problem+json", reply.text
    found = reply.json()
    assert (reply.status_code, found["status"], found["code"]) == (status, status, code)
    assert found["detail"]


def test_without_the_token_nothing_is_answered_but_health(serve: Any, tmp_path: Path, predict: Ask) -> None:
    with serve(tmp_path, token=TOKEN) as running:
        for shown in ({}, {"Authorization": "Bearer other"}, {"Authorization": f"Basic {TOKEN}"}):
            for path in ("/models", "/metrics", "/jobs/x", "/jobs/x/events"):
                reply = httpx.get(running.url + path, headers=shown)
                check_problem(reply, 401, "unauthorized")
                assert reply.headers["www-authenticate"] == "Bearer"
            check_problem(predict(running.url, headers=shown), 401, "unauthorized")
        assert httpx.get(f"{running.url}/health").json()["status"] == "ready"
        shown = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{running.url}/models", headers=shown).status_code == 200
        assert predict(running.url, headers=shown).status_code == 200


def test_a_file_that_is_too_large_is_refused_with_or_without_a_stated_length(serve: Any, tmp_path: Path) -> None:
    content = b"\x00" * 3 * 2**20
    with serve(tmp_path, max_upload=2**20) as running:
        url = f"{running.url}/predict"
        check_problem(httpx.post(url, files={"file": content}), 413, "too_large")
        pieces = (content[place : place + 2**16] for place in range(0, len(content), 2**16))
        raw = httpx.post(url, content=pieces, headers={"Content-Type": "video/mp4"})
        check_problem(raw, 413, "too_large")

        def chunked() -> Iterator[bytes]:
            yield PART
            yield content
            yield b"\r\n--cut--\r\n"

        check_problem(httpx.post(url, content=chunked(), headers={"Content-Type": FORM}), 413, "too_large")
        exact = httpx.post(url, content=b"\x00" * 2**20, headers={"Content-Type": "video/mp4"})
        check_problem(exact, 415, "not_video")
        assert not list((running.jobs / "uploads").iterdir())


def test_whoever_asks_before_sending_hears_that_it_is_too_large_at_once(serve: Any, tmp_path: Path) -> None:
    with serve(tmp_path, max_upload=2**20) as running:
        head = HEAD.format(kind="video/mp4", further="Content-Length: 99000000\r\nExpect: 100-continue\r\n")
        with connected(running.port) as opened:
            opened.sendall(head.encode())
            assert status_of(opened.recv(65536)) == 413  # and no 100 before it


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"these are words, and no video", 415, "not_video"),
        (b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 100, 422, "corrupt"),
    ],
)
def test_a_file_that_cannot_be_used_has_its_reason_code(
    running: Any, predict: Ask, content: bytes, status: int, code: str
) -> None:
    check_problem(predict(running.url, content), status, code)


def test_sound_without_a_picture_is_no_video(running: Any, predict: Ask, make_tone: Any, tmp_path: Path) -> None:
    check_problem(predict(running.url, make_tone(tmp_path / "a.wav").read_bytes()), 415, "no_video_stream")


def test_a_video_that_is_too_long_or_too_large_is_refused(serve: Any, tmp_path: Path, predict: Ask) -> None:
    with serve(tmp_path, max_duration=0.5) as running:
        reply = predict(running.url)
        check_problem(reply, 422, "too_large")
        assert "make it a job" in reply.json()["detail"]
    with serve(tmp_path, max_pixels=100 * 100) as running:
        check_problem(predict(running.url), 422, "too_large")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not limit the memory of a process")
def test_a_video_that_takes_too_much_memory_is_refused_and_others_are_answered(
    serve: Any, make_video: MakeVideo, tmp_path: Path, predict: Ask
) -> None:
    large = make_video(tmp_path / "a.mp4", seconds=0.2, size=(2160, 3840)).read_bytes()
    with serve(tmp_path / "jobs", max_memory=24 << 20) as running:
        refused = predict(running.url, large)
        check_problem(refused, 422, "too_large")
        assert "24 MB of memory" in refused.json()["detail"]
        assert predict(running.url).status_code == 200


def test_what_takes_too_long_ends_in_504(serve: Any, tmp_path: Path, predict: Ask, gate: threading.Event) -> None:
    with serve(tmp_path, timeout=0.2) as running:
        check_problem(predict(running.url), 504, "timeout")
        gate.set()


def test_when_all_places_are_taken_others_come_again_and_leaving_frees_one(
    serve: Any, tmp_path: Path, predict: Ask, clip: Path, gate: threading.Event
) -> None:
    content = clip.read_bytes()
    head = HEAD.format(kind="video/mp4", further=f"Content-Length: {len(content)}\r\n").encode()
    with serve(tmp_path, max_waiting=1) as running:
        with connected(running.port) as waiting:
            waiting.sendall(head + content)
            wait_until(lambda: running.service.waiting == 1)
            refused = predict(running.url)
            check_problem(refused, 429, "too_many")
            assert int(refused.headers["retry-after"]) >= 1
        wait_until(lambda: running.service.waiting == 0)
        gate.set()
        assert predict(running.url).status_code == 200


def test_slow_uploads_keep_nobody_out(serve: Any, tmp_path: Path, predict: Ask) -> None:
    head = HEAD.format(kind="video/mp4", further="Content-Length: 1000000\r\n").encode()
    jobs = head.replace(b"/predict", b"/jobs")
    with (
        serve(tmp_path, max_waiting=4, max_jobs=4, longest_pause=PATIENCE, upload_grace=PATIENCE) as running,
        ExitStack() as opened,
    ):
        slow = [opened.enter_context(connected(running.port)) for _ in range(64)]
        for number, each in enumerate(slow):
            each.sendall((jobs if number % 4 == 0 else head) + b"x")
        wait_until(lambda: running.service.uploading == 64)
        for _ in range(10):
            for each in slow:
                each.sendall(b"x" * 36)
            assert predict(running.url).status_code == 200
        assert httpx.post(f"{running.url}/jobs", files={"file": b"no video"}).status_code == 202
        assert (running.service.uploading, running.service.waiting) == (64, 0)
    assert not list((running.jobs / "uploads").iterdir())


@pytest.mark.long
def test_of_86_callers_64_slow_ones_keep_no_other_from_an_answer(serve: Any, tmp_path: Path, predict: Ask) -> None:
    head = HEAD.format(kind="video/mp4", further="Content-Length: 1000000\r\n").encode()
    ended = threading.Event()

    def trickle(opened: list[socket.socket]) -> None:
        while not ended.wait(0.1):  # 360 bytes a second each
            for each in opened:
                each.sendall(b"x" * 36)

    with serve(tmp_path, longest_pause=PATIENCE, upload_grace=PATIENCE) as running, ExitStack() as stack:
        slow = [stack.enter_context(connected(running.port)) for _ in range(64)]
        for each in slow:
            each.sendall(head)
        wait_until(lambda: running.service.uploading == 64)
        thread = threading.Thread(target=trickle, args=(slow,))
        thread.start()
        try:
            with ThreadPoolExecutor(22) as callers:
                found = list(callers.map(lambda _: predict(running.url).status_code, range(22 * 5)))
        finally:
            ended.set()
            thread.join()
    assert found == [200] * 110


def test_uploads_in_progress_are_limited(serve: Any, tmp_path: Path, predict: Ask) -> None:
    head = HEAD.format(kind="video/mp4", further="Content-Length: 1000\r\n").encode()
    with serve(tmp_path, max_uploads=2, longest_pause=PATIENCE, upload_grace=PATIENCE) as running:
        with connected(running.port) as first, connected(running.port) as second:
            for each in (first, second):
                each.sendall(head + b"half")
            wait_until(lambda: running.service.uploading == 2)
            refused = predict(running.url)
            check_problem(refused, 429, "too_many_uploads")
            assert int(refused.headers["retry-after"]) >= 1
        wait_until(lambda: running.service.uploading == 0)
        assert predict(running.url).status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux every address 127.x.y.z is this machine's own")
def test_the_connections_of_one_address_are_limited_and_others_are_answered(
    serve: Any, tmp_path: Path, predict: Ask
) -> None:
    with serve(tmp_path, max_connections=3) as running:
        with ExitStack() as opened:
            held = [opened.enter_context(connected(running.port, "127.0.0.2")) for _ in range(3)]
            for each in held:
                each.sendall(b"GET /models HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert status_of(each.recv(65536)) == 200
            refused = opened.enter_context(connected(running.port, "127.0.0.2"))
            reply = b"".join(iter(lambda: refused.recv(65536), b""))
            assert status_of(reply) == 429
            assert b"application/problem+json" in reply
            assert b"too_many_connections" in reply
            assert predict(running.url).status_code == 200
        transport = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=transport, base_url=running.url) as client:
            wait_until(lambda: client.get("/models").status_code == 200)


def test_whoever_leaves_while_the_clip_waits_frees_the_place(
    serve: Any, tmp_path: Path, clip: Path, gate: threading.Event
) -> None:
    content = clip.read_bytes()
    head = HEAD.format(kind="video/mp4", further=f"Content-Length: {len(content)}\r\n").encode()
    with serve(tmp_path) as running:
        with connected(running.port) as first, connected(running.port) as second, connected(running.port) as third:
            for caller in (first, second, third):
                caller.sendall(head + content)
            wait_until(lambda: running.service.waiting == 3 and running.service._engine.waiting == 1)
            # Two are being decoded, and one waits.
        wait_until(lambda: running.service.waiting == 0)
        assert not list((running.jobs / "uploads").iterdir())
        gate.set()
        assert httpx.post(f"{running.url}/predict", files={"file": content}).status_code == 200


def test_an_upload_that_trickles_is_given_up(serve: Any, tmp_path: Path) -> None:
    head = HEAD.format(kind=FORM, further="Content-Length: 1000000\r\n").encode()
    with serve(tmp_path, longest_pause=0.3) as running, connected(running.port) as opened:
        opened.sendall(head + PART)
        assert status_of(opened.recv(65536)) == 408
    with serve(tmp_path, upload_grace=0.5, slowest_upload=1e6) as running, connected(running.port) as opened:
        opened.sendall(head + PART)
        opened.settimeout(0.05)
        replies: list[bytes] = []

        def trickle() -> bool:
            opened.sendall(b"x")
            with suppress(TimeoutError):
                replies.append(opened.recv(65536))
            return bool(replies)

        wait_until(trickle)
        assert status_of(replies[0]) == 408
        assert not list((running.jobs / "uploads").iterdir())


def test_whoever_speaks_on_without_a_request_is_given_up(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unheard(seconds: float) -> None:
        monkeypatch.setattr("marey.service.server._UNHEARD", seconds)

    def trickle() -> bool:
        opened.sendall(b"x")
        return False

    with serve(tmp_path) as running:
        unheard(0.3)
        assert speak(running.port) == b""
        assert speak(running.port, b"GET /health HT") == b""
        unheard(PATIENCE)
        with connected(running.port) as opened:
            opened.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status_of(opened.recv(65536)) == 200
            unheard(0.3)
            opened.sendall(b"GET /heal")
            assert b"HTTP" not in opened.recv(65536)
        unheard(PATIENCE)
        with connected(running.port) as opened:
            opened.sendall(HEAD.format(kind="text/plain", further="Content-Length: 100000000\r\n").encode())
            assert status_of(opened.recv(65536)) == 415
            unheard(0.3)
            with pytest.raises(OSError, match=r"reset|pipe"):  # which of them is random
                wait_until(trickle)


def test_an_upload_that_is_cut_off_is_no_upload(running: Any) -> None:
    body = PART + b"x" * 100
    head = HEAD.format(kind=FORM, further=f"Content-Length: {len(body)}\r\nConnection: close\r\n").encode()
    reply = speak(running.port, head + body)
    assert status_of(reply) == 400
    assert b'"cut_off"' in reply


def test_a_length_that_is_not_the_bodys_is_no_harm(running: Any) -> None:
    body = PART + b"x" * 100 + b"\r\n--cut--\r\n"
    short = HEAD.format(kind=FORM, further="Content-Length: 10\r\n").encode()
    assert status_of(speak(running.port, short + body)) == 400
    wrong = HEAD.format(kind=FORM, further="Content-Length: ten\r\n").encode()
    assert status_of(speak(running.port, wrong + body)) == 400
    long = HEAD.format(kind=FORM, further="Content-Length: 100000\r\n").encode()
    speak(running.port, long + body, close_after=True)
    wait_until(lambda: running.service.waiting == 0)
    assert httpx.get(f"{running.url}/health").status_code == 200


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        (FORM, b"", 400, "empty"),
        (FORM, PART + b"\r\n--cut--\r\n", 400, "empty"),
        (FORM, b'--cut\r\nContent-Disposition: form-data; name="film"\r\n\r\nx\r\n--cut--\r\n', 400, "empty"),
        (FORM, b"no form at all", 400, "malformed"),
        (FORM, PART + b"x\r\n" + PART + b"y\r\n--cut--\r\n", 400, "two_files"),
        ("multipart/form-data", PART, 400, "malformed"),
        ("multipart/form-data; boundary=" + "b" * 500, PART, 400, "malformed"),
        ("video/mp4", b"", 400, "empty"),
        ("", b"x", 415, "media_type"),
        ("text/plain", b"x", 415, "media_type"),
        ("application/x-www-form-urlencoded", b"file=x", 415, "media_type"),
        ("application/json", b'{"url": "http://127.0.0.1/a.mp4"}', 403, "urls_refused"),
    ],
)
def test_a_body_with_no_video_in_it_is_refused(
    http: httpx.Client, kind: str, body: bytes, status: int, code: str
) -> None:
    check_problem(http.post("/predict", content=body, headers={"Content-Type": kind}), status, code)


def test_a_request_that_states_no_length_has_no_body(running: Any) -> None:
    head = HEAD.format(kind=FORM, further="Connection: close\r\n").encode()
    reply = speak(running.port, head + PART)
    assert status_of(reply) == 400
    assert b'"empty"' in reply


@pytest.mark.long
def test_a_form_of_ten_thousand_fields_is_refused(http: httpx.Client, clip: Path) -> None:
    fields = {f"field{number}": "x" for number in range(10_000)}
    check_problem(http.post("/predict", files={"file": clip.read_bytes()}, data=fields), 400, "too_many_parts")


def test_a_field_without_end_is_refused(serve: Any, tmp_path: Path) -> None:
    with serve(tmp_path, max_upload=2**20) as running:
        part = b'--cut\r\nContent-Disposition: form-data; name="note"\r\n\r\n'
        pieces = iter([part, *[b"x" * 2**16] * 64])
        reply = httpx.post(f"{running.url}/predict", content=pieces, headers={"Content-Type": FORM})
        check_problem(reply, 413, "too_large")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("clip.mp4", "clip.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\a.mp4", "a.mp4"),
        ("/", "upload"),
        ("", "upload"),
        ("a\x1b[31m\r\n\x00.mp4", "a[31m.mp4"),
        ("片.mp4", "片.mp4"),
        ("x" * 5000, "x" * 120),
    ],
)
def test_a_name_from_a_caller_is_shown_and_never_a_path(http: httpx.Client, given: str, shown: str, clip: Path) -> None:
    assert display_name(given) == shown
    quoted = given.replace("\x00", "").replace("\r\n", "").replace("\\", "\\\\").encode()
    part = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="' + quoted + b'"\r\n\r\n'
    body = part + clip.read_bytes() + b"\r\n--cut--\r\n"
    reply = http.post("/predict", content=body, headers={"Content-Type": FORM})
    if len(given) < 4000:
        assert reply.status_code == 200
        assert reply.json()["source"] == shown
    else:
        assert reply.status_code in (200, 400)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nothing", 404, "not_found"),
        ("/jobs/unknown", 404, "unknown_job"),
        ("/jobs/unknown/events", 404, "unknown_job"),
        ("/jobs/" + "x" * 100, 422, "invalid"),
        ("/predict", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_there_is_a_problem_as_well(http: httpx.Client, path: str, status: int, code: str) -> None:
    check_problem(http.get(path), status, code)


@pytest.mark.parametrize("query", ["top=0", "top=many", "top=100000"])
def test_a_value_that_cannot_be_meant_is_named(http: httpx.Client, query: str) -> None:
    reply = http.post(f"/predict?{query}", content=b"x")
    check_problem(reply, 422, "invalid")
    assert reply.json()["detail"].startswith("top: ")
