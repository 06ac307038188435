"""A frozen network in PyTorch, the usual way: OpenCV reads every frame, torchvision's network looks at some of them.

Eager float32, clip by clip. Weights are random: what the network costs does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
import torchvision
from torch import Tensor, nn

_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)


def read_all(path: Path) -> list[Tensor]:
    """Every frame of a video, uint8 RGB (H, W, 3) each."""
    video = cv2.VideoCapture(str(path))
    frames = []
    while True:
        there, frame = video.read()
        if not there:
            break
        frames.append(torch.from_numpy(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)))
    video.release()
    return frames


def labeller(classes: int, *, frames: int = 16, size: int = 224) -> Callable[[Path], Tensor]:
    """Return a function from a file to the probabilities of its classes, by a ResNet50.

    Args:
        classes: number of them.
        frames: how many of each clip are looked at.
        size: height and width in pixels.
    """
    network = torchvision.models.resnet50(weights=None)
    network.fc = nn.Linear(network.fc.in_features, classes)
    network.eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))

    @torch.no_grad()
    def label(path: Path) -> Tensor:
        everything = read_all(path)
        chosen = [everything[index] for index in np.linspace(0, len(everything) - 1, frames).astype(int)]
        pictures = [torch.from_numpy(cv2.resize(frame.numpy(), (size, size))) for frame in chosen]
        pixels = (torch.stack(pictures).permute(0, 3, 1, 2).float() / 255 - mean) / std
        probabilities: Tensor = network(pixels).softmax(1).mean(0)
        return probabilities

    return label
