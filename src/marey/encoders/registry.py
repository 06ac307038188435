"""Encoder families by name: a family is one file, with `@register_encoder` on a subclass of `EncoderFamily`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from marey.encoders.engine import engine_name
from marey.errors import UsageError
from marey.extensions import find_registered, load_extensions
from marey.extras import Extra

if TYPE_CHECKING:
    from marey.encoders.backbone import FrozenBackbone
    from marey.encoders.contract import EncoderSpec
    from marey.encoders.encoder import Encoder
    from marey.encoders.trainable import TrainableNetwork

Origin = Literal["marey", "download", "file", "none"]
Family = TypeVar("Family", bound="EncoderFamily | type[EncoderFamily]")


@dataclass(frozen=True)
class Architecture:
    """An encoder's network on the meta device, where tensors have shapes and no values.

    Attributes:
        network: of one image, or of a whole clip; None for raw frames.
        run: from `example` to features.
        example: a normalised image, or a clip, without values.
        size: (H, W) of its input.
        whole: True if it sees a clip at once, and not each image by itself.
        shape: of a head's input: (D,) a vector, or (T, C, H, W) of all frames.
        length: T', vectors a clip.
    """

    network: nn.Module | None
    run: Callable[[Tensor], Tensor]
    example: Tensor
    size: tuple[int, int]
    whole: bool
    shape: tuple[int, ...]
    length: int


@dataclass(frozen=True, slots=True)
class WeightsOrigin:
    """The origin of weights.

    Attributes:
        origin: "marey": installed with it; "download", once; "file": a file or folder that is named; "none": no
            pretraining.
        source: name of the download, or path of the file; empty for the others.
        size: bytes of the download, about; None where there is none, or it is unknown.
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


class EncoderFamily(ABC):
    """Encoders that are loaded in the same way; libraries are imported inside its methods.

    Attributes:
        gives: "features" of a network; raw "frames"; or "nothing": features come from files, and no clip is encoded.
        per_image: True if images are encoded one by one, and not a clip at once.
        quantizable: True if `backbone` gives a network that `marey quantize` can put into int8.
        has_text_tower: True if its encoders are `TextImageEncoder`s, which put sentences beside images.
        extra: of marey, which the family needs.
    """

    gives: ClassVar[Literal["features", "frames", "nothing"]] = "features"
    per_image: ClassVar[bool] = False
    quantizable: ClassVar[bool] = False
    has_text_tower: ClassVar[bool] = False
    extra: ClassVar[Extra | None] = None

    @abstractmethod
    def load(self, spec: EncoderSpec, *, frames: int, device: str | torch.device, engine: str | None) -> Encoder:
        """Return the encoder with its weights, see `load_encoder`."""

    @abstractmethod
    def meta(self, spec: EncoderSpec, *, frames: int) -> Architecture:
        """Return the network without weights; called on the meta device, see `architecture`."""

    def pretrained(self, name: str) -> WeightsOrigin:
        """Return the origin of the pretrained weights of a name."""
        return WeightsOrigin("none", extra=self.extra)

    def origin(self, name: str, weights: str) -> WeightsOrigin:
        """Return the origin of weights of a name: "pretrained", "random", or a file."""
        if weights == "random":
            return WeightsOrigin("none", extra=self.extra)
        return self.pretrained(name) if weights == "pretrained" else WeightsOrigin("file", weights, extra=self.extra)

    def backbone(self, spec: EncoderSpec) -> FrozenBackbone:
        """Return the network with its weights, float32, of one image; of quantizable families only."""
        raise UsageError(f"the encoder '{spec.name}' has no network of single images")

    def configuration(self, spec: EncoderSpec) -> dict[str, Any]:
        """Return what the weights of a spec decide of its network, beside its name; see `BackboneSpec`.

        Raises:
            WeightsError: the file that says it cannot be read.
        """
        return {}

    def trainable(self, spec: EncoderSpec, configuration: Mapping[str, Any], *, frames: int) -> TrainableNetwork:
        """Return the network of a spec, with its weights, as one that can be trained with a head.

        Args:
            spec: `weights: random` draws them from PyTorch's generator.
            configuration: as `configuration` returns it.
            frames: T of the clips.

        Raises:
            UsageError: it cannot be trained.
        """
        raise UsageError(
            f"the encoder '{spec.name}' cannot be trained: choose another one, or leave training.unfreeze and "
            "training.lora out"
        )

    def channels(self, name: str) -> int:
        """Return C of an input image."""
        return 3


