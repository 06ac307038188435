"""Train a small network on frames, alone or with the processes that the environment names."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from marey.errors import LostProcessError
from marey.models import Classifier, HeadSpec
from marey.training import FrameSet, Task, Training, checkpoint, fit, watched_epochs
from marey.training.augmentation import Augmentation
from marey.training.epochs import Epoch
from marey.training.process_group import process_group


def clip_set(count: int, *, seed: int) -> FrameSet:
    """Frames of noise, brighter from class to class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    noise = torch.randint(0, 60, (count, 4, 3, 32, 32), generator=generator)
    frames = (noise + 60 * labels.view(-1, 1, 1, 1, 1)).to(torch.uint8)
    return FrameSet((tuple({"a": clip} for clip in frames),), labels, 3, 4, 4)


def main() -> None:
    """Train for 5 epochs of 4 batches; the last batch has a single clip."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--kill-rank", type=int)
    given = arguments.parse_args()

    def on_epoch(epoch: Epoch) -> None:
        if epoch.number == 3 and os.environ["RANK"] == str(given.kill_rank):
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.CHECKPOINT_EVERY = 0.0  # type: ignore[misc]
    torch.manual_seed(0)
    options: dict[str, bool | int | float | str] = {"filters": 4, "dropout": 0.0}
    classifier = Classifier(HeadSpec(name="c3d-lstm-gru", options=options), {"a": (4, 3, 32, 32)}, 3)
    training = Training(epochs=5, batch_size=5, learning_rate=1e-3)
    changes = Augmentation(crop=0.1, flip=0.5, brightness=0.2)
    try:
        with process_group(devices=None, nodes=1, device="cpu", precision="float32", command=[]) as group:
            first = group is None or group.rank == 0
            task = Task(
                classifier,
                clip_set(16, seed=0),
                0,
                validation=clip_set(7, seed=1),
                log_dir=given.out if first else None,
            )
            with watched_epochs(on_epoch):
                result = fit(task, training, augmentation=changes, group=group)
            if first:
                save_file(result.classifier.state_dict(), given.out / "weights.safetensors")
                (given.out / "history.json").write_text(json.dumps(result.history))
    except LostProcessError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
