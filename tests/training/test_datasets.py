from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from marey import commands
from marey.data import Clip, ClipSet, Manifest, load_data, read_source, write_manifest
from marey.encoders import Contract, load_encoder, read_clip
from marey.errors import DatasetError, UsageError, VideoError
from marey.training import ClipDataset, FeatureDataset, load_recipe
from marey.training.frame_arrays import write_frame_arrays

SMALL = ("sampling.count=4", "encoder.size=[20, 24]")


@pytest.fixture
def split_set(small_set: Path, tmp_path: Path) -> Path:
    """A manifest of the small set: eight clips of four people to train on, four to test."""
    clips = []
    for clip in load_data(small_set).clips:
        part = "test" if int(clip.path.name[6:8]) > 4 else "train"
        clips.append(Clip(clip.path, clip.label, clip.group, split=part))  # type: ignore[arg-type]
    write_manifest(Manifest(tuple(clips), tmp_path, "", ""), tmp_path / "manifest.csv")
    return tmp_path / "manifest.csv"


def test_an_item_is_what_the_recipe_reads_for_evaluation(split_set: Path) -> None:
    dataset = ClipDataset(split_set, recipe="cnn-lstm", changes=SMALL, split="train")
    recipe = load_recipe("cnn-lstm", changes=SMALL)
    encoder = load_encoder(recipe.encoder, frames=4)
    contract = Contract.from_recipe(recipe, encoder)
    frames, target = dataset[3]
    read = encoder.encode_clips(read_clip(dataset.clips[3], contract)["appearance"][None])[0]
    assert torch.equal(frames, read)
    assert frames.shape == dataset.shape == (4, 1, 20, 24)
    assert (len(dataset), dataset.classes) == (8, ("boxing", "walking"))
    assert dataset.classes[target] == dataset.clips[3].label


def test_a_recipe_on_features_gives_the_frames_before_its_encoder(split_set: Path) -> None:
    dataset = ClipDataset(split_set, recipe="frame-average", changes=("sampling.count=2",))
    assert dataset[0][0].shape == (2, 3, 224, 224)
    several = ClipDataset(split_set, recipe="bilstm", changes=("sampling.count=2",))
    assert set(several[0][0]) == {"difference", "triplet"}


def test_workers_give_the_same_items_as_one_process(split_set: Path) -> None:
    dataset = ClipDataset(split_set, recipe="lrcn-small", changes=SMALL)
    alone = [frames for frames, _ in DataLoader(dataset, batch_size=4)]
    beside = [frames for frames, _ in DataLoader(dataset, batch_size=4, num_workers=2)]
    assert all(torch.equal(one, other) for one, other in zip(alone, beside, strict=True))
    assert len(pickle.loads(pickle.dumps(dataset))) == 12  # noqa: S301 - for workers that are spawned


def test_random_timestamps_follow_the_seed_of_pytorch(split_set: Path) -> None:
    dataset = ClipDataset(split_set, recipe="lrcn-small", changes=("sampling.count=2", "encoder.size=32"), random=True)
    torch.manual_seed(0)
    first, second = dataset[0][0], dataset[0][0]
    torch.manual_seed(0)
    assert torch.equal(dataset[0][0], first)
    assert not torch.equal(first, second)


def test_clips_without_labels_have_the_number_minus_one_and_an_unknown_part_is_refused(small_set: Path) -> None:
    manifest = load_data(small_set)
    unlabelled = Manifest(tuple(Clip(clip.path) for clip in manifest.clips[:1]), small_set, "it", "")
    assert ClipDataset(unlabelled, recipe="lrcn-small", changes=SMALL)[0][1] == -1
    with pytest.raises(DatasetError, match="has no clips of the part 'val': make one with `marey data split`"):
        ClipDataset(manifest, recipe="lrcn-small", split="val")


def test_features_are_read_from_a_folder_and_from_a_file(split_set: Path, tmp_path: Path) -> None:
    changes = ["sampling.count=2", "encoder.name=mobilenetv3_small_050", "encoder.weights=random", "encoder.size=64"]
    for name in ("features", "features.npz"):
        commands.extract(split_set, out=tmp_path / name, recipe="bilstm", set=changes)
        dataset = FeatureDataset(tmp_path / name, split="test")
        values, target = dataset[1]
        assert set(values) == {"difference", "triplet"}
        one = FeatureDataset(tmp_path / name, split="test", streams=("triplet",))
        assert torch.equal(one[1][0], values["triplet"])
        assert dataset.classes[target] == dataset.clips[1].label
        batch, targets = next(iter(DataLoader(one, batch_size=4, num_workers=1)))
        assert (batch.shape[:2], batch.dtype, targets.shape) == ((4, 2), torch.float32, (4,))
        with pytest.raises(UsageError, match="has no stream 'colour', but difference, triplet"):
            FeatureDataset(tmp_path / name, streams=("colour",))


