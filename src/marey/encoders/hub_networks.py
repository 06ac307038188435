"""Networks of the library `transformers` that marey has: their classes, weights and normalisation, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from marey.encoders.backbone import Colour
from marey.video import Interpolation

_IMAGENET: Final[tuple[Colour, Colour]] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALVES: Final[tuple[Colour, Colour]] = ((0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
_HALF: Final[tuple[Colour, Colour]] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CLIP: Final[tuple[Colour, Colour]] = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
UNCHANGED: Final[tuple[Colour, Colour]] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class VideoTransformer:
    """One of the architectures.

    Attributes:
        model: its class in `transformers`.
        config: the class of its configuration.
        repository: of its weights, on the hub.
        revision: of the repository.
        download: bytes of them, about, with the layers that only training needs.
        side: key of its configuration for the size of the input.
        frames: key that fixes T, and with it the size; None where it takes others.
        colours: mean and deviation of RGB in [0, 1], when these weights were trained.
        interpolation: how images were resized then.
        since: the first version of `transformers` that has it.
        paper: where it was described.
    """

    model: str
    config: str
    repository: str
    revision: str
    download: int
    side: str
    frames: str | None
    colours: tuple[Colour, Colour]
    interpolation: Interpolation
    since: str
    paper: str


VIDEO_TRANSFORMERS: Final = {
    "videomae": VideoTransformer(
        "VideoMAEModel",
        "VideoMAEConfig",
        "MCG-NJU/videomae-base",
        "main",
        377_000_000,
        "image_size",
        "num_frames",
        _IMAGENET,
        "bilinear",
        "4.24",
        "Tong et al. 2022",
    ),
    "vjepa2": VideoTransformer(
        "VJEPA2Model",
        "VJEPA2Config",
        "facebook/vjepa2-vitl-fpc64-256",
        "main",
        1_304_000_000,
        "crop_size",
        None,
        _IMAGENET,
        "bilinear",
        "4.53",
        "Assran et al. 2025",
    ),
    "videoprism": VideoTransformer(
        "VideoPrismVisionModel",
        "VideoPrismVisionConfig",
        "google/videoprism-base-f16r288",
        "2be2ef51d0d611d0fadf21a6d1470a4ad4af9249",  # main has the weights of another library alone
        457_000_000,
        "image_size",
        None,
        UNCHANGED,
        "bicubic",
        "5.13",
        "Zhao et al. 2024",
    ),
    "timesformer": VideoTransformer(
        "TimesformerModel",
        "TimesformerConfig",
        "facebook/timesformer-base-finetuned-k400",
        "refs/pr/5",  # main has a pickle alone
        486_000_000,
        "image_size",
        "num_frames",
        _HALVES,
        "bilinear",
        "4.25",
        "Bertasius et al. 2021",
    ),
}
"""By the names that recipes use."""

TEXT_TOWERS: Final = {
    "clip": VideoTransformer(
        "CLIPModel",
        "CLIPConfig",
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",  # OpenAI's own of this size are a pickle
        "main",
        605_000_000,
        "image_size",
        None,
        _CLIP,
        "bicubic",
        "4.57.1",
        "Radford et al. 2021",
    ),
    "siglip2": VideoTransformer(
        "SiglipModel",  # those of a fixed size have the architecture of the first SigLIP
        "SiglipConfig",
        "google/siglip2-base-patch16-224",
        "main",
        1_501_000_000,
        "image_size",
        None,
        _HALF,
        "bilinear",
        "4.57.1",
        "Tschannen et al. 2025",
    ),
    "siglip2-naflex": VideoTransformer(
        "Siglip2Model",
        "Siglip2Config",
        "google/siglip2-base-patch16-naflex",
        "main",
        1_501_000_000,
        "num_patches",
        None,
        _HALF,
        "bilinear",
        "4.57.1",
        "Tschannen et al. 2025",
    ),
    "xclip": VideoTransformer(
        "XCLIPModel",
        "XCLIPConfig",
        "microsoft/xclip-base-patch32",
        "main",
        787_000_000,
        "image_size",
        "num_frames",
        _IMAGENET,
        "bilinear",
        "4.57.1",
        "Ni et al. 2022",
    ),
}
"""Networks with a text tower, by the names that recipes use; side and frames are those of `vision_config`."""
