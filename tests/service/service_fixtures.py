"""A real server on loopback, in a thread or in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from marey.service import Layout, Settings, batching, find_models
from marey.service.jobs import Job, JobStore
from marey.service.server import Server, address_of, listen
from marey.service.service import Service
from marey.service.worker import JobWorker
from marey.video import probe
from waiting import PATIENCE, wait_until

LAYOUT = Layout(decoders=2, encoders=2, threads=1, batch=4, batch_wait=0.0)


@dataclass(frozen=True)
class Running:
    """A server that runs: its address, its service, and the folder of its jobs."""

    url: str
    service: Service
    jobs: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


class Serve(Protocol):
    """The call of the fixture `serve`."""

    def __call__(
        self, jobs: Path, *, layout: Layout = LAYOUT, models: list[Path] | None = None, **settings: Any
    ) -> AbstractContextManager[Running]: ...


@pytest.fixture(scope="session")
def serve(small_run: Path) -> Serve:
    """A function that runs a server in a thread for a while; further arguments are those of `Settings`."""

    @contextmanager
    def run(
        jobs: Path, *, layout: Layout = LAYOUT, models: list[Path] | None = None, **settings: Any
    ) -> Iterator[Running]:
        store = JobStore(jobs)
        found = find_models(models or [small_run])
        service = Service(found, device="cpu", settings=Settings(**settings), layout=layout, store=store)
        ready = threading.Event()
        server = Server(service, on_ready=ready.set)
        with listen("127.0.0.1", 0) as listener:
            url = address_of("127.0.0.1", listener)
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()
            try:
                assert ready.wait(PATIENCE)
                yield Running(url, service, jobs)
            finally:
                server.should_exit = True
                thread.join(PATIENCE)
                store.close()
        assert not thread.is_alive()
        assert service.failure is None

    return run


@pytest.fixture(scope="session")
def running(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for the tests that change none of its settings."""
    with serve(tmp_path_factory.mktemp("jobs")) as found:
        yield found


@pytest.fixture
def http(running: Running) -> Iterator[httpx.Client]:
    """A client of `running`."""
    with httpx.Client(base_url=running.url, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is decoded for predictions until this is set."""
    opened = threading.Event()
    look = probe

    def wait_and_look(*arguments: Any, **options: Any) -> Any:
        assert opened.wait(PATIENCE)
        return look(*arguments, **options)

    monkeypatch.setattr(batching, "probe", wait_and_look)
    return opened


@pytest.fixture
def job_gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Jobs stand still a part of their way until this is set, or until they are to end."""
    opened = threading.Event()
    report = JobWorker._report

    def report_and_wait(self: JobWorker, job: Job, done: float) -> None:
        report(self, job, done)
        wait_until(lambda: done == 0 or opened.is_set() or self._stopping or job.id in self._unwanted)
        report(self, job, done)

    monkeypatch.setattr(JobWorker, "_report", report_and_wait)
    return opened


@pytest.fixture(scope="session")
def clip(small_set: Path) -> Path:
    """One clip of the small set."""
    return small_set / "boxing" / "person01_boxing_d1_uncomp.mp4"


@pytest.fixture(scope="session")
def predict(clip: Path) -> Callable[..., httpx.Response]:
    """A function that uploads a clip to a server: predict(url, [content], **options of httpx.post)."""

    def ask(url: str, content: bytes | None = None, **options: Any) -> httpx.Response:
        data = clip.read_bytes() if content is None else content
        return httpx.post(f"{url}/predict", files={"file": ("clip.mp4", data)}, timeout=PATIENCE, **options)

    return ask


@dataclass(frozen=True)
class Program:
    """`marey serve` as a process: its address, and what it has written."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def wait_for(self, text: str) -> None:
        """Wait until it has written this, or ended."""
        wait_until(lambda: text in self.log.read_text(encoding="utf-8") or self.process.poll() is not None)
        written = self.log.read_text(encoding="utf-8")
        assert text in written, written


class StartProgram(Protocol):
    """The call of the fixture `start_program`."""

    def __call__(self, *arguments: str | Path) -> Program: ...


@pytest.fixture
def start_program(tmp_path: Path) -> Iterator[StartProgram]:
    """A function that starts `marey serve` on any free port, and waits until its models are loaded."""
    started: list[Program] = []

    def start(*arguments: str | Path) -> Program:
        log = tmp_path / f"server-{len(started)}.log"
        with log.open("w") as output:
            process = subprocess.Popen(  # noqa: S603 - the program under test
                [sys.executable, "-m", "marey", "serve", *map(str, arguments), "--port", "0"],
                stderr=output,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        program = Program(process, "", log)
        started.append(program)
        program.wait_for("ready")
        found = re.search(r"listening at (http://\S+),", log.read_text(encoding="utf-8"))
        assert found is not None
        started[-1] = Program(process, found[1], log)
        return started[-1]

    yield start
    for program in started:
        if program.process.poll() is None:
            program.process.kill()
        program.process.communicate()