@pytest.mark.parametrize("name", ["clips.npz", "clips"])
def test_exported_frames_are_those_of_the_data_set_and_can_be_imported_again(
    name: str, split_set: Path, tmp_path: Path
) -> None:
    done = commands.data_export.export_data(
        split_set,
        as_="frames",
        recipe="lrcn-small",
        set=["sampling.count=3", "encoder.size=[16, 24]"],
        out=tmp_path / name,
    )
    assert done.as_dict()["arrays"] == {"X_train": [8, 3, 16, 24, 3], "X_test": [4, 3, 16, 24, 3]}
    given: Any = (
        np.load(tmp_path / name)
        if name.endswith("npz")
        else {path.stem: np.load(path, mmap_mode="r") for path in (tmp_path / name).glob("*.npy")}
    )
    dataset = ClipDataset(
        split_set, recipe="lrcn-small", changes=("sampling.count=3", "encoder.size=[16, 24]"), split="test"
    )
    for row in range(len(dataset)):
        frames, target = dataset[row]
        assert (given["X_test"][row] == frames.permute(0, 2, 3, 1).numpy()).all()
        assert given["y_test"][row] == target
    assert given["classes"].tolist() == ["boxing", "walking"]
    if name == "clips":
        listed = json.loads((tmp_path / name / "clips.json").read_text(encoding="utf-8"))
        assert [entry["group"] for entry in listed["X_test"]] == [clip.group for clip in dataset.clips]
    again = read_source(tmp_path / name)
    assert isinstance(again, ClipSet)
    assert [clip.label for clip in again.clips if clip.split == "test"] == [clip.label for clip in dataset.clips]
    with pytest.raises(UsageError, match="exists, and is left as it is"):
        commands.data_export.export_data(split_set, as_="frames", recipe="lrcn-small", out=tmp_path / name)


def test_a_clip_that_cannot_be_used_stops_an_export_or_is_left_out(small_set: Path, tmp_path: Path) -> None:
    manifest = load_data(small_set)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    clips = (Clip(tmp_path / "broken.mp4", "boxing"), *manifest.clips[:3])
    dataset = ClipDataset(Manifest(clips, tmp_path, "it", ""), recipe="lrcn-small", changes=SMALL)
    with pytest.raises(VideoError):
        dataset[0]
    with pytest.raises(DatasetError, match=r"1 clip cannot be used: .*not_video.*; --on-error skip leaves them out"):
        write_frame_arrays(dataset, tmp_path / "a.npz")
    assert not list(tmp_path.glob("*.npz"))
    written = write_frame_arrays(dataset, tmp_path / "a.npz", unusable="leave-out", workers=1)
    assert written.shapes == {"X": (3, 4, 20, 24, 3)}
    assert [fault.reason for fault in written.left_out] == ["not_video"]
    assert np.load(tmp_path / "a.npz")["X"].shape == (3, 4, 20, 24, 3)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".marey")]


def test_an_export_that_the_disk_has_no_room_for_is_refused(split_set: Path, tmp_path: Path) -> None:
    huge = ClipDataset(split_set, recipe="lrcn-small", changes=("sampling.count=100000", "encoder.size=4096"))
    with pytest.raises(UsageError, match="choose fewer frames or a smaller size with --set"):
        write_frame_arrays(huge, tmp_path / "huge.npz")


def test_a_list_of_an_export_is_imported_as_the_same_clips(call_marey: Any, split_set: Path, tmp_path: Path) -> None:
    done = call_marey("data", "export", split_set, "--as", "list", "--out", tmp_path / "metadata.csv")
    assert done.code == 0
    again = commands.exchange.import_data(tmp_path / "metadata.csv", out=tmp_path / "again")
    before = load_data(split_set).clips
    assert [(clip.path, clip.label, clip.split) for clip in again.manifest.clips] == [
        (clip.path, clip.label, clip.split) for clip in before
    ]


def test_an_export_without_a_form_is_that_of_features_as_before(
    call_marey: Any, small_set: Path, tmp_path: Path
) -> None:
    changes = ("sampling.count=2", "encoder.name=mobilenetv3_small_050", "encoder.weights=random", "encoder.size=64")
    sets = [part for change in changes for part in ("--set", change)]
    done = call_marey("data", "export", small_set, "--out", tmp_path / "f.npz", "--recipe", "frame-average", *sets)
    assert done.code == 0, done.err
    assert len(FeatureDataset(tmp_path / "f.npz")) == 12
