"""Extract features once, and train a head of your own on them in plain PyTorch: python examples/features.py [CLIPS]."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

import drawn


def main() -> None:
    """Train a linear classifier on the mean feature of each clip, and test it on people that it has not seen."""
    clips = sys.argv[1] if len(sys.argv) > 1 else str(drawn.clips())
    file = Path("runs/examples/features.npz")
    if not file.exists():
        command = [sys.executable, "-m", "marey", "extract", clips, "--recipe", "two-stream", "--out", str(file)]
        subprocess.run(command, check=True)  # noqa: S603
    with np.load(file) as stored:
        streams = [stored[name] for name in stored.files if name.startswith("features.")]  # (clips, frames, numbers)
        names, target = np.unique(stored["labels"], return_inverse=True)
        people = stored["groups"]
    inputs = torch.from_numpy(np.concatenate([stream.mean(axis=1) for stream in streams], axis=1))
    inputs = (inputs - inputs.mean(dim=0)) / (inputs.std(dim=0) + 1e-6)
    targets = torch.from_numpy(target)
    test = torch.from_numpy(np.isin(people, np.unique(people)[-2:]))  # the last two people

    torch.manual_seed(0)
    head = nn.Linear(inputs.shape[1], len(names))
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=1e-2)
    for _ in range(200):
        loss = nn.functional.cross_entropy(head(inputs[~test]), targets[~test], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    accuracy = (head(inputs[test]).argmax(dim=1) == targets[test]).float().mean().item()
    print(f"{len(names)} classes, {int(test.sum())} test clips of two people: accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
