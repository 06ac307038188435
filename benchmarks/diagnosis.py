"""How many planted errors `marey diagnose` finds: exchanged labels, and copies of clips, on cached features.

It is run by name: `python benchmarks/bench.py --only diagnosis --data DIR`, on real clips or the embedded data set
(`marey data make`). Labels are exchanged at random; copies of up to 20 clips are made in five ways, each way by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from torch import Tensor
from torch.nn import functional

from few_shot import Known
from marey.data import Clip
from marey.encoders import FeatureCache, Features, clip_span, iterate_views, load_encoder
from marey.errors import VideoError
from marey.evaluation import find_label_errors
from marey.training import Experiment, near_duplicates, out_of_fold
from marey.video import decode, write_video
from measure import Line, Setting

SHARES: Final = (0.05, 0.1, 0.2)
RECALL: Final = 0.9
PRECISION: Final = 0.8
_RECIPE: Final = "chronophotograph"
_COPIED: Final = 20
_RATE: Final = 25.0
_LATE: Final = 0.3  # s

WAYS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "encoded again": lambda frames: frames,
    "cropped": lambda frames: _cut(frames, 0.08),
    "mirrored": lambda frames: frames.flip(-1),
    "shifted in time": lambda frames: frames[round(_LATE * _RATE) :],
    "shifted in space": lambda frames: _moved(frames, 0.06),
}


def measure(setting: Setting) -> list[Line]:
    """Plant errors and copies, and count what is found."""
    known = Known.read(setting.data, _RECIPE)
    drawn = (setting.data / "figures.json").is_file()
    return [*measure_labels(known, drawn=drawn), *measure_copies(known, setting.work)]


def measure_labels(known: Known, *, drawn: bool) -> list[Line]:
    """Exchange labels, and return recall and precision of the clips that look wrong."""
    lines = []
    names = known.labels
    true = np.array([names.index(str(clip.label)) for clip in known.clips])
    views = [[found[view] for found in known.found] for view in known.recipe.views.readings]
    for share in SHARES:
        rng = np.random.default_rng(round(100 * share))
        wrong = rng.choice(len(true), round(share * len(true)), replace=False)
        given = true.copy()
        given[wrong] = (true[wrong] + rng.integers(1, len(names), len(wrong))) % len(names)
        clips = [replace(clip, label=names[label]) for clip, label in zip(known.clips, given, strict=True)]
        experiment = Experiment(clips, views, labels=names, contract=known.contract, recipe=known.recipe, made_with={})
        with TemporaryDirectory() as work:
            everything = frozenset(range(len(clips)))
            found = out_of_fold(experiment, clips, everything, len(names), seed=0, out=Path(work))
        suspects = {one.clip for one in find_label_errors(given, found)}
        hits = len(suspects & set(wrong.tolist()))
        floors = (RECALL, PRECISION) if drawn and share == 0.1 else (None, None)
        what = f"labels, {share:.0%} exchanged"
        note = f"{len(wrong)} exchanged, {len(suspects)} listed, {hits} of them right"
        lines += [
            Line(f"{what}: recall", (hits / len(wrong),), "", at_least=floors[0], note=note),
            Line(f"{what}: precision", (hits / max(1, len(suspects)),), "", at_least=floors[1]),
        ]
    return lines


def measure_copies(known: Known, work: Path) -> list[Line]:
    """Plant copies in a group of their own, and return the share that is found, and pairs that are none."""
    chosen = range(0, len(known.clips), -(-len(known.clips) // _COPIED))
    cache = FeatureCache()
    plain, mirrored = ([found[view] for found in known.found] for view in known.recipe.views.readings[:2])
    alone = near_duplicates(known.clips, [plain, mirrored], mirrored=True, cache=cache)
    named = "; ".join(f"{known.clips[p.first].path.name} = {known.clips[p.second].path.name}" for p in alone)
    lines = [Line("copies, none planted: pairs named", (float(len(alone)),), "", at_most=0, note=named)]
    encoder = load_encoder(known.recipe.encoder, frames=known.recipe.sampling.count)
    for way, change in WAYS.items():
        copies = [_copy(known.clips[index], work / "copies" / way / f"{index}.mp4", change) for index in chosen]
        readings = [(clip, known.recipe.views.readings[:2]) for clip in copies]
        read = list(iterate_views(readings, encoder, known.contract, cache=FeatureCache(work / "cache")))
        views: list[list[Features]] = [[*plain], [*mirrored]]
        for result in read:
            if isinstance(result, VideoError):
                raise SystemExit(str(result))
            for view, reading in zip(views, known.recipe.views.readings, strict=False):
                view.append(result[reading])
        pairs = near_duplicates([*known.clips, *copies], views, mirrored=True, cache=cache)
        planted = {(index, len(known.clips) + number) for number, index in enumerate(chosen)}
        told = {(pair.first, pair.second) for pair in pairs}
        missed = ", ".join(known.clips[index].path.name for index, _ in sorted(planted - told))
        lines += [
            Line(f"copies, {way}: share found", (len(planted & told) / len(planted),), "", at_least=1.0, note=missed),
            Line(f"copies, {way}: pairs that are none", (float(len(told - planted)),), "", at_most=0),
        ]
    return lines


def _copy(clip: Clip, path: Path, change: Callable[[Tensor], Tensor]) -> Clip:
    path.parent.mkdir(parents=True, exist_ok=True)
    start, end = clip_span(clip)
    frames = decode(clip.path, np.arange(start, end, 1 / _RATE)).data
    write_video(path, change(frames), frame_rate=_RATE, crf=30)
    return Clip(path, label=clip.label, group="copies")


def _cut(frames: Tensor, share: float) -> Tensor:
    height, width = frames.shape[-2:]
    down, right = round(share * height), round(share * width)
    return frames[..., down : height - down, right : width - right]


def _moved(frames: Tensor, share: float) -> Tensor:
    height, width = frames.shape[-2:]
    down, right = round(share * height), round(share * width)
    return functional.pad(frames[..., down:, right:], (0, right, 0, down))
