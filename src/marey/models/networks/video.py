"""Torchvision's video networks, fine-tuned or trained from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from torch import Tensor

from marey.encoders import VIDEO_NETWORKS, build_video_network, load_kinetics, load_local
from marey.models.networks.network import EndToEndModel, Shape
from marey.models.registry import register_head


class VideoNetwork(EndToEndModel):
    """A network of torchvision with a new last layer; `weights: pretrained` loads those of Kinetics-400."""

    name: ClassVar[str]

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        frames, channels, height, width = shape
        if channels != 3:
            raise ValueError(f"{self.name} takes three channels, not {channels}")
        self.network = build_video_network(self.name, frames=frames, size=(height, width), classes=classes)

    def load_pretrained(self, weights: str) -> None:
        """Load the weights of Kinetics-400, or of a file in torchvision's layout."""
        if weights == "pretrained":
            load_kinetics(self.network, self.name)
        else:
            load_local(self.network, Path(weights))

    def forward_clip(self, pixels: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        logits: Tensor = self.network(pixels.transpose(1, 2))
        return logits


def _register(name: str) -> None:
    about = VIDEO_NETWORKS[name]
    values = {"name": name, "mean": about.mean, "std": about.std, "__doc__": f"{name} of torchvision ({about.paper})."}
    register_head(name)(type(name, (VideoNetwork,), values))


for _name in VIDEO_NETWORKS:
    _register(_name)
