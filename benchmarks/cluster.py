"""What a Ray cluster costs a clip, and what a second node and a second core bring.

`python cluster.py KIND ...` is the process that is measured, and prints its figures as JSON.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from marey.cluster import Connection, Pool, Share, connect
from marey.cluster.extraction import Extracted, Extraction, extract_on_cluster
from marey.cores import allowed_cores, usable_cores
from marey.data import Clip, load_data
from marey.encoders import Contract, FeatureCache, View, iterate_views, load_encoder
from marey.training import load_recipe
from measure import Line, Setting, run
from peak import peak_memory

RATIOS: Final = (
    "cluster_overhead",
    "cluster_many",
    "cluster_memory",
    "cluster_two_nodes",
    "cluster_threads",
    "cluster_killed",
    "cluster_killed_same",
)

_FEW: Final = 1000
_MANY: Final = 100_000
_ROUNDS: Final = 5  # of few rows
_CLIPS: Final = 60
_CORES: Final = 2
_TAKES_TWO: Final = RATIOS[3:]
_KILL_SECONDS: Final = 20.0  # between two kills
_LONG: Final = 90.0  # s, about, that the extraction takes while actors are killed


def measure(setting: Setting) -> list[Line]:
    """Overhead, memory of the caller, two nodes beside one, and actors beside threads."""
    if importlib.util.find_spec("ray") is None:
        setting.left_out.update(dict.fromkeys(RATIOS, "Ray is not installed: pip install -e '.[ray]'"))
        return []
    lines = _overhead(setting.repeat_cold)
    if usable_cores() < _CORES:
        setting.left_out.update(dict.fromkeys(_TAKES_TWO, "it takes two usable cores"))
        return lines
    rates: dict[str, list[float]] = {"one node": [], "two nodes": [], "actors": [], "threads": []}
    for _ in range(setting.repeat_cold):
        for kind, found in rates.items():
            found.append(_measured("rate", kind, str(setting.data))["rate"])
    calm, killed = _killed(setting, rates["actors"][0])
    two = tuple(both / one for one, both in zip(rates["one node"], rates["two nodes"], strict=True))
    beside = tuple(there / here for here, there in zip(rates["threads"], rates["actors"], strict=True))
    note = "from the first clip that is done to the last: the start of Ray and of the actors is not in it"
    return [
        *lines,
        *(Line(f"clips a second, {kind}", tuple(found), "1/s", note=note) for kind, found in rates.items()),
        Line("cluster_two_nodes", two, "x", at_least=1.7, note="nodes of one core each"),
        Line("cluster_threads", beside, "x", at_least=0.9, note=f"{_CORES} actors : {_CORES} threads of marey"),
        Line(
            "cluster_killed",
            tuple(longer["seconds"] / each["seconds"] for each, longer in zip(calm, killed, strict=True)),
            "x",
            at_most=1.3,
            note=f"the time where one of {_CORES} actors is killed every {_KILL_SECONDS:g} s "
            f"({', '.join(str(each['kills']) for each in killed)} kills) : where none is",
        ),
        Line(
            "cluster_killed_same",
            tuple(float(longer["digest"] == each["digest"]) for each, longer in zip(calm, killed, strict=True)),
            "",
            at_least=1.0,
            note="1 where both leave the same bytes in the cache",
        ),
    ]


def _killed(setting: Setting, rate: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Measure extractions while nothing happens, and the same while actors are killed."""
    views = str(max(1, round(rate * _LONG / _CLIPS)))
    found: dict[str, list[dict[str, Any]]] = {"calm": [], "killed": []}
    for _ in range(setting.repeat_cold):
        for kind, each in found.items():
            each.append(_measured("kills", kind, str(setting.data), views))
    return found["calm"], found["killed"]


def _overhead(repeat: int) -> list[Line]:
    found = [_measured("overhead") for _ in range(repeat)]
    few = tuple(1000 * each["few"] * _CORES for each in found)
    many = tuple(1000 * each["many"] * _CORES for each in found)
    return [
        Line(f"cluster, {_FEW} rows", few, "ms a clip a core", note="with work that costs nothing"),
        Line("cluster_overhead", many, "ms a clip a core", at_most=2.0, note=f"{_MANY} rows"),
        Line("cluster_many", tuple(b / a for a, b in zip(few, many, strict=True)), "x", at_most=1.1),
        Line(
            "cluster_memory",
            tuple(each["peak"] / each["before"] for each in found),
            "x",
            at_most=1.05,
            note=f"peak of the caller after {_MANY} rows : when the first of them were done",
        ),
    ]


def _measured(*arguments: str) -> dict[str, Any]:
    with TemporaryDirectory(prefix="marey-cache-") as cache:
        path = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
        environment = {"MAREY_CACHE": cache, "PYTHONPATH": path, "OMP_NUM_THREADS": "2", "MAREY_ENGINE": "pytorch"}
        said = run([sys.executable, __file__, *arguments], environment=environment)
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


