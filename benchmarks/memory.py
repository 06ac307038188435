"""The peak of memory of an extraction: by the number of clips, by their length, and of one 1080p file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from marey.data import Clip, Manifest, load_data, write_manifest
from measure import Line, Setting, run
from samples import film, made_files

_PEAK: Final = Path(__file__).with_name("peak.py")
_RATIO_TARGET: Final = 1.05
_GB: Final = 1e9
_HD_TARGET: Final = 1.5  # GB


def measure_clips(setting: Setting) -> list[Line]:
    """All clips beside a quarter of them, the largest file in both."""
    clips = sorted(load_data(str(setting.data)).clips, key=lambda clip: clip.path.stat().st_size, reverse=True)
    few, many = clips[::4], clips
    return _compare("memory_clips", few, many, f"{len(few)} clips", f"{len(many)} clips", setting.work, setting.repeat)


def measure_length(setting: Setting) -> list[Line]:
    """Measure a file of 40 s beside one of 10 s, 320x240."""
    short, long = (
        Clip(film(setting.work / f"length-{duration}.mp4", width=320, height=240, duration=duration), "pan")
        for duration in (10, 40)
    )
    return _compare("memory_length", [short], [long], "10 s", "40 s", setting.work, setting.repeat)


def measure_hd(setting: Setting) -> list[Line]:
    """One file of 20 s, 1920x1080."""
    clip = Clip(made_files(setting.work)["1080p"], "pan")
    peaks = tuple(_peak([clip], setting.work) / _GB for _ in range(setting.repeat))
    return [Line("memory_1080p", peaks, "GB", at_most=_HD_TARGET)]


def _compare(
    name: str, less: Sequence[Clip], more: Sequence[Clip], small: str, large: str, work: Path, repeat: int
) -> list[Line]:
    peaks = [(_peak(less, work), _peak(more, work)) for _ in range(repeat)]
    return [
        Line(f"peak of memory, {small}", tuple(few / _GB for few, _ in peaks), "GB"),
        Line(f"peak of memory, {large}", tuple(many / _GB for _, many in peaks), "GB"),
        Line(name, tuple(many / few for few, many in peaks), "x", at_most=_RATIO_TARGET),
    ]


def _peak(clips: Sequence[Clip], work: Path) -> int:
    """Bytes that a process of its own holds at most while it extracts clips, the cache empty."""
    with TemporaryDirectory(dir=work) as folder:
        path = Path(folder) / "manifest.csv"
        write_manifest(Manifest(tuple(clips), Path(folder), "the benchmark", "none"), path)
        command = [sys.executable, str(_PEAK), str(path)]
        return int(run(command, environment={"MAREY_CACHE": str(Path(folder) / "cache")}))
