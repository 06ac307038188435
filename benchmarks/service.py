"""The service: many callers beside one, what it loses, what it holds, and what a kill costs.

`python benchmarks/service.py --seconds 10` compares ways to lay the work over the processor, in a few minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Final

from marey.client import Client
from marey.cores import usable_cores
from marey.errors import ServiceError
from measure import Line, Setting
from samples import film, find_clips

RATIOS: Final = ("service_throughput", "service_lost", "service_memory", "service_jobs_lost")
_CALLERS: Final = 32
_ALONE: Final = 60.0  # s
_TOGETHER: Final = 120.0  # s
_CLIPS: Final = 24  # different ones
_RATIO: Final = 1.5
_GROWTH: Final = 1.05  # of memory, from the first quarter of the load to its end
_JOBS: Final = 6
_PATIENCE: Final = 300.0  # s: a caller who is told to come again is not lost


@dataclass(frozen=True, slots=True)
class Load:
    """What callers have seen.

    Attributes:
        seconds: from the first request to the last answer.
        latencies: seconds, one an answer.
        lost: requests without an answer.
        memory: bytes of the server, a few times a second.
    """

    seconds: float
    latencies: tuple[float, ...]
    lost: int
    memory: tuple[int, ...]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def latency(self, percent: int) -> float:
        """Return the latency in seconds that so many percent of answers stay below."""
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[percent - 1]

    @property
    def growth(self) -> float:
        """Memory at the end over memory after a quarter: medians of the last and of the second eighth."""
        eighth = max(1, len(self.memory) // 8)
        return statistics.median(self.memory[-eighth:]) / statistics.median(self.memory[eighth : 2 * eighth])


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs: its process, and where it is."""

    process: subprocess.Popen[str]
    url: str

    @property
    def memory(self) -> int:
        """Bytes of resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) * 1024


def measure(setting: Setting) -> list[Line]:
    """One caller at a time, then 32 of them, then a kill in the middle of jobs."""
    work = Path(tempfile.mkdtemp(dir=setting.work))
    model, clips = make_model(work), choose_clips(setting.data)
    direct = measure_predictor(model, clips, work)
    with serve(model, work / "jobs") as server:
        alone = call(server, clips, callers=1, seconds=_ALONE)
        together = call(server, clips, callers=_CALLERS, seconds=_TOGETHER)
    return [
        Line("service, Predictor in a loop", (direct,), "clips/s"),
        Line("service, one caller", (alone.rate,), "clips/s"),
        Line("service, one caller: median", (alone.latency(50),), "s"),
        Line(f"service, {_CALLERS} callers", (together.rate,), "clips/s"),
        Line(f"service, {_CALLERS} callers: median", (together.latency(50),), "s"),
        Line(f"service, {_CALLERS} callers: 95 %", (together.latency(95),), "s"),
        Line("service, memory before", (together.memory[0] / 1e9,), "GB"),
        Line("service, memory after", (together.memory[-1] / 1e9,), "GB"),
        Line("service_throughput", (together.rate / alone.rate,), "x", at_least=_RATIO),
        Line("service_lost", (float(alone.lost + together.lost),), "requests", at_most=0),
        Line("service_memory", (together.growth,), "x", at_most=_GROWTH),
        Line("service_jobs_lost", (float(kill_in_the_middle(model, work)),), "jobs", at_most=0),
    ]


def choose_clips(data: Path) -> list[Path]:
    """Clips that are spread over the data set."""
    from marey.data import load_data

    clips = [clip.path for clip in load_data(str(data)).clips]
    return clips[:: max(1, len(clips) // _CLIPS)][:_CLIPS]


def make_model(work: Path) -> Path:
    """Write a model of the default recipe's encoder under an untrained head: its cost is the same."""
    from marey.encoders import load_encoder
    from marey.models import ActionModel, ModelConfig, new_classifier, save_model
    from marey.training import load_recipe

    recipe = load_recipe("chronophotograph")
    encoder = load_encoder(recipe.encoder, frames=recipe.sampling.count)
    contract = encoder.contract(sampling=recipe.sampling, streams=recipe.streams, fit=recipe.fit)
    labels = tuple(f"class {number}" for number in range(6))
    config = ModelConfig(contract=contract, head=recipe.head, labels=labels)
    save_model(ActionModel(config, new_classifier(contract, recipe.head, len(labels)).eval()), work / "measured")
    return work / "measured"


def measure_predictor(model: Path, clips: Sequence[Path], work: Path) -> float:
    """Clips a second of `Predictor.predict`, one after another on all cores, nothing cached: what to compare with."""
    from marey.encoders import FeatureCache
    from marey.prediction import Predictor

    with tempfile.TemporaryDirectory(dir=work) as folder:
        predictor = Predictor(model, cache=FeatureCache(Path(folder)))
        predictor.predict(clips[0])
        began = time.perf_counter()
        for clip in clips[1:]:
            predictor.predict(clip)
        return (len(clips) - 1) / (time.perf_counter() - began)


