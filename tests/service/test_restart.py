from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from marey.client import Client
from marey.errors import ServiceError
from marey.service.jobs import JobStore
from waiting import PATIENCE

pytest_plugins = ["service_fixtures"]


@pytest.mark.long
def test_after_a_kill_in_the_middle_every_accepted_job_ends(
    start_program: Any, small_run: Path, make_video: Any, tmp_path: Path
) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=40.0)
    jobs = tmp_path / "jobs"
    first = start_program(small_run, "--jobs", jobs)
    with Client(first.url) as client:
        accepted = [client.submit(video), client.submit(b"no video"), client.submit(video)]
        for job in client.events(accepted[0]):
            if job.progress > 0.1:
                break
    first.process.kill()
    first.process.wait()
    (jobs / "uploads" / "half").write_bytes(b"an upload that was on its way")
    second = start_program(small_run, "--jobs", jobs)
    with Client(second.url) as client:
        ended = [client.wait(job, timeout=PATIENCE) for job in accepted]
        assert [(job.state, job.code) for job in ended] == [("done", None), ("failed", "not_video"), ("done", None)]
        assert ended[0].segments == ended[2].segments
    assert not list((jobs / "uploads").iterdir())
    assert not list((jobs / "files").iterdir())


@pytest.mark.long
def test_ctrl_c_finishes_what_was_accepted_and_leaves_a_job_to_the_next_start(
    start_program: Any, small_run: Path, make_video: Any, clip: Path, tmp_path: Path
) -> None:
    jobs = tmp_path / "jobs"
    program = start_program(small_run, "--jobs", jobs)
    with Client(program.url) as client:
        client.predict(clip)
        job = client.submit(make_video(tmp_path / "a.mp4", seconds=40.0))
        listening = client.events(job)
        next(listening)
        with httpx.Client(base_url=program.url) as slow:
            program.process.send_signal(signal.SIGINT)
            assert program.process.wait(PATIENCE) == 0
            list(listening)  # the stream ends, and is not torn
            with pytest.raises(httpx.TransportError):
                slow.get("/health")
        with pytest.raises(ServiceError, match=r"unreachable: the service at .* does not answer"):
            client.models()
    store = JobStore(jobs)
    found = store.get(job.id)
    store.close()
    assert found is not None
    assert found.state in ("waiting", "done")  # for the next start; a fast machine may be through
    assert "requests in" in program.process.stdout.read()
    assert "Traceback" not in program.log.read_text(encoding="utf-8")
