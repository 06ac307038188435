"""`marey learn`: a class added to a trained model from a few clips."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from conftest import CallMarey
from marey import commands
from marey.data import content_hash
from marey.errors import DatasetError, UsageError, VideoError
from marey.models import load_model, save_model
from marey.prediction import Predictor
from marey.synthetic import FRAME_RATE, draw
from marey.video import write_video
from said import Said


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips of a class that `small_run` does not have, of as many people; not to be changed."""
    folder = tmp_path_factory.mktemp("waves")
    for actor in range(1, 6):
        frames = draw("handwaving", actor=actor, duration=1.0)
        write_video(folder / f"{actor}.mp4", frames, frame_rate=FRAME_RATE)
    return folder


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory, small_run: Path, waves: Path) -> Path:
    """The model of `small_run` with three of the waves, retrained; not to be changed."""
    out = tmp_path_factory.mktemp("learnt") / "model"
    commands.learn(small_run, [waves / f"{actor}.mp4" for actor in (1, 2, 3)], add="wave", out=out)
    return out


@pytest.fixture
def alone(tmp_path: Path, small_run: Path) -> Path:
    """The model of `small_run` without its run, so that its training clips are not at hand."""
    return Path(shutil.copytree(small_run / "model", tmp_path / "alone"))


def labels_of(model: Path, clips: list[Path]) -> list[str | None]:
    return [found.label for found in Predictor(model).predict(clips)]


def test_a_retrained_model_knows_the_new_class_and_has_not_forgotten_the_others(
    learnt: Path, waves: Path, small_set: Path
) -> None:
    assert load_model(learnt).labels == ("boxing", "walking", "wave")
    assert labels_of(learnt, [waves / "4.mp4", waves / "5.mp4"]) == ["wave", "wave"]
    trained_on = load_model(learnt).config.made_with["trained_on"]
    old = [path for path in sorted(small_set.glob("*/*.mp4")) if content_hash(path) in trained_on]
    assert labels_of(learnt, old) == [path.parent.name for path in old]


def test_learning_leaves_the_run_as_it_was(small_run: Path, waves: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in small_run.rglob("*") if path.is_file()}
    commands.learn(small_run, waves, add="wave", out=tmp_path / "new")
    assert {path: path.read_bytes() for path in small_run.rglob("*") if path.is_file()} == before
    with pytest.raises(UsageError, match="a model cannot be written to"):
        commands.learn(small_run, waves, add="wave", out=small_run)


def test_the_new_model_says_which_clips_were_added(learnt: Path, waves: Path, small_run: Path) -> None:
    made_with = json.loads((learnt / "config.json").read_text())["made_with"]
    hashes = [content_hash(waves / f"{actor}.mp4") for actor in (1, 2, 3)]
    assert [(clip["label"], clip["content"], clip["method"]) for clip in made_with["learnt"]] == [
        ("wave", content, "retrain") for content in hashes
    ]
    before = load_model(small_run).config.made_with["trained_on"]
    assert set(made_with["trained_on"]) == {*before, *hashes}


def test_test_clips_of_the_run_stay_held_out(learnt: Path, small_run: Path, small_set: Path) -> None:
    held_out = [
        path
        for path in small_set.glob("*/*.mp4")
        if content_hash(path) not in load_model(small_run).config.made_with["trained_on"]
    ]
    assert held_out
    assert not {content_hash(path) for path in held_out} & set(load_model(learnt).config.made_with["trained_on"])


def test_an_imprinted_class_is_known_and_the_logits_of_the_others_do_not_move(
    alone: Path, waves: Path, tmp_path: Path
) -> None:
    answer = commands.learn(alone, [waves / f"{actor}.mp4" for actor in (1, 2, 3)], add="wave", out=tmp_path / "new")
    assert answer.method == "imprint"
    assert any("not at hand" in note and "--data" in note for note in answer.notes)
    assert labels_of(tmp_path / "new", [waves / f"{actor}.mp4" for actor in (1, 2, 3)]) == ["wave"] * 3
    old, new = (load_model(folder).classifier.state_dict() for folder in (alone, tmp_path / "new"))
    rows = [name for name in old if ".linear." in name]
    assert len(rows) == 2 * len(load_model(alone).config.contract.streams)
    assert all(torch.equal(old[name], new[name][:-1]) for name in rows)
    assert all(torch.equal(old[name], new[name]) for name in old if name not in rows)


