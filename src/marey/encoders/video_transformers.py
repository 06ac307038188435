"""Self-supervised video transformers of Hugging Face, frozen: a clip becomes tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor

from marey.encoders.backbone import Colour, FrozenBackbone, average_over
from marey.encoders.contract import EncoderSpec
from marey.encoders.encoder import Encoder, hw
from marey.encoders.registry import Architecture, EncoderFamily, WeightsOrigin, register_encoder
from marey.encoders.weights import NO_NETWORK, offline_if_unreachable, weights_hash
from marey.errors import UsageError, WeightsError, first_line
from marey.extras import install_command

_IMAGENET: Final[tuple[Colour, Colour]] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class VideoTransformer:
    """One of the architectures.

    Attributes:
        model: its class in `transformers`.
        config: the class of its configuration.
        repository: of its weights, on the hub.
        download: bytes of them, about, with the layers that only training needs.
        side: key of its configuration for the size of the input.
        frames: key that fixes T; None where it takes any number.
        paper: where it was described.
    """

    model: str
    config: str
    repository: str
    download: int
    side: str
    frames: str | None
    paper: str


VIDEO_TRANSFORMERS: Final = {
    "videomae": VideoTransformer(
        "VideoMAEModel",
        "VideoMAEConfig",
        "MCG-NJU/videomae-base",
        377_000_000,
        "image_size",
        "num_frames",
        "Tong et al. 2022",
    ),
    "vjepa2": VideoTransformer(
        "VJEPA2Model",
        "VJEPA2Config",
        "facebook/vjepa2-vitl-fpc64-256",
        1_304_000_000,
        "crop_size",
        None,
        "Assran et al. 2025",
    ),
}
"""By the names that recipes use. Both were trained with ImageNet's mean and deviation."""


class TokenEncoder(Encoder):
    """A video transformer, frozen: each clip becomes tokens, timestamp by timestamp, patch by patch.

    Args:
        spec: `weights` is "pretrained", "random", a folder that `transformers` has written, or a repository of the
            hub; `grid` averages the patches of each timestamp over rows and columns, None keeps every token.
        frames: T of the clips.
        device: where it runs.
        engine: runtime, see `ENGINES`.

    Raises:
        WeightsError: its weights cannot be fetched, or are those of another network.
        UsageError: it cannot do what the spec asks for, or `transformers` is not installed.
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
        network = _load(spec)
        size, self.timestamps, dim = check_clips(spec, network.config, frames)
        patch = network.config.patch_size
        mean, std = _IMAGENET
        frozen = FrozenBackbone(
            network,
            partial(
                _pooled_tokens, timestamps=self.timestamps, patches=(size[0] // patch, size[1] // patch), grid=spec.grid
            ),
            spec=spec,
            hash=weights_hash(network),
            shape=(frames, 3, *size),
            mean=mean,
            std=std,
            interpolation="bilinear",
        )
        self.setup(frozen, device=device, engine=engine, dim=dim)


@register_encoder(*VIDEO_TRANSFORMERS)
class VideoTransformerFamily(EncoderFamily):
    """Video transformers of Hugging Face."""

    extra = "transformers"

    def load(self, spec: EncoderSpec, *, frames: int, device: str | torch.device, engine: str | None) -> TokenEncoder:
        """Return the encoder with its weights."""
        return TokenEncoder(spec, frames=frames, device=device, engine=engine)

    def meta(self, spec: EncoderSpec, *, frames: int) -> Architecture:
        """Return the network without weights, of a clip."""
        network: Any = new_video_transformer(spec).eval()
        size, timestamps, dim = check_clips(spec, network.config, frames)
        patch = network.config.patch_size
        rows, columns = spec.grid or (size[0] // patch, size[1] // patch)
        example = torch.empty(1, frames, 3, *size)

        def run(clips: Tensor) -> Tensor:
            return tokens_of(network, clips)

        return Architecture(network, run, example, size, True, (dim,), timestamps * rows * columns)

    def pretrained(self, name: str) -> WeightsOrigin:
        """Return the repository on the hub."""
        about = VIDEO_TRANSFORMERS[name]
        return WeightsOrigin("download", about.repository, about.download, self.extra)

    def origin(self, name: str, weights: str) -> WeightsOrigin:
        """Return where weights come from; a name that is no folder is a repository of the hub."""
        if weights in ("random", "pretrained") or Path(weights).is_dir():
            return super().origin(name, weights)
        return WeightsOrigin("download", weights, extra=self.extra)


def _pooled_tokens(
    network: Any, pixels: Tensor, *, timestamps: int, patches: tuple[int, int], grid: tuple[int, int] | None
) -> Tensor:
    tokens = tokens_of(network, pixels)
    return tokens if grid is None else pool_patches(tokens, timestamps, patches, grid)


def tokens_of(network: Any, pixels: Tensor) -> Tensor:
    """Return the tokens of normalised clips: (N, T, 3, H, W) to (N, tokens, D)."""
    if type(network).__name__ == "VJEPA2Model":
        return cast(Tensor, network(pixels, skip_predictor=True).last_hidden_state)
    return cast(Tensor, network(pixels).last_hidden_state)


def pool_patches(tokens: Tensor, timestamps: int, patches: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Average tokens over the cells of a grid: (N, timestamps x patches, D) to (N, timestamps x cells, D)."""
    maps = tokens.unflatten(1, (timestamps, *patches)).flatten(0, 1).permute(0, 3, 1, 2)
    cells: Tensor = average_over(maps, grid).unflatten(1, (tokens.shape[-1], -1)).transpose(1, 2)
    return cells.reshape(len(tokens), -1, tokens.shape[-1])


