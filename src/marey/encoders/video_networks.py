"""Torchvision's video networks as frozen encoders, one vector a clip; `models` fine-tunes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor, nn

from marey.encoders.backbone import Colour, FrozenBackbone
from marey.encoders.contract import EncoderSpec
from marey.encoders.encoder import Encoder, hw
from marey.encoders.registry import Architecture, EncoderFamily, WeightsOrigin, register_encoder
from marey.encoders.trainable import TrainableNetwork, stages_by_name
from marey.encoders.weights import NO_NETWORK, load_local, weights_hash
from marey.errors import UsageError, WeightsError, first_line

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum


@dataclass(frozen=True)
class VideoNetwork:
    """One of torchvision's networks.

    Attributes:
        builder: torchvision's function that builds it.
        enum: torchvision's name of its weights.
        mean: of RGB in [0, 1], when they were trained.
        std: likewise.
        size: (H, W) in pixels, likewise.
        head: name of the layer, or of the sequence that ends in it, that gives the classes.
        frames: the smallest T.
        paper: where it was described.
        fixed: True if it is built for one size and one number of frames.
        exportable: see `FrozenBackbone`.
    """

    builder: str
    enum: str
    mean: Colour
    std: Colour
    size: tuple[int, int]
    head: str
    frames: int
    paper: str
    fixed: bool = False
    exportable: bool = True

    def build(self, classes: int) -> nn.Module:
        """Return the network with random weights."""
        from torchvision.models import video

        return cast(nn.Module, getattr(video, self.builder)(weights=None, num_classes=classes))

    @property
    def weights(self) -> WeightsEnum:
        """Its weights of Kinetics-400."""
        from torchvision.models import video

        return cast("WeightsEnum", getattr(video, self.enum).KINETICS400_V1)


_KINETICS: Final = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

VIDEO_NETWORKS: Final[dict[str, VideoNetwork]] = {
    "r2plus1d-18": VideoNetwork(
        "r2plus1d_18", "R2Plus1D_18_Weights", *_KINETICS, (112, 112), "fc", 1, "Tran et al. 2018"
    ),
    "s3d": VideoNetwork("s3d", "S3D_Weights", *_KINETICS, (224, 224), "classifier", 14, "Xie et al. 2018"),
    "mvit-v2-s": VideoNetwork(
        "mvit_v2_s",
        "MViT_V2_S_Weights",
        (0.45, 0.45, 0.45),
        (0.225, 0.225, 0.225),
        (224, 224),
        "head",
        16,
        "Li et al. 2022",
        fixed=True,
        exportable=False,  # the exporter works on it for minutes, and cannot be stopped
    ),
    "swin3d-t": VideoNetwork("swin3d_t", "Swin3D_T_Weights", *_IMAGENET, (224, 224), "head", 2, "Liu et al. 2022"),
}
"""By the names that recipes use."""


def build_video_network(name: str, *, frames: int, size: tuple[int, int], classes: int) -> nn.Module:
    """Return a network of torchvision with random weights, for clips (B, 3, T, H, W).

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
    network = about.build(classes or 1)
    if classes == 0:
        setattr(network, about.head, nn.Identity())
    return network


def load_kinetics(network: nn.Module, name: str) -> None:
    """Load torchvision's weights of Kinetics-400 into a network, all but the last layer.

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
        spec: the network and its weights.
        frames: T of the clips.
        device: where it runs.
        engine: runtime, see `ENGINES`.

    Raises:
        WeightsError: its weights cannot be fetched.
        UsageError: it cannot do what the spec asks for, or the engine cannot run it.
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
        about = VIDEO_NETWORKS[spec.name]
        size = hw(spec.size, about.size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = _with_weights(spec, frames=frames, size=size)
        frozen = FrozenBackbone(
            network,
            _vector_of,
            spec=spec,
            hash=weights_hash(network),
            shape=(frames, 3, *size),
            mean=about.mean,
            std=about.std,
            interpolation="bilinear",
            exportable=about.exportable,
        )
        self.setup(frozen, device=device, engine=engine)


@register_encoder(*VIDEO_NETWORKS)
class VideoNetworkFamily(EncoderFamily):
    """Torchvision's video networks."""

    def load(self, spec: EncoderSpec, *, frames: int, device: str | torch.device, engine: str | None) -> ClipEncoder:
        """Return the encoder with its weights."""
        return ClipEncoder(spec, frames=frames, device=device, engine=engine)

    def meta(self, spec: EncoderSpec, *, frames: int) -> Architecture:
        """Return the network without weights, of a clip."""
        size = hw(spec.size, VIDEO_NETWORKS[spec.name].size)
        network = build_video_network(spec.name, frames=frames, size=size, classes=0).eval()
        example = torch.empty(1, 3, frames, *size)
        dim = network(example).flatten(1).shape[1]
        return Architecture(network, network, example, size, True, (dim,), 1)

    def trainable(self, spec: EncoderSpec, configuration: Mapping[str, Any], *, frames: int) -> TrainableNetwork:
        """Return the network, of clips; its blocks are layers of a transformer, or stages of a convolutional one."""
        about = VIDEO_NETWORKS[spec.name]
        size = hw(spec.size, about.size)
        network = _with_weights(spec, frames=frames, size=size)
        with torch.device("meta"):
            dim = self.meta(spec, frames=frames).shape[0]
        return TrainableNetwork(
            network,
            _vector_of,
            per_image=False,
            stages=stages_by_name(network, "blocks", "features"),
            mean=about.mean,
            std=about.std,
            size=size,
            dim=dim,
        )

    def pretrained(self, name: str) -> WeightsOrigin:
        """Return torchvision's name of the weights; it states their size in MiB."""
        known = VIDEO_NETWORKS[name].weights
        return WeightsOrigin("download", str(known), round(known.meta["_file_size"] * 2**20))


def _with_weights(spec: EncoderSpec, *, frames: int, size: tuple[int, int]) -> nn.Module:
    """Return the network of a spec without its last layer.

    Raises:
        UsageError: a grid is asked for, or it cannot take such clips.
        WeightsError: its weights cannot be loaded.
    """
    if spec.grid is not None:
        raise UsageError(f"{spec.name} gives one vector a clip, and has no grid: leave encoder.grid out")
    network = build_video_network(spec.name, frames=frames, size=size, classes=0)
    if spec.weights == "pretrained":
        load_kinetics(network, spec.name)
    elif spec.weights != "random":
        load_local(network, Path(spec.weights))
    return network


def _vector_of(network: Any, pixels: Tensor) -> Tensor:
    return cast(Tensor, network(pixels.transpose(1, 2))).flatten(1)
