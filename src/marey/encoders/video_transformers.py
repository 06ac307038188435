"""Self-supervised video transformers of Hugging Face, frozen: a clip becomes the tokens that they see in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor

from marey.encoders.contract import EncoderSpec
from marey.encoders.encoder import Encoder, sides
from marey.encoders.frozen import Colour, FrozenNetwork, average_over
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
        repository: where its weights are, on the hub.
        download: bytes of them, about: with what the network was trained with, and is not needed to see.
        side: name of the key of its configuration that holds the size of the input.
        frames: name of the key that fixes T; none where it takes any number.
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
    """A video transformer, frozen: each clip becomes a row of tokens, some instants times some places.

    Args:
        spec: which; `weights` is "pretrained", "random", a folder that `transformers` has written, or a repository of
            the hub; `grid` averages the places of each instant over rows and columns, None keeps every token.
        frames: T of the clips.
        device: where it runs.
        engine: what runs it, see `ENGINES`.

    Raises:
        WeightsError: its weights cannot be had, or are those of another network.
        UsageError: it cannot do what the spec asks, or `transformers` is not installed.
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
        size, self.instants, dim = check_clips(spec, network.config, frames)
        patch = network.config.patch_size
        mean, std = _IMAGENET
        frozen = FrozenNetwork(
            network,
            partial(
                _pooled_tokens, instants=self.instants, places=(size[0] // patch, size[1] // patch), grid=spec.grid
            ),
            spec=spec,
            hash=weights_hash(network),
            shape=(frames, 3, *size),
            mean=mean,
            std=std,
            interpolation="bilinear",
        )
        self.start(frozen, device=device, engine=engine, dim=dim)

    def encode_clips(self, clips: Tensor) -> Tensor:
        """uint8 (N, T, 3, H, W) to float32 (N, tokens, D), instant by instant, place by place."""
        self.check(clips, many="N, T")
        self.count(len(clips.flatten(0, 1)))
        return self._engine.run(clips)


def _pooled_tokens(
    network: Any, pixels: Tensor, *, instants: int, places: tuple[int, int], grid: tuple[int, int] | None
) -> Tensor:
    tokens = tokens_of(network, pixels)
    return tokens if grid is None else pool_places(tokens, instants, places, grid)


def tokens_of(network: Any, pixels: Tensor) -> Tensor:
    """What a video transformer gives for normalised clips: (N, T, 3, H, W) to (N, tokens, D)."""
    if type(network).__name__ == "VJEPA2Model":
        return cast(Tensor, network(pixels, skip_predictor=True).last_hidden_state)
    return cast(Tensor, network(pixels).last_hidden_state)


def pool_places(tokens: Tensor, instants: int, places: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Tokens averaged over fields of the picture: (N, instants x places, D) to (N, instants x fields, D)."""
    maps = tokens.unflatten(1, (instants, *places)).flatten(0, 1).permute(0, 3, 1, 2)
    fields: Tensor = average_over(maps, grid).unflatten(1, (tokens.shape[-1], -1)).transpose(1, 2)
    return fields.reshape(len(tokens), -1, tokens.shape[-1])


def new_video_transformer(spec: EncoderSpec) -> Any:
    """The architecture with random weights: as the weights that the spec names are configured, or by default.

    Raises:
        WeightsError: there is no configuration beside the weights, or none on this machine.
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
            f"how '{spec.name}' is built is not said in {spec.weights}: {' '.join(str(error).split())}"
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
            # Weights as safetensors only: nothing that could run is read, from a folder or from the hub.
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
    """V-JEPA 2 without what it was trained with and is not needed to see."""
    if hasattr(network, "predictor"):
        network.predictor = None
    return network


def check_clips(spec: EncoderSpec, config: Any, frames: int) -> tuple[tuple[int, int], int, int]:
    """Size of the input, instants that tokens are of, and D.

    Raises:
        UsageError: the network cannot take clips of that length or size.
    """
    about = VIDEO_TRANSFORMERS[spec.name]
    side = int(getattr(config, about.side))
    size = sides(spec.size, (side, side))
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
