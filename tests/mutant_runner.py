"""Read mutants in every way and report what happened: `python mutant_runner.py MODEL FOLDER FIRST LAST`.

Each line of the output is one mutant as JSON. The program ends at once where a file takes longer than it may.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

os.environ["OMP_NUM_THREADS"] = "1"

import httpx

from marey.errors import MareyError, VideoError
from marey.prediction import Predictor
from marey.reports import annotate_video, caption_of_clip
from marey.service import Layout, Settings, find_models
from marey.service.jobs import JobStore
from marey.service.server import Server, address_of, listen
from marey.service.service import Service
from marey.video import Sampling, decode, probe
from mutants import mutant

LONGEST: Final = 20.0
"""Seconds that one way of reading a file may take."""
MOST: Final = 2 << 30
"""Bytes that the process may take; the system refuses more than this and what it takes before."""
_STATUS: Final = Path("/proc/self/status")

Way = Callable[[Path], str]


def ways(model: Path, folder: Path, url: str) -> dict[str, Way]:
    """Return the ways of reading a file: functions that return "ok", or raise."""
    predictor = Predictor(model)

    def predict(path: Path) -> str:
        return predictor.predict(str(path))[0].reason or "ok"

    def keyframes(path: Path) -> str:
        times = Sampling(count=8).timestamps(0, probe(path).duration)
        decode(path, times, size=(64, 64), frames="keyframes")
        return "ok"

    def timeline(path: Path) -> str:
        predictor.timeline(path)
        return "ok"

    def annotate(path: Path) -> str:
        caption = caption_of_clip([("walking", 0.9)], probe(path).duration, label="walking")
        try:
            annotate_video(path, folder / "annotated.mp4", caption)
        finally:
            (folder / "annotated.mp4").unlink(missing_ok=True)
        return "ok"

    def service(path: Path) -> str:
        reply = httpx.post(
            f"{url}/predict",
            content=path.read_bytes(),
            headers={"Content-Type": "video/mp4"},
            timeout=LONGEST,
        )
        code = "ok" if reply.status_code == 200 else str(reply.json()["code"])
        if reply.status_code >= 500 and reply.status_code != 504:
            raise RuntimeError(f"the service answers {reply.status_code} {reply.text}")
        return code

    return {"predict": predict, "keyframes": keyframes, "timeline": timeline, "annotate": annotate, "service": service}


@contextmanager
def serving(model: Path, folder: Path) -> Iterator[str]:
    """Run a service, and give its URL."""
    store = JobStore(folder / "jobs")
    layout = Layout(decoders=1, encoders=1, threads=1, batch=1, batch_wait=0.0)
    service = Service(
        find_models([model]), device="cpu", settings=Settings(timeout=LONGEST), layout=layout, store=store
    )
    ready = threading.Event()
    server = Server(service, on_ready=ready.set)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        ready.wait()
        yield address_of("127.0.0.1", listener)
        server.should_exit = True
        thread.join()
    store.close()


def peak() -> int:
    """Return the most bytes of memory since the last call; where the system does not tell, of all time."""
    if not _STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = 1024 * int(_STATUS.read_text().partition("VmHWM:")[2].split()[0])
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return found


def outcome(way: Way, path: Path) -> dict[str, Any]:
    """Read a file in one way."""
    peak()
    faulthandler.dump_traceback_later(LONGEST, exit=True)
    began = time.monotonic()
    found: dict[str, Any] = {}
    try:
        found["code"] = way(path)
    except VideoError as error:
        found["code"] = error.reason
        found["detail"] = error.detail
    except MareyError as error:
        found["code"] = type(error).__name__
        found["detail"] = str(error)
    except Exception:  # what is searched for
        found["traceback"] = traceback.format_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()
    return found | {"seconds": round(time.monotonic() - began, 3), "bytes": peak()}


def main(model: Path, folder: Path, first: int, last: int) -> None:
    """Read the mutants from `first` to before `last` of the seeds in `folder`/seeds."""
    seeds = sorted((folder / "seeds").iterdir())
    contents = [seed.read_bytes() for seed in seeds]
    with serving(model, folder) as url:
        reading = ways(model, folder, url)
        if _STATUS.exists():
            taken = 1024 * int(_STATUS.read_text().partition("VmSize:")[2].split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (taken + MOST, resource.getrlimit(resource.RLIMIT_AS)[1]))
        for number in range(first, last):
            path = folder / f"mutant{seeds[number % len(seeds)].suffix}"
            path.write_bytes(mutant(contents, number))
            print(json.dumps({"begins": number}), flush=True)
            found = {name: outcome(way, path) for name, way in reading.items()}
            print(json.dumps({"number": number, "ways": found}), flush=True)
            path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
