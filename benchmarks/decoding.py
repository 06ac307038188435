"""16 uniform frames of one file as RGB of 224 x 224: marey beside the usual ways, and beside its own key frames.

All ways have one thread, as in a data set, where each core has a file of its own; for the large file once more as many
as there are cores. They are measured by turns, and the best of the others is found anew in each round.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from marey.cores import usable_cores
from marey.video import Sampling, decode
from measure import Line, Setting, seconds
from samples import FRAME_RATE, made_files
from usual_decoders import Pictures, Way, installed_ways

RATIOS: Final = ("decode_mpeg4", "decode_1080p", "decode_1080p_all_cores", "keyframes_1080p")

_COUNT: Final = 16
_SIZE: Final = (224, 224)
_SECONDS: Final = {"mpeg4": 7.0, "1080p": 20.0}
_ROUNDS: Final = {"mpeg4": 25, "1080p": 5}  # at least: what takes milliseconds is measured more often
_ALIKE: Final = 16.0  # mean difference of pixels between ways that resize differently
_HOPELESS: Final = 3.0  # times as long as the best: it is not measured a second time
_KEYFRAMES_TARGET: Final = 10.0


def measure(setting: Setting) -> list[Line]:
    """Time all ways on both files, then exact frames beside key frames."""
    files = made_files(setting.work)
    ways, absent = installed_ways()
    for name, why in absent.items():
        setting.left_out[f"decoding with {name}"] = why
    if not ways:
        raise SystemExit("none of the usual decoders is installed; pip install opencv-python-headless, for one")
    for way in ways.values():
        way(files["mpeg4"], [0], _SIZE, 1)  # what importing costs is not decoding
    lines = _compare("decode_mpeg4", files["mpeg4"], "mpeg4", setting, ways, threads=1)
    lines += _compare("decode_1080p", files["1080p"], "1080p", setting, ways, threads=1)
    cores = usable_cores()
    lines += _compare("decode_1080p_all_cores", files["1080p"], "1080p", setting, ways, threads=cores)
    return lines + _compare_key_frames(files["1080p"], setting)


def _instants(kind: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return Sampling(count=_COUNT).timestamps(0.0, _SECONDS[kind])


def _compare(name: str, path: Path, kind: str, setting: Setting, ways: dict[str, Way], *, threads: int) -> list[Line]:
    """One line a way, one of marey's, and the ratio; all have to show the same pictures."""
    instants = _instants(kind)
    numbers = np.floor(instants * FRAME_RATE + 1e-6).astype(int).tolist()
    times: dict[str, list[float]] = {way: [] for way in ways}
    ours: list[float] = []
    ratios: list[float] = []

    def read() -> Pictures:
        frames = decode(path, instants, size=_SIZE, interpolation="bilinear", threads=threads)
        return frames.data.permute(0, 2, 3, 1).numpy()

    pictures = read()
    for _ in range(max(setting.repeat, _ROUNDS[kind])):
        ours.append(seconds(read))
        found: dict[str, float] = {}
        for way, run in ways.items():
            if times[way] and times[way][0] > _HOPELESS * min(runs[0] for runs in times.values() if runs):
                continue
            theirs: list[Pictures] = []
            found[way] = seconds(lambda: theirs.append(run(path, numbers, _SIZE, threads)))  # noqa: B023
            if not times[way]:
                _check(way, theirs[0], pictures)
            times[way].append(found[way])
        ratios.append(min(found.values()) / ours[-1])
    best = min(times, key=lambda way: float(np.median(times[way])))
    return [
        *(Line(f"{name}, {way}", tuple(runs)) for way, runs in times.items()),
        Line(f"{name}, marey", tuple(ours)),
        Line(name, tuple(ratios), "x", at_least=1.0, note=f"beside {best}; threads of each: {threads}"),
    ]


def _check(way: str, theirs: Pictures, ours: Pictures) -> None:
    shown = theirs if theirs.shape[-1] == 3 else theirs.transpose(0, 2, 3, 1)
    difference = float(np.abs(shown.astype(int) - ours).mean()) if shown.shape == ours.shape else float("inf")
    if difference > _ALIKE:
        raise SystemExit(f"{way} shows other pictures: shape {theirs.shape}, mean difference {difference:.1f}")


def _compare_key_frames(path: Path, setting: Setting) -> list[Line]:
    instants = _instants("1080p")
    exact, keyframes = [], []
    for _ in range(max(setting.repeat, _ROUNDS["1080p"])):
        exact.append(seconds(lambda: decode(path, instants, size=_SIZE)))
        keyframes.append(seconds(lambda: decode(path, instants, size=_SIZE, frames="keyframes")))
    ratios = tuple(slow / quick for slow, quick in zip(exact, keyframes, strict=True))
    return [
        Line("keyframes_1080p, exact", tuple(exact)),
        Line("keyframes_1080p, key frames", tuple(keyframes)),
        Line("keyframes_1080p", ratios, "x", at_least=_KEYFRAMES_TARGET),
    ]
