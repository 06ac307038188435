"""Augmentation: of frames (alike in all frames of a clip), and of features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

Share = Annotated[float, Field(ge=0, lt=1)]


class Augmentation(BaseModel):
    """Random changes to the frames of training clips, drawn anew for each clip and epoch.

    Attributes:
        crop: largest share of each side that is cut off; the rest is resized to the whole.
        shift: largest share of each side by which the image is moved, its edge repeated.
        flip: probability of exchanging left and right. Not for actions that differ in just that.
        brightness: largest share by which pixels become brighter or darker.
        contrast: largest share by which differences from the clip's mean grow or shrink.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop: Share = 0.0
    shift: Share = 0.0
    flip: Annotated[float, Field(ge=0, le=1)] = 0.0
    brightness: Share = 0.0
    contrast: Share = 0.0

    @property
    def moves(self) -> bool:
        """True when pixels change their place."""
        return self.crop > 0 or self.shift > 0 or self.flip > 0

    @property
    def colours(self) -> bool:
        """True when pixels change their value."""
        return self.brightness > 0 or self.contrast > 0


@dataclass(frozen=True)
class Draws:
    """Random numbers for the clips of a batch. They do not depend on which of the clips are worked on here.

    Attributes:
        generator: their source.
        count: number of clips in the batch.
        rows: the clips that are worked on, (B,); by default all.
    """

    generator: torch.Generator
    count: int
    rows: Tensor | None = None

    def own(self, values: Tensor) -> Tensor:
        """Return the rows of the clips that are worked on."""
        return values if self.rows is None else values[self.rows]

    def uniform(self, *shape: int) -> Tensor:
        """Draw numbers from 0 to 1, (B, *shape)."""
        return self.own(torch.rand(self.count, *shape, generator=self.generator))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Draw whole numbers, `low` included and `high` not, (B, *shape)."""
        return self.own(torch.randint(low, high, (self.count, *shape), generator=self.generator))


def augment(clips: Mapping[str, Tensor], augmentation: Augmentation, draws: Draws) -> dict[str, Tensor]:
    """Change the frames of clips at random, all streams of a clip alike.

    Args:
        clips: stream name to uint8 (B, T, C, H, W).
        augmentation: the limits of the changes.
        draws: source of random numbers.

    Returns:
        float32 (B, T, C, H, W) in 0 to 255; the clips themselves where nothing is to be changed.
    """
    changed = dict(clips)
    if augmentation.moves:
        theta = _affine(augmentation, draws)
        changed = {stream: _resample(values.float(), theta) for stream, values in changed.items()}
    if augmentation.colours:
        brightness, contrast = (
            1 + most * (2 * draws.uniform(1, 1, 1, 1) - 1) for most in (augmentation.brightness, augmentation.contrast)
        )
        changed = {stream: _adjust(values.float(), brightness, contrast) for stream, values in changed.items()}
    return changed


def _affine(augmentation: Augmentation, draws: Draws) -> Tensor:
    """Draw the part of the image that is kept, (B, 2, 3), as `affine_grid` takes it."""
    part = 1 - augmentation.crop * draws.uniform(2)
    # In grid coordinates the image goes from -1 to 1; the middle of the part may lie wherever the part fits.
    free = (1 - part) + 2 * augmentation.shift
    side = torch.where(draws.uniform() < augmentation.flip, -1.0, 1.0)
    theta = torch.zeros(len(part), 2, 3)
    theta[:, 0, 0] = part[:, 0] * side
    theta[:, 1, 1] = part[:, 1]
    theta[:, :, 2] = (2 * draws.uniform(2) - 1) * free
    return theta


def _resample(clips: Tensor, theta: Tensor) -> Tensor:
    merged = clips.flatten(1, 2)  # one grid a clip serves all of its frames and channels
    grid = affine_grid(theta, list(merged.shape), align_corners=False)
    return grid_sample(merged, grid, padding_mode="border", align_corners=False).view_as(clips)


def _adjust(clips: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    mean = clips.mean(dim=(1, 2, 3, 4), keepdim=True)
    return (((clips - mean) * contrast + mean) * brightness).clamp_(0, 255)


def temporal_jitter(features: Mapping[str, Tensor], reach: int, draws: Draws) -> dict[str, Tensor]:
    """Replace each frame's features by those of a frame at most `reach` places away, alike in all streams."""
    length = next(iter(features.values())).shape[1]
    places = torch.arange(length) + draws.integers(-reach, reach + 1, length)
    index = places.clamp_(0, length - 1).sort(dim=1).values.unsqueeze(-1)
    return {stream: values.gather(1, index.expand(values.shape)) for stream, values in features.items()}


def mixup(
    features: Mapping[str, Tensor], targets: Tensor, alpha: float, generator: torch.Generator
) -> tuple[dict[str, Tensor], Tensor]:
    """Mix each clip with another of its batch, and their targets in the same proportion (Zhang et al. 2018)."""
    other = torch.randperm(len(targets), generator=generator)
    # Two Gamma numbers make a Beta one; torch draws Gamma with a generator, and Beta only without.
    gamma = torch._standard_gamma(torch.full((2, len(targets)), alpha), generator=generator).clamp_min_(1e-12)
    share = gamma[0] / gamma.sum(0)
    mixed = {}
    for stream, values in features.items():
        numbers = values.float()
        mixed[stream] = torch.lerp(numbers[other], numbers, share.view(-1, *[1] * (values.ndim - 1)))
    return mixed, torch.lerp(targets[other], targets, share.view(-1, 1))


def frame_dropout_mask(length: int, probability: float, draws: Draws) -> Tensor:
    """Draw a mask (B, T) that is false with a probability; each clip keeps at least one frame."""
    mask = draws.uniform(length) >= probability
    one = draws.integers(0, length, 1)
    return mask.scatter_(1, one, value=True)
