"""Explanations of drawn clips in which only one half of the figure can have told the action."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from marey import commands
from marey.data import Clip
from marey.encoders import FeatureCache
from marey.prediction import Explanation, Predictor, explain_clip
from marey.synthetic import FRAME_RATE, draw
from marey.video import write_video

Half = Literal["arms", "legs"]

EDGE = 12
"""Rows of the moving half that are still, too: an image that is resized mixes the rows at an edge."""

ACTIONS: dict[Half, tuple[str, str]] = {"arms": ("boxing", "handclapping"), "legs": ("walking", "running")}


def half_still(path: Path, action: str, actor: int, half: Half) -> Path:
    """Write a second of an action, of which only one half of the frame moves: above the hip, or below it."""
    frames = draw(action, actor=actor, duration=1.0).clone()
    middle = frames.shape[2] // 2
    still = frames[:, :, middle - EDGE :] if half == "arms" else frames[:, :, : middle + EDGE]
    still[:] = still[12:13].clone()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, frame_rate=FRAME_RATE, crf=0)
    return path


def share_of(half: Half, found: Explanation) -> float:
    """Return the share of a half of the frame in all contributions, whatever their sign."""
    assert found.where is not None
    rows = np.abs(found.where).sum((0, 2))
    middle = len(rows) // 2
    return float((rows[:middle] if half == "arms" else rows[middle:]).sum() / rows.sum())


@pytest.mark.parametrize("half", ["arms", "legs"])
def test_only_the_half_that_moves_contributes_where_cells_are_covered(
    half: Half, small_run: Path, tmp_path: Path
) -> None:
    clip = half_still(tmp_path / "clip.mp4", ACTIONS[half][0], 1, half)
    predictor = Predictor(small_run, cache=FeatureCache(tmp_path / "features"))
    found = explain_clip(predictor, Clip(clip), where="occlusion")
    assert found.where_by == "occlusion"
    assert share_of(half, found) > 0.99


@pytest.mark.long
@pytest.mark.parametrize("half", ["arms", "legs"])
def test_a_model_that_learned_from_arms_or_legs_is_explained_by_them(half: Half, tmp_path: Path) -> None:
    for action in ACTIONS[half]:
        for actor in range(1, 7):
            half_still(tmp_path / "clips" / action / f"person{actor:02d}_{action}_d1.mp4", action, actor, half)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
        commands.train(
            str(tmp_path / "clips"),
            recipe="chronophotograph",
            out=tmp_path / "run",
            set=["sampling.count=4", "encoder.grid=[4, 2]", "training.inner_folds=2", "views.mirrored=none"],
        )
        predictor = Predictor(tmp_path / "run")
        for action in ACTIONS[half]:
            clip = Clip(tmp_path / "clips" / action / f"person02_{action}_d1.mp4")
            covered = explain_clip(predictor, clip, where="occlusion")
            assert share_of(half, covered) > 0.99
            assert covered.when.sum() != 0
