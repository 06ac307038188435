"""Where the weights that a recipe begins from come from, told without a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from marey.encoders.contract import PIXELS, EncoderSpec
from marey.encoders.frame import pretrained_size
from marey.encoders.video_networks import VIDEO_NETWORKS
from marey.encoders.video_transformers import VIDEO_TRANSFORMERS
from marey.encoders.weights import EMBEDDED
from marey.extras import Extra

Origin = Literal["marey", "download", "file", "none"]


@dataclass(frozen=True, slots=True)
class WeightsOrigin:
    """Where weights come from.

    Attributes:
        origin: "marey": they are installed with it; "download", once; "file": a file or folder that is named; "none":
            nothing was trained before.
        source: name of what is downloaded, or path of the file; empty for the others.
        size: bytes of the download, about; None where it is none, or not known here.
        extra: of marey, which the network needs.
    """

    origin: Origin
    source: str = ""
    size: int | None = None
    extra: Extra | None = None

    def __str__(self) -> str:
        size = "" if self.size is None else f" {_in_words(self.size)}"
        words = {"marey": "with marey", "download": f"download{size}", "file": self.source, "none": "none"}
        extra = "" if self.extra is None else f", extra {self.extra}"
        return words[self.origin] + extra


def weights_origin(encoder: EncoderSpec, *, head: str, weights: str) -> WeightsOrigin:
    """Return where the weights of a system come from: those of its encoder, or of a network trained on pictures.

    Args:
        encoder: the frozen network; one that hands out pictures has no weights, and the head's count.
        head: its name.
        weights: what the head begins from: "random", "pretrained", or the path of a file.
    """
    if encoder.name in PIXELS:
        return _of_video_network(head, weights)
    if encoder.name in VIDEO_NETWORKS:
        return _of_video_network(encoder.name, encoder.weights)
    if encoder.name in VIDEO_TRANSFORMERS:
        return _of_video_transformer(encoder.name, encoder.weights)
    if encoder.weights == "random":
        return WeightsOrigin("none")
    if encoder.weights != "pretrained":
        return WeightsOrigin("file", encoder.weights)
    if encoder.name == EMBEDDED:
        return WeightsOrigin("marey")
    return WeightsOrigin("download", encoder.name, pretrained_size(encoder.name))


def _of_video_network(name: str, weights: str) -> WeightsOrigin:
    if weights == "random":
        return WeightsOrigin("none")
    if weights != "pretrained" or name not in VIDEO_NETWORKS:
        return WeightsOrigin("file", weights)
    known = VIDEO_NETWORKS[name].weights
    return WeightsOrigin("download", str(known), round(known.meta["_file_size"] * 2**20))  # it is said in MiB


def _of_video_transformer(name: str, weights: str) -> WeightsOrigin:
    if weights == "random":
        return WeightsOrigin("none", extra="transformers")
    if weights == "pretrained":
        about = VIDEO_TRANSFORMERS[name]
        return WeightsOrigin("download", about.repository, about.download, "transformers")
    return WeightsOrigin("file" if Path(weights).is_dir() else "download", weights, extra="transformers")


def _in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