def test_a_class_can_be_learnt_from_one_clip_and_the_answer_says_that_it_is_few(
    small_run: Path, waves: Path, tmp_path: Path
) -> None:
    answer = commands.learn(small_run, waves / "1.mp4", add="  wave ", out=tmp_path / "new")
    assert (answer.label, answer.clips, answer.classes[-1]) == ("wave", 1, "wave")
    assert any("fewer than 5 clips: 'wave' (1)" in note for note in answer.notes)


def test_classes_are_added_one_after_the_other(learnt: Path, waves: Path, make_video: Callable[..., Path]) -> None:
    still = learnt.parent / "still.mp4"
    make_video(still, seconds=1.0, moving=False)
    answer = commands.learn(learnt, still, add="nothing", out=learnt.parent / "twice")
    assert answer.method == "retrain"
    assert answer.classes == ("boxing", "walking", "wave", "nothing")
    assert labels_of(learnt.parent / "twice", [still, waves / "4.mp4"]) == ["nothing", "wave"]


def test_a_moved_clip_of_an_earlier_class_is_named_and_the_next_class_is_imprinted(
    small_run: Path, waves: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copy(waves / "1.mp4", tmp_path / "copy.mp4"))
    commands.learn(small_run, copy, add="wave", out=tmp_path / "first")
    copy.unlink()
    answer = commands.learn(tmp_path / "first", waves / "2.mp4", add="other", out=tmp_path / "second")
    assert answer.method == "imprint"
    assert any("copy.mp4, which was added as 'wave', is gone" in note for note in answer.notes)
    with pytest.raises(DatasetError, match="is gone"):
        commands.learn(tmp_path / "first", waves / "2.mp4", add="other", out=tmp_path / "x", method="retrain")


def test_clips_are_added_to_a_class_that_the_model_has(
    small_run: Path, learnt: Path, waves: Path, tmp_path: Path
) -> None:
    answer = commands.learn(learnt, [waves / "3.mp4", waves / "4.mp4"], add="wave", out=tmp_path / "more")
    assert (answer.clips, answer.classes) == (1, ("boxing", "walking", "wave"))
    assert any("3.mp4 is a training clip of 'wave' already" in note for note in answer.notes)
    assert not any("fewer than" in note for note in answer.notes if "4" not in note)


def test_clips_of_a_known_class_are_refused_where_it_can_only_be_imprinted(
    alone: Path, waves: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"'walking' is a class of this model.*--data FOLDER"):
        commands.learn(alone, waves / "1.mp4", add="walking", out=tmp_path / "new")


