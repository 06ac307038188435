"""Heads on cached features, and the cost of a search for their best settings.

Heads are timed on random features of the size that frozen video networks give (a linear layer, where a step is mostly
calls), and of the size that the default recipe gives (10,000 numbers a stream, where it is mostly memory). The search
is `marey tune` with 30 trials on a full cache, beside the training that filled it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import torch

from marey.commands import train, tune
from marey.models import Classifier, HeadSpec
from marey.training import FeatureSet, Task, Training, fit
from measure import Line, Setting, cache_in, seconds

RATIOS: Final = ("tune_30",)

_HEADS: Final = 50
_CLIPS: Final = 48
_VALIDATION: Final = 12
_CLASSES: Final = 6
_TRIALS: Final = 30
_TRAINING: Final = Training(epochs=30, patience=30)
_TUNE_TARGET: Final = 3.0


def measure(setting: Setting) -> list[Line]:
    """Time 50 heads, and 30 trials beside the cold training before them."""
    times: dict[str, list[float]] = defaultdict(list)
    small = _features(frames=1, dim=768), HeadSpec(name="mean", options={})
    default = _features(frames=16, dim=1920), HeadSpec(name="pyramid", options={})
    for _ in range(setting.repeat):
        _time_heads("", *small, _HEADS, times)
    _time_heads(" of the default recipe", *default, _HEADS // 5, times)
    for number in range(setting.repeat_cold):
        work = setting.work / f"heads-{number}"
        with cache_in(work / "cache"):
            cold = seconds(lambda: train(str(setting.data), out=work / "run"))  # noqa: B023
            search = seconds(lambda: tune(str(setting.data), out=work / "search", trials=_TRIALS))  # noqa: B023
        times["a cold training"].append(cold)
        times[f"{_TRIALS} trials"].append(search)
        times["tune_30"].append(search / cold)
    return [_line(name, tuple(runs)) for name, runs in times.items()]


def _line(name: str, runs: tuple[float, ...]) -> Line:
    if name == "tune_30":
        return Line(name, runs, "x", at_most=_TUNE_TARGET)
    return Line(name, runs)


def _time_heads(suffix: str, clips: FeatureSet, spec: HeadSpec, count: int, times: dict[str, list[float]]) -> None:
    for task in _tasks(clips, spec, 2):
        fit(task, _TRAINING)  # the first training of a process takes longer
    times[f"{count} heads{suffix}"].append(
        seconds(lambda: [fit(task, _TRAINING) for task in _tasks(clips, spec, count)])
    )


def _tasks(clips: FeatureSet, spec: HeadSpec, count: int) -> Iterator[Task]:
    """Yield trainings that differ in their clips and seed, as the inner folds and folds of a run do."""
    shapes: dict[str, Any] = {name: (values.shape[-1],) for name, values in clips.features.items()}
    for number in range(count):
        order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(number)).tolist()
        known = clips.take(order[_VALIDATION:])
        classifier = Classifier(spec, shapes, _CLASSES)
        classifier.prepare(known.all_views())
        yield Task(classifier, known, number, validation=clips.take(order[:_VALIDATION]))


def _features(*, frames: int, dim: int) -> FeatureSet:
    rng = torch.Generator().manual_seed(0)
    features = {stream: torch.randn(2, _CLIPS + _VALIDATION, frames, dim, generator=rng) for stream in ("a", "b")}
    return FeatureSet(features, torch.arange(_CLIPS + _VALIDATION) % _CLASSES, _CLASSES, frames)