@contextmanager
def serve(model: Path, jobs: Path, layout: str | None = None) -> Iterator[Server]:
    """Start a server in a process of its own: `marey serve`, or with a layout in JSON this file."""
    options = ["--port", "0", "--jobs", str(jobs)]
    command = ["-m", "marey", "serve", str(model), *options] if layout is None else [__file__, "--serve", layout]
    environment = {**os.environ, "MODEL": str(model), "JOBS": str(jobs)}
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, *command], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    said, url = [], ""
    for line in process.stderr:
        said.append(line)
        found = re.search(r"listening at (http://[^\s,]+)", line)
        url = found[1] if found else url
        if line.startswith("ready"):
            break
    else:
        raise SystemExit(f"the server did not start:\n{''.join(said)}")
    reading = threading.Thread(target=process.stderr.read)  # what it says later must not block it
    reading.start()
    try:
        yield Server(process, url)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(60)
        reading.join()
        process.stderr.close()


def call(server: Server, clips: Sequence[Path], *, callers: int, seconds: float) -> Load:
    """Let callers ask, each again as soon as it has its answer, for so many seconds."""
    latencies: list[float] = []
    memory: list[int] = []
    lost = 0
    with Client(server.url, patience=_PATIENCE, timeout=_PATIENCE) as client:
        client.predict(clips[0])
        began = time.perf_counter()

        def ask(number: int) -> None:
            nonlocal lost
            for clip in islice(cycle(clips), number, None):
                start = time.perf_counter()
                if start - began >= seconds:
                    return
                try:
                    client.predict(clip)
                    latencies.append(time.perf_counter() - start)
                except ServiceError as error:
                    lost += 1
                    sys.stderr.write(f"lost: {error}\n")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(callers)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            memory.append(server.memory)
            time.sleep(0.25)
        for thread in threads:
            thread.join()
        return Load(time.perf_counter() - began, tuple(latencies), lost, tuple(memory))


def kill_in_the_middle(model: Path, work: Path) -> int:
    """How many of some accepted jobs do not end when the server is killed while it works on the first."""
    video = film(work / "long.mp4", width=320, height=240, duration=20)
    jobs = work / "killed"
    with serve(model, jobs) as server:
        with Client(server.url) as client:
            accepted = [client.submit(video) for _ in range(_JOBS)]
            for job in client.events(accepted[0]):
                if job.progress > 0:
                    break
        server.process.kill()
    with serve(model, jobs) as server, Client(server.url) as client:
        ended = [client.wait(job, timeout=600) for job in accepted]
    return sum(job.state != "done" for job in ended)


def main() -> None:
    """Compare layouts: clips a second of one caller and of 32."""
    parser = argparse.ArgumentParser(description="Compare ways to lay the service's work over the processor.")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each measurement")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder of class folders")
    parser.add_argument("--serve", metavar="JSON", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        _serve(json.loads(asked.serve))
        return
    from marey.service import Layout

    cores = usable_cores()
    layouts = {
        "a clip a core": Layout(decoders=cores, encoders=cores, threads=1, batch=2, batch_wait=0.0),
        "a stream a core": Layout(decoders=cores, encoders=cores, threads=1, batch=2, batch_wait=0.0, share="stream"),
        "a batch on all cores": Layout(decoders=cores, encoders=1, threads=cores, batch=8, batch_wait=0.003),
        "a clip a core, batches of 8": Layout(decoders=1, encoders=cores, threads=1, batch=8, batch_wait=0.0),
    }
    with tempfile.TemporaryDirectory(prefix="marey-bench-") as folder:
        work = Path(folder)
        data, described = find_clips(asked.data, work)
        clips, model = choose_clips(data), make_model(work)
        sys.stdout.write(f"{described}\n")
        for name, layout in layouts.items():
            with serve(model, work / "jobs", json.dumps(asdict(layout))) as server:
                alone = call(server, clips, callers=1, seconds=asked.seconds)
                many = call(server, clips, callers=_CALLERS, seconds=asked.seconds)
            sys.stdout.write(
                f"{name:30s} one caller {alone.rate:5.2f} clips/s, {alone.latency(50):.2f} s   "
                f"{_CALLERS} callers {many.rate:5.2f} clips/s, {many.latency(50):.2f} s   "
                f"ratio {many.rate / alone.rate:.2f}   lost {alone.lost + many.lost}\n"
            )
            sys.stdout.flush()


def _serve(layout: dict[str, object]) -> None:
    from marey.service import Layout, Settings, find_models, run

    def say(sentence: str) -> None:
        sys.stderr.write(sentence + "\n")
        sys.stderr.flush()

    run(
        find_models([Path(os.environ["MODEL"])]),
        host="127.0.0.1",
        port=0,
        device="cpu",
        settings=Settings(),
        layout=Layout(**layout),  # type: ignore[arg-type] # as main() wrote it
        jobs=Path(os.environ["JOBS"]),
        on_listening=lambda address: say(f"listening at {address},"),
        on_ready=lambda: say("ready"),
    )


if __name__ == "__main__":
    main()
