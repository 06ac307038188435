"""What darkness, distance, frame rate and compression cost, without and with `photometric: auto`: about 10 minutes.

24 drawn clips of 4 actors; each is tested by heads of the other three, which have seen clips in the light only. It is
run by name only: `python benchmarks/bench.py --only dark`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from marey.data import Clip
from marey.encoders import Contract, Encoder, FeatureCache, Features, View, iterate_views, load_encoder
from marey.errors import VideoError
from marey.synthetic import FRAME_RATE, draw, make
from marey.training import Experiment, Recipe, load_recipe
from marey.video import write_video
from measure import Line, Setting, cache_in

ACTORS: Final = 4
RECIPES: Final = ("chronophotograph", "two-stream")
MEAN: Final = 17.0  # of 255, of a clip in the dark
QUARTER: Final = 0.25  # of the width and of the height


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a test clip.

    Attributes:
        dark: scaled to a mean of 17.
        far: shrunk to a quarter of its width and height, and back.
        rate: frames a second; missing ones repeat the one before.
        crf: quality of the file, see `write_video`.
    """

    dark: bool = True
    far: bool = True
    rate: float = FRAME_RATE
    crf: int = 23

    def apply(self, frames: Tensor) -> Tensor:
        """Return the changed frames, uint8 (T', 3, H, W)."""
        count = round(len(frames) * self.rate / FRAME_RATE)
        shown = (np.arange(count) * FRAME_RATE / self.rate + 1e-6).astype(int).clip(max=len(frames) - 1)
        changed = frames.float()
        if self.dark:
            changed *= MEAN / changed.mean()
        if self.far:
            small = functional.interpolate(changed, scale_factor=QUARTER, mode="area").round_()
            changed = functional.interpolate(small, size=frames.shape[-2:], mode="bilinear")
        return changed.round_().to(torch.uint8)[torch.from_numpy(shown)]


CHANGES: Final[Mapping[str, Change]] = {
    "in the light": Change(dark=False, far=False),
    "dark": Change(far=False),
    "dark, far": Change(),
    "dark, far, 12 frames/s": Change(rate=12.0),
    "dark, far, 60 frames/s": Change(rate=60.0),
    "dark, far, 12 frames/s, crf 40": Change(rate=12.0, crf=40),
    "dark, far, 60 frames/s, crf 40": Change(rate=60.0, crf=40),
}


def measure(setting: Setting) -> list[Line]:
    """Return the accuracy on each kind of clips, by recipe and `photometric`."""
    clips = make(setting.work / "light", actors=ACTORS, scenarios=("d1",), workers=1).clips
    folders = {name: setting.work / f"changed-{number}" for number, name in enumerate(CHANGES)}
    changed = {name: _write_changed(folder, clips, CHANGES[name]) for name, folder in folders.items()}
    lines = []
    with cache_in(setting.work / "features"):
        for recipe in RECIPES:
            for photometric in ("none", "auto"):
                chosen = load_recipe(recipe, changes=[f"photometric={photometric}"])
                right = _test(chosen, clips, changed, setting.work)
                lines += [
                    Line(f"accuracy, {recipe}, photometric {photometric}, {name}", (float(np.mean(each)),), "")
                    for name, each in right.items()
                ]
    return lines


def _write_changed(folder: Path, clips: Sequence[Clip], change: Change) -> list[Clip]:
    """Return the clips in the same order, changed."""
    folder.mkdir()
    written = []
    for number, clip in enumerate(clips):
        actor = int(re.findall(r"person(\d+)_", clip.path.name)[0])
        path = folder / f"{number:02d}.mp4"
        frames = change.apply(draw(str(clip.label), actor=actor))
        write_video(path, frames, frame_rate=change.rate, crf=change.crf)
        written.append(Clip(path, label=clip.label, group=clip.group))
    return written


def _test(
    recipe: Recipe, clips: Sequence[Clip], changed: Mapping[str, Sequence[Clip]], work: Path
) -> dict[str, list[bool]]:
    """Return for each change which of the clips are right, tested by a model that has not seen the actor."""
    encoder = load_encoder(recipe.encoder, frames=recipe.sampling.count)
    contract = Contract.from_recipe(recipe, encoder)
    views = recipe.views.readings
    known = _features(clips, views, encoder, contract)
    tested = {name: _features(each, views[:1], encoder, contract) for name, each in changed.items()}
    labels = tuple(sorted({str(clip.label) for clip in clips}))
    experiment = Experiment(
        clips,
        [[features[view] for features in known] for view in views],
        labels=labels,
        contract=contract,
        recipe=recipe,
        made_with={},
    )
    right: dict[str, list[bool]] = {name: [] for name in changed}
    for group in sorted({str(clip.group) for clip in clips}):
        inside = [index for index, clip in enumerate(clips) if clip.group == group]
        others = [index for index in range(len(clips)) if index not in inside]
        out = work / f"{recipe.name}-{recipe.photometric}-{group}"
        model = experiment.train(others, seed=recipe.seed, out=out).model
        for name, features in tested.items():
            found = model.batch_probabilities([features[index][views[0]] for index in inside]).argmax(1).tolist()
            right[name] += [labels[place] == clips[index].label for place, index in zip(found, inside, strict=True)]
    return right


def _features(
    clips: Sequence[Clip], views: Sequence[View], encoder: Encoder, contract: Contract
) -> list[dict[View, Features]]:
    readings = [(clip, tuple(views)) for clip in clips]
    found = []
    for result in iterate_views(readings, encoder, contract, cache=FeatureCache()):
        if isinstance(result, VideoError):
            raise result
        found.append(result)
    return found
