"""What may be done to the pictures of a clip while a network learns: the same to all frames of a clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

Share = Annotated[float, Field(ge=0, lt=1)]


class Augmentation(BaseModel):
    """Changes that chance makes to training clips, one draw a clip and epoch; for networks on pictures.

    Attributes:
        crop: largest share of each side that is cut off; what is left is resized to the whole.
        shift: largest share of each side by which the picture is moved, its edge repeated.
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
        """Whether pictures change their place."""
        return self.crop > 0 or self.shift > 0 or self.flip > 0

    @property
    def colours(self) -> bool:
        """Whether pixels change their value."""
        return self.brightness > 0 or self.contrast > 0


def augment(clips: Mapping[str, Tensor], augmentation: Augmentation, chance: torch.Generator) -> dict[str, Tensor]:
    """Clips as chance changes them.

    Args:
        clips: stream name to uint8 (B, T, C, H, W).
        augmentation: how much.
        chance: of this batch.

    Returns:
        float32 (B, T, C, H, W) in 0 to 255, all streams of a clip changed alike; the clips themselves where nothing
        is to be changed.
    """
    changed = dict(clips)
    count = len(next(iter(clips.values())))
    if augmentation.moves:
        theta = _placement(count, augmentation, chance)
        changed = {stream: _moved(values.float(), theta) for stream, values in changed.items()}
    if augmentation.colours:
        brightness, contrast = (
            1 + most * (2 * torch.rand(count, 1, 1, 1, 1, generator=chance) - 1)
            for most in (augmentation.brightness, augmentation.contrast)
        )
        changed = {stream: _coloured(values.float(), brightness, contrast) for stream, values in changed.items()}
    return changed


def _placement(count: int, augmentation: Augmentation, chance: torch.Generator) -> Tensor:
    """Which part of the picture is looked at: (B, 2, 3), as `affine_grid` takes it."""
    part = 1 - augmentation.crop * torch.rand(count, 2, generator=chance)
    # In the coordinates of a grid a picture goes from -1 to 1: its middle may lie wherever the part that is taken fits.
    free = (1 - part) + 2 * augmentation.shift
    turned = torch.where(torch.rand(count, generator=chance) < augmentation.flip, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = part[:, 0] * turned
    theta[:, 1, 1] = part[:, 1]
    theta[:, :, 2] = (2 * torch.rand(count, 2, generator=chance) - 1) * free
    return theta


def _moved(clips: Tensor, theta: Tensor) -> Tensor:
    merged = clips.flatten(1, 2)  # one grid a clip serves all of its frames and colours
    grid = affine_grid(theta, list(merged.shape), align_corners=False)
    return grid_sample(merged, grid, padding_mode="border", align_corners=False).view_as(clips)


def _coloured(clips: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    mean = clips.mean(dim=(1, 2, 3, 4), keepdim=True)
    return (((clips - mean) * contrast + mean) * brightness).clamp_(0, 255)
