"""An encoder and a head on its features, from raw frames to logits: a part of the encoder is trained with the head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

from marey.encoders import BackboneSpec, TrainableNetwork, trainable
from marey.errors import UsageError, WeightsError
from marey.models.fine_tuning import FineTuning
from marey.models.head import Head
from marey.models.networks.adapters import add_adapters, called_layers, merge_adapters
from marey.models.networks.network import EndToEndModel, Shape
from marey.models.registry import create_head

_MOST_NUMBERS: Final = 2**26
_MOST_CLIPS: Final = 512
"""Numbers, a quarter of a gigabyte, and clips that the scale of the features is measured on."""


class Frames(nn.Module):
    """An encoder on clips: normalised frames (B, T, C, H, W) to features (B, T', D)."""

    def __init__(self, found: TrainableNetwork) -> None:
        super().__init__()
        self.network = found.network
        self._read, self._per_image = found.read, found.per_image

    def forward(self, clips: Tensor) -> Tensor:
        """Encode clips."""
        features: Tensor = self._read(self.network, clips.flatten(0, 1) if self._per_image else clips)
        return features.reshape(len(clips), -1, features.shape[-1])


class FineTunedEncoder(EndToEndModel):
    """An encoder, of which the last blocks or low-rank adapters are trained, and a head on its features.

    What is not trained stays as it was: its weights and statistics do not change, it drops nothing, and no gradient is
    computed in it. The saved model holds all weights, so that it needs no other file, no network and no peft.

    Args:
        shape: of the clips, (T, C, H, W).
        classes: number of labels.
        backbone: the encoder.
        head: a registered name; it takes features.
        options: of the head.
    """

    def __init__(
        self, shape: Shape, classes: int, *, backbone: BackboneSpec, head: str, options: Mapping[str, Any]
    ) -> None:
        super().__init__(shape, classes)
        frames, channels, height, width = shape
        if channels != 3:
            raise UsageError(
                f"{backbone.name} takes frames of three channels, not {channels}: take the encoder 'pixels', and "
                "head.fusion=late, by which each stream has an encoder of its own"
            )
        self.backbone = backbone
        found = trainable(backbone, frames=frames, size=(height, width))
        self.frames = Frames(found)
        self.frames.requires_grad_(False)
        self._set_colours(found)
        self._stages = found.stages
        self._trained: tuple[nn.Module, ...] = ()
        self.head: Head = create_head(head, (found.dim,), classes, options)

    def begin_training(self, tuning: FineTuning) -> None:
        """Choose what is trained with the head.

        Raises:
            UsageError: the encoder has no such blocks or layers, or peft is not installed.
        """
        network, name = self.frames.network, self.backbone.name
        self.frames.requires_grad_(False)
        self._trained = self._last_blocks(tuning.unfreeze)
        for module in self._trained:
            module.requires_grad_(True)
        if tuning.lora is not None:
            self._trained = add_adapters(network, tuning.lora, called=self._called(), name=name)

    def finish_training(self) -> None:
        """Merge adapters into the weights."""
        merge_adapters(self.frames.network)
        self._trained = ()

    def train(self, mode: bool = True) -> Self:
        """Set what is trained to training; the rest stays in evaluation mode."""
        super().train(mode)
        self.frames.eval()
        for module in self._trained:
            module.train(mode)
        return self

    def load_pretrained(self, weights: str) -> None:
        """Load the pretrained weights of the encoder, or those of a file or folder, and its normalisation."""
        frames, _, height, width = self.shape
        found = trainable(self.backbone, frames=frames, size=(height, width), weights=weights)
        try:
            self.frames.network.load_state_dict(found.network.state_dict())
        except RuntimeError as error:
            raise WeightsError(
                f"the weights '{weights}' are not those of the configuration that the recipe has of "
                f"'{self.backbone.name}': begin from encoder.weights={weights} again"
            ) from error
        self._set_colours(found)

    @torch.no_grad()
    def fit_to_clips(self, clips: Iterable[Tensor]) -> None:
        """Fit the fixed parts of the head to the features of training clips, (B, T, C, H, W) each, as they begin."""
        found: list[Tensor] = []
        seen = 0
        for batch in clips:
            seen += len(batch)
            features = self.frames(self._normalised(batch))
            found.append(self.head.pool(features, None))
            if seen >= _MOST_CLIPS or sum(each.numel() for each in found) >= _MOST_NUMBERS:
                break
        self.head.fit_normalizer(torch.cat(found))

    def forward_clip(self, pixels: Tensor) -> Tensor:
        """Return logits, (B, classes)."""
        features = self.frames(pixels)
        mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        logits: Tensor = self.head(features, mask)
        return logits

    def penalty(self) -> Tensor | None:
        """Return that of the head."""
        return self.head.penalty()

    def _last_blocks(self, count: int) -> tuple[nn.Module, ...]:
        """Return the last blocks of the encoder and the layers after and between them.

        Raises:
            UsageError: it has fewer blocks, or none that are known.
        """
        name = self.backbone.name
        if count == 0:
            return ()
        if not self._stages:
            raise UsageError(
                f"{name} is not made of blocks that can be trained alone: choose another encoder, or leave "
                "training.unfreeze out"
            )
        if count > len(self._stages):
            raise UsageError(
                f"{name} has {len(self._stages)} blocks, and {count} are to be trained: lower training.unfreeze"
            )
        return tuple(module for stage in self._stages[-count:] for module in stage)

    def _called(self) -> frozenset[str]:
        """Return the paths of the linear layers that the encoder calls, found without values."""
        frames, _, height, width = self.shape
        with torch.device("meta"):
            twin = Frames(trainable(self.backbone, frames=frames, size=(height, width)))
            return called_layers(twin.network, lambda: twin(torch.empty(1, *self.shape)))

    def _set_colours(self, found: TrainableNetwork) -> None:
        self.register_buffer("pixel_mean", torch.tensor(found.mean).view(-1, 1, 1) * 255)
        self.register_buffer("pixel_scale", 1 / (torch.tensor(found.std).view(-1, 1, 1) * 255))
