"""Networks that are built for one number of frames, under the verbs that train several recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from marey import commands

transformers = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")


@pytest.fixture
def four_frames(tmp_path: Path) -> list[str]:
    """What makes the recipe videomae one of a small network that takes 4 frames and no others; the default is 16."""
    config = transformers.VideoMAEConfig(
        image_size=32,
        num_frames=4,
        patch_size=16,
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    transformers.VideoMAEModel(config).save_pretrained(tmp_path / "videomae")
    quick = ["encoder.grid=[2, 1]", "training.epochs=1", "head.options.hidden=16"]
    return ["sampling.count=4", f"encoder.weights={tmp_path / 'videomae'}", *quick]


@pytest.mark.long
def test_compare_builds_an_encoder_for_the_frames_of_the_recipe(
    four_frames: list[str], small_set: Path, tmp_path: Path
) -> None:
    found = commands.compare(str(small_set), recipes="videomae", seeds=1, out=tmp_path / "out", set=four_frames)
    (entry,) = found.entries
    assert entry.failure is None
    assert entry.cost is not None
    assert entry.cost.clips_per_second is not None


@pytest.mark.long
def test_tune_builds_an_encoder_for_the_frames_of_each_trial(
    four_frames: list[str], small_set: Path, tmp_path: Path
) -> None:
    space = "search={training.learning_rate: {choices: [0.001, 0.01]}}"
    changes = [*four_frames, space]
    found = commands.tune(str(small_set), recipe="videomae", trials=2, folds="2", out=tmp_path / "out", set=changes)
    assert [trial.state for trial in found.trials] == ["complete", "complete"]
