"""Processes that train one model together."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from marey import commands
from marey.errors import UsageError
from marey.training import FrameSet, Training, TrainingBatches
from marey.training.augmentation import Augmentation
from marey.training.batches import Part
from marey.training.process_group import process_group

ALONG = Path(__file__).with_name("train_together.py")


def clip_set(count: int) -> FrameSet:
    generator = torch.Generator().manual_seed(0)
    clips = tuple(
        {"a": torch.randint(0, 256, (4, 3, 8, 8), generator=generator, dtype=torch.uint8)} for _ in range(count)
    )
    return FrameSet((clips, clips), torch.arange(count) % 3, 3, 4, 4)


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_the_parts_of_a_batch_make_the_batch_of_one_process(mixup: float) -> None:
    training = Training(batch_size=5, frame_dropout=0.2, mixup=mixup)
    changes = Augmentation(crop=0.3, shift=0.1, flip=0.5, brightness=0.2, contrast=0.2)

    def batches(part: Part) -> TrainingBatches:
        return TrainingBatches(clip_set(11), training, seed=3, augmentation=changes, part=part)

    whole, parts = batches(Part(0, 1)), [batches(Part(rank, 2)) for rank in range(2)]
    for batch, *each in zip(whole, *parts, strict=True):
        for rank, part in enumerate(each):
            if part.weight:
                torch.testing.assert_close(part.features["a"], batch.features["a"][rank::2])
                assert torch.equal(part.mask, batch.mask[rank::2])
                torch.testing.assert_close(part.targets, batch.targets[rank::2])
        assert sum(part.weight for part in each) == pytest.approx(2)


def test_a_process_that_is_left_without_a_clip_of_the_last_batch_counts_for_nothing() -> None:
    batches = TrainingBatches(clip_set(6), Training(batch_size=5), seed=0, part=Part(1, 2))
    assert [(len(batch.targets), batch.weight) for batch in batches] == [(2, 0.8), (1, 0.0)]


@pytest.mark.parametrize(("devices", "nodes", "word"), [(0, 1, "--devices 0"), (None, 0, "--nodes 0")])
def test_fewer_than_one_device_is_refused(devices: int | None, nodes: int, word: str) -> None:
    with (
        pytest.raises(UsageError, match=word),
        process_group(devices=devices, nodes=nodes, device="cpu", precision="float32", command=[]),
    ):
        pass


def test_several_machines_need_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with (
        pytest.raises(UsageError, match="torchrun --nnodes 2"),
        process_group(devices=4, nodes=2, device="cpu", precision="float32", command=[]),
    ):
        pass


def test_numbers_that_differ_from_the_launchers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "4", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(UsageError, match="started 4 processes, and --devices 2 --nodes 1 ask for 2"),
        process_group(devices=2, nodes=1, device="cpu", precision="float32", command=[]),
    ):
        pass


def test_a_head_on_features_is_not_trained_by_several_processes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes seconds on one device"):
        commands.train(tmp_path, recipe="chronophotograph", out=tmp_path / "run", devices=2)


def start(size: int, out: Path, *options: str) -> list[subprocess.Popen[str]]:
    """Start processes that train together, one or several."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"OMP_NUM_THREADS": "1", "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    given |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)} if size > 1 else {}
    return [
        subprocess.Popen(  # noqa: S603 - a script of these tests
            [sys.executable, str(ALONG), str(out), *options],
            env={**os.environ, **given, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def train(size: int, out: Path, *options: str) -> dict[str, Any]:
    """Train, and return the weights and the history."""
    started = start(size, out, *options)
    for process in started:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    return {**load_file(out / "weights.safetensors"), **json.loads((out / "history.json").read_text())}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        torch.testing.assert_close(
            torch.as_tensor(other[name]), torch.as_tensor(values), atol=1e-5, rtol=1e-5, msg=f"{name} differs"
        )


@pytest.mark.long
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    assert_same(train(1, tmp_path / "one"), train(2, tmp_path / "two"))


@pytest.mark.long
def test_a_training_whose_process_was_killed_goes_on_with_another_number_of_them(tmp_path: Path) -> None:
    whole = train(1, tmp_path / "whole")
    first, second = start(2, tmp_path / "killed", "--kill-rank", "1")
    second.communicate(timeout=300)
    _, said = first.communicate(timeout=300)
    assert first.returncode == 1
    assert "another process of this training has ended" in said
    assert (tmp_path / "killed" / "last.ckpt").is_file()
    assert_same(whole, train(1, tmp_path / "killed"))
