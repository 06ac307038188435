"""An image network of timm on every frame, whose last blocks are trained with the head."""

from __future__ import annotations

import re
from typing import Any, Self

import torch
from torch import Tensor, nn

from marey.encoders import EncoderSpec, load_timm_backbone, new_timm_network
from marey.errors import UsageError
from marey.models.heads import AttentionHead
from marey.models.networks.network import EndToEndModel, PerFrame, Shape
from marey.models.registry import register_head


@register_head("finetune")
class FineTunedEncoder(EndToEndModel):
    """An image network on each frame, its last blocks trained, and attention over the frames.

    The blocks before are frozen: their weights and statistics stay as they were, they drop nothing, and no gradient is
    computed in them. The saved model holds all weights, so that it needs no other file and no network.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        backbone: str = "efficientnet-lite0",
        unfreeze: int = 2,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(shape, classes)
        _, channels, height, width = shape
        if channels != 3:
            raise ValueError(f"{backbone} takes three channels, not {channels}: take the encoder 'pixels'")
        self.backbone = EncoderSpec(name=backbone, weights="random", size=(height, width))
        network: Any
        network, mean, std = new_timm_network(self.backbone)
        for module in network.modules():
            # Tables such as rotary positions are saved too: the network is loaded without being computed anew.
            module._non_persistent_buffers_set.clear()
        self.register_buffer("pixel_mean", torch.tensor(mean).view(-1, 1, 1) * 255)
        self.register_buffer("pixel_scale", 1 / (torch.tensor(std).view(-1, 1, 1) * 255))
        self._trained = last_blocks(network, unfreeze, backbone)
        network.requires_grad_(False)
        for module in self._trained:
            module.requires_grad_(True)
        self.frames = PerFrame(network)
        self.head = AttentionHead(int(network.num_features), classes, dropout=dropout)

    def train(self, mode: bool = True) -> Self:
        """Set the trained layers to training; the frozen ones stay in evaluation mode."""
        super().train(mode)
        self.frames.eval()
        for module in self._trained:
            module.train(mode)
        return self

    def load_pretrained(self, weights: str) -> None:
        """Load the pretrained weights of the network, or those of a file."""
        found = load_timm_backbone(self.backbone.model_copy(update={"weights": weights}))
        self.frames.network.load_state_dict(found.network.state_dict(), strict=False)

    def forward_clip(self, pixels: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        features = self.frames(pixels).flatten(2)
        mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        return self.head.forward_head(features, mask)


def last_blocks(network: Any, count: int, name: str) -> tuple[nn.Module, ...]:
    """Return the last blocks of a network and the layers after them.

    Args:
        network: of timm.
        count: number of blocks: layers of a transformer, stages of a convolutional network.
        name: of the network, for errors.

    Raises:
        UsageError: it has fewer blocks, or none that are known.
    """
    children = list(network.named_children())
    names = [each for each, _ in children]
    holder = next((each for each in ("blocks", "stages") if each in names), None)
    if holder is not None:
        blocks = list(getattr(network, holder).children())
        last = names.index(holder)
    else:
        stages = [each for each in names if re.fullmatch(r"layer\d+", each)]
        blocks = [getattr(network, each) for each in stages]
        last = names.index(stages[-1]) if stages else -1
    if not blocks:
        raise UsageError(
            f"{name} is not made of blocks that can be trained alone: choose another head.options.backbone"
        )
    if count > len(blocks):
        raise UsageError(f"{name} has {len(blocks)} blocks, and {count} are to be trained: lower head.options.unfreeze")
    return (*blocks[-count:], *(module for _, module in children[last + 1 :]))