class Nothing:
    """Work that costs nothing: the names of features, as an actor with a shared cache gives them."""

    note = ""

    def run(self, items: Sequence[Any]) -> list[Any]:
        """Return a result for each clip."""
        return [Extracted((f"{hash(clip):040x}", f"{~hash(clip):040x}"), cached=True) for clip, _ in items]


def overhead() -> dict[str, float]:
    """Seconds a row of few and of many rows, and the memory of this process, in bytes."""
    rows = [(Clip(Path(f"/data/walk/{number:06d}.mp4"), "walk"), (View(),)) for number in range(_MANY)]
    with connect("ray://local", cores=_CORES) as connection:
        few = sorted(_timed(connection, rows[:_FEW])[0] for _ in range(_ROUNDS))[_ROUNDS // 2]
        many, before = _timed(connection, rows)
    return {"few": few, "many": many, "before": before, "peak": peak_memory()}


def _timed(connection: Connection, rows: Sequence[Any]) -> tuple[float, float]:
    """Seconds a row from when all actors have begun, and the peak of memory until then."""
    warm = len(rows) // 10
    pool: Pool[Any, Any] = Pool(connection, Nothing, share=Share(), actors=_CORES)
    with closing(pool.run(rows)) as found:
        for _ in islice(found, warm):
            pass
        before, began = peak_memory(), time.perf_counter()
        left = sum(1 for _ in found)
        return (time.perf_counter() - began) / left, before


def rate(kind: str, data: str) -> dict[str, float]:
    """Clips a second of an extraction into an empty cache."""
    work = _Work(data, _CLIPS)
    if kind == "threads":
        return {"rate": _rate(iterate_views(work.readings, work.encoder, work.contract, cache=work.cache))}
    with _cluster(kind) as connection:
        return {"rate": _rate(work.on(connection))}


def kills(kind: str, data: str, views: str) -> dict[str, Any]:
    """Seconds of an extraction from its first clip to its last, kills of actors, and a hash of all features."""
    work = _Work(data, _CLIPS, *map(View, range(int(views))))
    ended, dead = threading.Event(), 0

    def kill() -> None:
        nonlocal dead
        while kind == "killed" and not ended.wait(_KILL_SECONDS):
            actors = _actors()
            if actors:
                os.kill(actors[dead % len(actors)], signal.SIGKILL)
                dead += 1

    with _cluster("actors") as connection:
        found = work.on(connection)
        next(found)
        began = time.perf_counter()
        killer = threading.Thread(target=kill)
        killer.start()
        left = sum(1 for _ in found)
        seconds = time.perf_counter() - began
        ended.set()
        killer.join()
    digest = hashlib.sha256()
    for path in sorted(work.cache.root.rglob("*.safetensors")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return {"seconds": seconds, "kills": dead, "clips": left + 1, "digest": digest.hexdigest()}


def _actors() -> list[int]:
    """Return the processes of actors on this machine, by their names."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if path.read_text().startswith("ray::Worker"):
                found.append(int(path.parent.name))
    return sorted(found)


class _Work:
    """The extraction that is measured: clips of a data set, in an empty cache."""

    def __init__(self, data: str, count: int, *views: View) -> None:
        recipe, self.cache = load_recipe("auto"), FeatureCache()
        self.encoder = load_encoder(recipe.encoder, frames=recipe.sampling.count)
        self.contract = Contract.from_recipe(recipe, self.encoder, multi_view=False)
        self.readings = [(clip, views or (View(),)) for clip in load_data(data).clips[:count]]

    def on(self, connection: Connection) -> Iterator[Any]:
        """Start the extraction on a cluster."""
        job = Extraction.of(self.encoder, self.contract, cache=self.cache, device="cpu")
        return extract_on_cluster(connection, self.readings, job, cache=self.cache, share=Share())


@contextmanager
def _cluster(kind: str) -> Iterator[Connection]:
    """Nodes of one core each, or one node with all cores."""
    if kind == "actors":
        with connect("ray://local", cores=_CORES) as connection:
            yield connection
        return
    from ray.cluster_utils import Cluster

    first, second = allowed_cores()[:_CORES]
    with _only(first):
        nodes: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        if kind == "two nodes":
            with _only(second):
                nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        os.environ["RAY_ADDRESS"] = nodes.address
        with connect("ray") as connection:
            yield connection
    finally:
        nodes.shutdown()


@contextmanager
def _only(core: int) -> Iterator[None]:
    """Give what is started meanwhile one core: an actor has threads that decode beside the one that encodes."""
    before = allowed_cores()
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _rate(found: Iterator[Any]) -> float:
    """Clips a second after the first few, when all have begun."""
    for _ in islice(found, 2 * _CORES):
        pass
    began = time.perf_counter()
    left = sum(1 for _ in found)
    return left / (time.perf_counter() - began)


if __name__ == "__main__":
    wanted = sys.argv[1:]
    import cluster  # as the actors know it

    measured: dict[str, Callable[..., dict[str, Any]]]
    measured = {"overhead": cluster.overhead, "rate": cluster.rate, "kills": cluster.kills}
    figures = measured[wanted[0]](*wanted[1:])
    sys.stdout.write(json.dumps(figures) + "\n")
