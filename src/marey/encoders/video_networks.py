"""Torchvision's networks for video: built here, and run as frozen clip encoders; `models` fine-tunes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum, video

from marey.encoders.contract import EncoderSpec
from marey.encoders.encoder import Encoder, sides
from marey.encoders.frozen import Colour, FrozenNetwork
from marey.encoders.weights import NO_NETWORK, load_local, weights_hash
from marey.errors import UsageError, WeightsError, first_line


@dataclass(frozen=True)
class VideoNetwork:
    """One of torchvision's networks.

    Attributes:
        build: makes it, with random weights.
        weights: those of Kinetics-400.
        mean: of RGB in [0, 1], when they were trained.
        std: likewise.
        size: (H, W) in pixels, likewise.
        head: name of the layer, or of the sequence that ends in it, that gives the classes.
        frames: fewest that it can take.
        fixed: whether it is built for one size and one number of frames.
        paper: where it was described.
    """

    build: Callable[..., nn.Module]
    weights: WeightsEnum
    mean: Colour
    std: Colour
    size: tuple[int, int]
    head: str
    frames: int
    fixed: bool
    paper: str


_KINETICS: Final = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))

VIDEO_NETWORKS: Final[dict[str, VideoNetwork]] = {
    "r2plus1d-18": VideoNetwork(
        video.r2plus1d_18,
        video.R2Plus1D_18_Weights.KINETICS400_V1,
        *_KINETICS,
        (112, 112),
        "fc",
        1,
        False,
        "Tran et al. 2018",
    ),
    "s3d": VideoNetwork(
        video.s3d, video.S3D_Weights.KINETICS400_V1, *_KINETICS, (224, 224), "classifier", 14, False, "Xie et al. 2018"
    ),
    "mvit-v2-s": VideoNetwork(
        video.mvit_v2_s,
        video.MViT_V2_S_Weights.KINETICS400_V1,
        (0.45, 0.45, 0.45),
        (0.225, 0.225, 0.225),
        (224, 224),
        "head",
        16,
        True,
        "Li et al. 2022",
    ),
    "swin3d-t": VideoNetwork(
        video.swin3d_t,
        video.Swin3D_T_Weights.KINETICS400_V1,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        (224, 224),
        "head",
        2,
        False,
        "Liu et al. 2022",
    ),
}
"""By the names that recipes use."""


def build_video_network(name: str, *, frames: int, size: tuple[int, int], classes: int) -> nn.Module:
    """A network of torchvision with random weights, for clips (B, 3, T, H, W).

    Args:
        name: one of `VIDEO_NETWORKS`.
        frames: T.
        size: (H, W).
        classes: outputs; 0 for the features before the last layer.

    Raises:
        UsageError: the network cannot take clips of that length or size.
    """
    about = VIDEO_NETWORKS[name]
    if about.fixed and (frames, size) != (about.frames, about.size):
        raise UsageError(
            f"{name} is built for {about.frames} frames of {about.size[0]} x {about.size[1]} pixels, not {frames} of "
            f"{size[0]} x {size[1]}: --set sampling.count={about.frames} --set encoder.size={about.size[0]}"
        )
    if frames < about.frames:
        raise UsageError(f"{name} takes at least {about.frames} frames, not {frames}: --set sampling.count=16")
    network = about.build(weights=None, num_classes=classes or 1)
    if classes == 0:
        setattr(network, about.head, nn.Identity())
    return network


def load_kinetics(network: nn.Module, name: str) -> None:
    """Fill a network with torchvision's weights of Kinetics-400; its last layer is left as it is.

    Raises:
        WeightsError: they are not on this machine, and cannot be fetched.
    """
    about = VIDEO_NETWORKS[name]
    try:
        state = about.weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        reason = first_line(error)
        raise WeightsError(
            f"the weights of '{name}' (Kinetics-400) are not on this machine, and fetching them failed ({reason}). "
            f"{NO_NETWORK}; or train from nothing: weights=random"
        ) from error
    here = network.state_dict()
    fitting = {key: value for key, value in state.items() if not key.startswith(f"{about.head}.") and key in here}
    other = [key for key, value in fitting.items() if value.shape != here[key].shape]
    if other:
        raise WeightsError(
            f"the weights of '{name}' are for {about.size[0]} x {about.size[1]} pixels and {about.frames} frames, and "
            f"'{other[0]}' does not fit: take encoder.size={about.size[0]} and sampling.count={about.frames}"
        )
    network.load_state_dict(fitting, strict=False)


class ClipEncoder(Encoder):
    """One of torchvision's video networks, frozen: a clip becomes one vector.

    Args:
        spec: which, and which weights.
        frames: T of the clips, for networks that are built for one number of them.
        device: where it runs.
        engine: what runs it, see `ENGINES`.

    Raises:
        WeightsError: its weights cannot be had.
        UsageError: it cannot do what the spec asks, or the engine cannot run it.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        *,
        frames: int,
        device: str | torch.device = "cpu",
        engine: str | None = "pytorch",
    ) -> None:
        super().__init__()
        if spec.grid is not None:
            raise UsageError(f"{spec.name} gives one vector a clip, and has no grid: leave encoder.grid out")
        about = VIDEO_NETWORKS[spec.name]
        size = sides(spec.size, about.size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build_video_network(spec.name, frames=frames, size=size, classes=0)
        if spec.weights == "pretrained":
            load_kinetics(network, spec.name)
        elif spec.weights != "random":
            load_local(network, Path(spec.weights))
        frozen = FrozenNetwork(
            network,
            _vector_of,
            spec=spec,
            hash=weights_hash(network),
            shape=(frames, 3, *size),
            mean=about.mean,
            std=about.std,
            interpolation="bilinear",
        )
        self.start(frozen, device=device, engine=engine)

    def encode_clips(self, clips: Tensor) -> Tensor:
        """uint8 (N, T, 3, H, W) to float32 (N, 1, D)."""
        self.check(clips, many="N, T")
        self.count(len(clips.flatten(0, 1)))
        return self._engine.run(clips).unsqueeze(1)


def _vector_of(network: Any, pixels: Tensor) -> Tensor:
    return cast(Tensor, network(pixels.transpose(1, 2))).flatten(1)