_BY_NAME: dict[str, EncoderFamily] = {}
_BY_PRECISION: dict[str, EncoderFamily] = {}
_DEFAULT: list[EncoderFamily] = []


def register_encoder(*names: str, precision: str | None = None, default: bool = False) -> Callable[[Family], Family]:
    """Make a family available to recipes.

    Args:
        names: of its encoders, as recipes write them.
        precision: it loads all encoders of this precision, whatever their name.
        default: it loads all names that no other family has; there is one such family.

    Raises:
        ValueError: a name is taken.
    """

    def register(family: Family) -> Family:
        made = family() if isinstance(family, type) else family
        taken = [name for name in names if name in _BY_NAME]
        if taken or (precision in _BY_PRECISION) or (default and _DEFAULT):
            raise ValueError(f"two encoder families claim '{(taken or [precision or 'the default'])[0]}'")
        _BY_NAME.update(dict.fromkeys(names, made))
        if precision is not None:
            _BY_PRECISION[precision] = made
        if default:
            _DEFAULT.append(made)
        return family

    return register


def family_of(spec: EncoderSpec) -> EncoderFamily:
    """Return the family that loads an encoder; the default one for names that no family has."""
    return _BY_PRECISION.get(spec.precision) or find_family(spec.name) or _DEFAULT[0]


def find_family(name: str) -> EncoderFamily | None:
    """Return the family that has registered a name, of marey or of an extension; None where none has."""
    return find_registered(_BY_NAME, name)


def encoder_names(*, warn: bool = True) -> tuple[str, ...]:
    """Return the sorted names that recipes can choose, beside those of the default family.

    Args:
        warn: of extensions that failed, whose names are missing.
    """
    load_extensions(listing=warn)
    return tuple(sorted(name for name, family in _BY_NAME.items() if family.gives != "nothing"))


def load_encoder(
    spec: EncoderSpec, *, frames: int = 16, device: str | torch.device = "cpu", engine: str | None = None
) -> Encoder:
    """Return the encoder of a spec, with its weights.

    Args:
        spec: the choice.
        frames: T of its clips; some networks are built for one number of frames.
        device: where it runs.
        engine: runtime: "pytorch", "openvino", "onnxruntime", "cuda", or "auto", the fastest of those that are
            installed and agree with PyTorch, after a short benchmark that is remembered; by default the variable
            MAREY_ENGINE, else "auto".

    Raises:
        UnknownNameError: there is no encoder of that name, or no such engine.
        UsageError: the encoder cannot do what the spec asks for, or the engine cannot run it.
        WeightsError: its weights are missing and cannot be fetched, or are those of another network.
    """
    engine_name(engine)
    try:
        return family_of(spec).load(spec, frames=frames, device=device, engine=engine)
    except UsageError:
        raise
    except (AttributeError, AssertionError, TypeError, ValueError, RuntimeError) as error:
        options = f"size={spec.size}, grid={spec.grid}, precision={spec.precision}"
        raise UsageError(f"the encoder {spec.name} cannot run with {options} on {device}: {error}") from error


def architecture(spec: EncoderSpec, *, frames: int) -> Architecture:
    """Return the network of a spec without weights: nothing is fetched and nothing computed.

    Args:
        spec: the encoder; of its weights at most the configuration beside them is read.
        frames: T of the clips.

    Raises:
        UsageError: it cannot do what the spec asks for, or a package that it needs is not installed.
    """
    with torch.device("meta"):
        return family_of(spec).meta(spec, frames=frames)


def weights_origin(encoder: EncoderSpec, *, head: str, weights: str, backbone: str | None = None) -> WeightsOrigin:
    """Return where the pretrained weights of a system come from: those of its encoder, or of an end-to-end network.

    Args:
        encoder: the frozen network; where it gives raw frames, the weights of the head count.
        head: its name.
        weights: initial weights of the head: "random", "pretrained", or the path of a file.
        backbone: the encoder that the head fine-tunes, if it does.
    """
    family = family_of(encoder)
    if family.gives != "frames":
        return family.origin(encoder.name, encoder.weights)
    if backbone is not None:
        return family_of(encoder.model_copy(update={"name": backbone})).origin(backbone, weights)
    known = find_family(head)
    if known is not None:  # a network that is an encoder as well
        return known.origin(head, weights)
    return WeightsOrigin("none") if weights == "random" else WeightsOrigin("file", weights)


def _in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