def test_a_training_clip_of_another_class_is_refused(
    small_run: Path, alone: Path, small_set: Path, tmp_path: Path
) -> None:
    trained_on = load_model(small_run).config.made_with["trained_on"]
    clip = next(path for path in sorted(small_set.glob("walking/*.mp4")) if content_hash(path) in trained_on)
    with pytest.raises(DatasetError, match="is a training clip of 'walking', and cannot be 'wave' as well"):
        commands.learn(small_run, clip, add="wave", out=tmp_path / "new")
    with pytest.raises(DatasetError, match="is a training clip of this model"):
        commands.learn(alone, clip, add="wave", out=tmp_path / "new")
    with pytest.raises(UsageError, match=r"no clip to add to 'walking'.*already"):
        commands.learn(small_run, clip, add="walking", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_under_two_names_is_added_once(small_run: Path, waves: Path, tmp_path: Path) -> None:
    copy = shutil.copy(waves / "1.mp4", tmp_path / "copy.mp4")
    answer = commands.learn(small_run, [waves / "1.mp4", copy], add="wave", out=tmp_path / "new")
    assert answer.clips == 1
    assert any("is the same file as one before it" in note for note in answer.notes)


@pytest.mark.parametrize("label", ["", "  ", "a\nb"])
def test_an_empty_or_broken_label_is_refused(small_run: Path, waves: Path, tmp_path: Path, label: str) -> None:
    with pytest.raises(UsageError, match="is no label"):
        commands.learn(small_run, waves, add=label, out=tmp_path / "new")


def test_a_label_that_looks_like_a_known_one_is_refused(small_run: Path, waves: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="differ only in case"):
        commands.learn(small_run, waves, add="Walking", out=tmp_path / "new")


def test_no_clip_and_an_unusable_one_are_refused_before_anything_is_written(
    small_run: Path, waves: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(UsageError, match="no clip to add to 'wave'"):
        commands.learn(small_run, [], add="wave", out=tmp_path / "new")
    with pytest.raises(VideoError, match="not_video"):
        commands.learn(small_run, broken, add="wave", out=tmp_path / "new")
    with pytest.raises(DatasetError, match=r"1 clip of 2 cannot be used; leave them out: .*broken\.mp4: not_video"):
        commands.learn(small_run, [waves / "1.mp4", broken], add="wave", out=tmp_path / "new")
    with pytest.raises(VideoError, match="missing"):
        commands.learn(small_run, tmp_path / "nothing.mp4", add="wave", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_heads_with_more_than_a_linear_layer_are_retrained_and_not_imprinted(
    small_set: Path, waves: Path, small_changes: list[str], tmp_path: Path
) -> None:
    changes = [*small_changes, "head.name=tcn", "head.options={}"]
    commands.train(small_set, recipe="default-0.1", out=tmp_path / "run", set=changes)
    assert commands.learn(tmp_path / "run", waves, add="wave", out=tmp_path / "new").method == "retrain"
    with pytest.raises(UsageError, match="the head 'tcn' takes a new class only by training it again"):
        commands.learn(tmp_path / "run", waves, add="wave", out=tmp_path / "x", method="imprint")


def test_a_network_on_frames_is_told_to_be_trained_again(
    small_set: Path, waves: Path, small_changes: list[str], tmp_path: Path
) -> None:
    model = load_model(run_on_frames(tmp_path, small_set))
    save_model(model, tmp_path / "model")
    with pytest.raises(UsageError, match=r"is a network trained on frames.*call marey train"):
        commands.learn(tmp_path / "model", waves, add="wave", out=tmp_path / "new")


def run_on_frames(folder: Path, clips: Path) -> Path:
    """A run of a small network on frames."""
    changes = ["sampling.count=4", "encoder.size=32", "training.epochs=1", "training.inner_folds=1"]
    commands.train(clips, recipe="convlstm", out=folder / "frames", set=changes)
    return folder / "frames"


def test_the_command_line_adds_a_class_beside_the_run(
    call_marey: CallMarey, small_run: Path, waves: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    done = call_marey("learn", run, "--add", "wave", waves / "1.mp4", waves / "2.mp4", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["model"] == str(tmp_path / "run-wave")
    assert (answer["clips"], answer["classes"], answer["method"]) == (2, ["boxing", "walking", "wave"], "retrain")
    done = call_marey("learn", run, "--add", "wave", waves / "1.mp4")
    assert (done.code, "'wave' learnt from 1 clip" in done.out) == (0, True)
    assert call_marey("learn", run, "--add", "", waves / "1.mp4").code == 2


def test_training_says_which_classes_have_fewer_than_five_clips(
    small_set: Path, small_changes: list[str], tmp_path: Path
) -> None:
    clips = Path(shutil.copytree(small_set, tmp_path / "clips"))
    for path in sorted((clips / "boxing").iterdir())[3:]:
        path.unlink()
    said = Said()
    commands.train(clips, out=tmp_path / "run", set=small_changes, folds=3, reporter=said)
    assert "fewer than 5 clips: 'boxing' (3);" in said