def new_video_transformer(spec: EncoderSpec) -> Any:
    """Return the network with random weights, in the configuration of the spec's weights, or the default one.

    Raises:
        WeightsError: there is no configuration beside the weights, or it is not on this machine.
        UsageError: `transformers` is not installed.
    """
    about, library = VIDEO_TRANSFORMERS[spec.name], _library(spec.name)
    configuration = getattr(library, about.config)
    if spec.weights in ("pretrained", "random"):
        return _without_predictor(getattr(library, about.model)(configuration()))
    try:
        found = configuration.from_pretrained(spec.weights, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{spec.weights} has no configuration of '{spec.name}': {' '.join(str(error).split())}"
        ) from error
    return _without_predictor(getattr(library, about.model)(found))


def _load(spec: EncoderSpec) -> Any:
    about, library = VIDEO_TRANSFORMERS[spec.name], _library(spec.name)
    if spec.weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return new_video_transformer(spec)
    local = Path(spec.weights).is_dir()
    source = about.repository if spec.weights == "pretrained" else spec.weights
    try:
        with offline_if_unreachable():
            # Weights as safetensors only: no code is read, from a folder or from the hub.
            network = getattr(library, about.model).from_pretrained(
                source, use_safetensors=True, trust_remote_code=False, local_files_only=local
            )
            return _without_predictor(network)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = first_line(error)
        raise WeightsError(
            f"the weights of '{spec.name}' ({source}) are not on this machine, and fetching them failed ({reason}). "
            f"{NO_NETWORK}; or name a folder of them: --set encoder.weights=FOLDER"
        ) from error


def _without_predictor(network: Any) -> Any:
    """Remove the layers of V-JEPA 2 that only its training needs."""
    if hasattr(network, "predictor"):
        network.predictor = None
    return network


def check_clips(spec: EncoderSpec, config: Any, frames: int) -> tuple[tuple[int, int], int, int]:
    """Return the size of the input, the number of timestamps of its tokens, and D.

    Raises:
        UsageError: the network cannot take clips of that length or size.
    """
    about = VIDEO_TRANSFORMERS[spec.name]
    side = int(getattr(config, about.side))
    size = hw(spec.size, (side, side))
    if about.frames is not None and (frames != getattr(config, about.frames) or size != (side, side)):
        fixed = getattr(config, about.frames)
        raise UsageError(
            f"{spec.name} is built for {fixed} frames of {side} x {side} pixels, not {frames} of "
            f"{size[0]} x {size[1]}: --set sampling.count={fixed} --set encoder.size={side}"
        )
    if frames % config.tubelet_size or size[0] % config.patch_size or size[1] % config.patch_size:
        raise UsageError(
            f"{spec.name} takes frames {config.tubelet_size} by {config.tubelet_size}, in squares of "
            f"{config.patch_size} pixels, and {frames} frames of {size[0]} x {size[1]} cannot be divided so: "
            f"--set sampling.count=16 --set encoder.size={side}"
        )
    return size, frames // config.tubelet_size, int(config.hidden_size)


def _library(name: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UsageError(
            f"the encoder '{name}' needs the package transformers: {install_command('transformers')}"
        ) from error
    return transformers
