"""What an extraction costs a clip, for few clips and for many; and two processes that share one extraction.

`python extraction.py MANIFEST...` is the process that is measured: it extracts each manifest into the cache, and prints
the seconds of each and the peak of its memory as JSON.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from marey.cores import usable_cores
from marey.data import Clip, Manifest, load_data, write_manifest
from marey.encoders import FeatureCache, iterate_views, load_encoder
from marey.training import load_recipe
from measure import Line, Setting, run
from peak import peak_memory
from samples import copies, film

CLIPS_RATIOS: Final = ("clips_5000", "clips_5000_memory")
PROCESSES_RATIOS: Final = ("two_processes", "two_processes_pictures")

_FEW: Final = 50
_MANY: Final = 5000
_FILES: Final = 10
_SECONDS: Final = 4.0  # of each file
_SPAN: Final = 0.4  # s
_SIZE: Final = 64  # pixels; of one small picture a clip, so that what is beside the encoder's work counts
_ROUNDS: Final = 5  # of few clips, other ones each time, before the many and again after them
_CLIPS_TARGET: Final = 1.05
_PROCESSES_TARGET: Final = 1.7


def measure_clips(setting: Setting) -> list[Line]:
    """Seconds a clip and peak of memory of 5,000 clips beside those of 50, which are spread over the 5,000."""
    clips = _spans(setting.work)
    apart = len(clips) // _FEW
    few = [clips[first::apart] for first in range(2 * _ROUNDS)]
    times_few: list[float] = []
    times_many: list[float] = []
    peaks: list[tuple[int, int]] = []
    for _ in range(setting.repeat_cold):
        before, _ = _extract_alone(few[:_ROUNDS], setting.work)
        (seconds_many,), peak_many = _extract_alone([clips], setting.work)
        after, _ = _extract_alone(few[_ROUNDS:], setting.work)
        _, peak_few = _extract_alone(few[:1], setting.work)
        times_few += [seconds / _FEW for seconds in before + after]
        times_many.append(seconds_many / _MANY)
        peaks.append((peak_few, peak_many))
    one = Line(f"extraction of {_FEW} clips", tuple(1000 * seconds for seconds in times_few), "ms a clip")
    many = Line(f"extraction of {_MANY} clips", tuple(1000 * seconds for seconds in times_many), "ms a clip")
    return [
        one,
        many,
        Line("clips_5000", tuple(run / one.value for run in many.runs), "x", at_most=_CLIPS_TARGET),
        Line(f"peak of memory, {_FEW} clips", tuple(few / 1e9 for few, _ in peaks), "GB"),
        Line(f"peak of memory, {_MANY} clips", tuple(many / 1e9 for _, many in peaks), "GB"),
        Line("clips_5000_memory", tuple(many / few for few, many in peaks), "x", at_most=_CLIPS_TARGET),
    ]


def measure_processes(setting: Setting) -> list[Line]:
    """`marey extract` with one thread, and twice at the same time, into one cache that is empty at first."""
    if usable_cores() < 2:
        setting.left_out["two_processes"] = "it takes two usable cores"
        return []
    engine = load_encoder(load_recipe("auto").encoder).engine  # which the new caches do not remember
    alone, both, pictures = [], [], []
    for _ in range(setting.repeat_cold):
        one_took, one = _extract_at_once(1, setting, engine)
        two_took, two = _extract_at_once(2, setting, engine)
        alone.append(one_took)
        both.append(two_took)
        pictures.append(sum(two) / sum(one))
    return [
        Line("extract, one process with one thread", tuple(alone)),
        Line("extract, two such processes", tuple(both)),
        Line(
            "two_processes",
            tuple(one / two for one, two in zip(alone, both, strict=True)),
            "x",
            at_least=_PROCESSES_TARGET,
            note=f"as commands, each imports and loads the encoder by itself; engine: {engine}",
        ),
        Line(
            "two_processes_pictures",
            tuple(pictures),
            "x",
            at_most=1.0,
            note="pictures that both have encoded : those that one encodes",
        ),
    ]


def _spans(work: Path) -> list[Clip]:
    """Clips that are spans of small files, in an order that chance has drawn."""
    files = copies(film(work / "small.mp4", width=160, height=120, duration=_SECONDS), _FILES, work / "small")
    each = _MANY // _FILES
    starts = [round(place * (_SECONDS - _SPAN) / each, 4) for place in range(each)]
    clips = [Clip(file, "pan", start=start, end=round(start + _SPAN, 4)) for start in starts for file in files]
    random.Random(0).shuffle(clips)  # noqa: S311 - no secret
    return clips


def _extract_alone(parts: Sequence[Sequence[Clip]], work: Path) -> tuple[list[float], int]:
    """Seconds of each part, one after the other in a process of its own with an empty cache; and its peak of memory."""
    folder = Path(mkdtemp(dir=work))
    paths = [folder / f"{number}.csv" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        write_manifest(Manifest(tuple(part), folder, "the benchmark", "none"), path)
    environment = {"MAREY_CACHE": str(folder / "cache")}
    said = run([sys.executable, __file__, *map(str, paths)], environment=environment)
    answer = json.loads(said.splitlines()[-1])
    return answer["seconds"], answer["peak"]


def _extract_at_once(count: int, setting: Setting, engine: str) -> tuple[float, list[int]]:
    """Seconds until processes that begin together are all done; and how many pictures each of them encoded."""
    folder = Path(mkdtemp(dir=setting.work))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MAREY_CACHE": str(folder), "MAREY_ENGINE": engine}
    command = [sys.executable, "-m", "marey", "extract", str(setting.data), "--json"]
    began = time.perf_counter()
    processes = [
        subprocess.Popen(  # noqa: S603 - our own program
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    answers = [process.communicate() for process in processes]
    took = time.perf_counter() - began
    for process, (_, complaint) in zip(processes, answers, strict=True):
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{complaint}")
    return took, [int(json.loads(answer)["images"]) for answer, _ in answers]


def main() -> None:
    """Extract the manifests that are named, one after the other, with an encoder that has run before."""
    recipe = load_recipe("frame-average", changes=(f"encoder.size={_SIZE}", "sampling.count=1"))
    encoder = load_encoder(recipe.encoder, frames=1)
    contract = encoder.contract(sampling=recipe.sampling, streams=recipe.streams, fit=recipe.fit)
    views = recipe.views.readings
    warm = [(Clip(clip.path), views) for clip in load_data(sys.argv[1]).clips]
    list(iterate_views(warm, encoder, contract, cache=FeatureCache()))
    seconds = []
    for manifest in sys.argv[1:]:
        began = time.perf_counter()
        readings = [(clip, views) for clip in load_data(manifest).clips]
        encoded = encoder.images
        for _ in iterate_views(readings, encoder, contract, cache=FeatureCache()):
            pass
        seconds.append(time.perf_counter() - began)
        if encoder.images - encoded != len(readings):
            sys.exit(f"{encoder.images - encoded} pictures were encoded for {len(readings)} clips")
    sys.stdout.write(json.dumps({"seconds": seconds, "peak": peak_memory()}) + "\n")


if __name__ == "__main__":
    main()
