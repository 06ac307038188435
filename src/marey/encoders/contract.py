"""The contract: from a clip to the input of a head. Set by the recipe, stored in the model, read by everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from marey.encoders.feature_streams import FeatureStream, feature_streams
from marey.encoders.motion_region import ClipFit
from marey.encoders.photometric import Photometric
from marey.encoders.registry import family_of
from marey.encoders.streams import Stream, Streams
from marey.video import Anchor, Conversion, Interpolation, Sampling

if TYPE_CHECKING:
    from marey.encoders.encoder import Encoder

FrameOrder = Literal["given", "reversed", "shuffled"]
FRAME_ORDERS: tuple[FrameOrder, ...] = get_args(FrameOrder)
Precision = Literal["float32", "bfloat16", "int8"]

Side = Annotated[int, Field(ge=1, le=4096)]

NO_ENCODER: Final = "none"
"""Encoder name where all streams make their features themselves."""

PRECOMPUTED: Final = "features"
"""Encoder name in the contract of precomputed features: read from files, made by an unknown program."""


class EncoderSpec(BaseModel):
    """The choice of a frozen network, and of its output.

    Attributes:
        name: "efficientnet-lite0", whose weights are installed with marey; any model name of timm; a video network of
            torchvision ("r2plus1d-18", "s3d", "mvit-v2-s", "swin3d-t"), which gives one vector a clip; a video
            transformer of Hugging Face ("videomae", "vjepa2", "videoprism", "timesformer"), which gives tokens; a
            network with a text tower ("clip", "siglip2", "siglip2-naflex", "xclip"); "pixels" and "grey-pixels",
            which encode nothing: for networks that are trained end to end; or "none", where all streams make their
            features themselves.
        weights: "pretrained", "random" (a control: the worth of the architecture alone), or the path of a file of
            weights (safetensors, or a PyTorch file of tensors).
        precision: of the arithmetic; features are always float32. "int8" is written by `marey quantize` from a
            trained run, and cannot be chosen before.
        size: height and width of the input in pixels, or one number for both; None for the size of the pretraining.
        grid: rows and columns that the last feature map is averaged over, so that features also say where something
            is; None takes the vector that the network gives to its classifier.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "efficientnet-lite0"
    weights: str = "pretrained"
    precision: Precision = "float32"
    size: Side | tuple[Side, Side] | None = None
    grid: tuple[Annotated[int, Field(ge=1, le=16)], Annotated[int, Field(ge=1, le=16)]] | None = None


@dataclass(frozen=True, slots=True)
class View:
    """One reading of a clip. Evaluation and prediction take the first one; training may take several.

    Attributes:
        index: 0 reads the middle of each segment; each further number its own random timestamps.
        mirrored: flipped horizontally.
        part: k and n, where a clip is tested n times: see `Sampling.timestamps`.
        anchor: the part of the image that a crop takes.
    """

    index: int = 0
    mirrored: bool = False
    part: tuple[int, int] = (0, 1)
    anchor: Anchor = "middle"

    @property
    def decoding(self) -> tuple[int, tuple[int, int], Anchor]:
        """Key of its decoding: views that share it are decoded once."""
        return self.index, self.part, self.anchor


class MultiView(BaseModel):
    """Number of views of a clip in tests and predictions; probabilities are averaged over them.

    Attributes:
        clips: temporal views: other timestamps of the segments; with dense sampling, windows along the clip.
        crops: spatial views: 3 adds both ends of the longer side to the middle; with `fit: crop` only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: Annotated[int, Field(ge=1, le=64)] = 1
    crops: Literal[1, 3] = 1

    @property
    def views(self) -> tuple[View, ...]:
        """All of them."""
        anchors: tuple[Anchor, ...] = ("first", "middle", "last") if self.crops == 3 else ("middle",)
        return tuple(View(part=(part, self.clips), anchor=anchor) for part in range(self.clips) for anchor in anchors)


def crops_need_crop(fit: ClipFit) -> str:
    """Return why several crops do not go with another fit than "crop"."""
    why = "testing.crops=3 looks at what a crop leaves out, and needs fit: crop"
    return f"{why}; fit: motion reads one region of a clip, so take testing.crops=1" if fit == "motion" else why


class ClipReading(Protocol):
    """The part of a recipe that says how a clip is read."""

    @property
    def sampling(self) -> Sampling:
        """Rule from a clip to timestamps."""

    @property
    def streams(self) -> Mapping[str, Stream]:
        """Streams by name."""

    @property
    def fit(self) -> ClipFit:
        """Resize mode."""

    @property
    def photometric(self) -> Photometric:
        """Change of brightness and contrast."""

    @property
    def conversion(self) -> Conversion:
        """Conversion of interlaced and HDR frames."""

    @property
    def testing(self) -> MultiView:
        """Number of views in tests and predictions."""


class Contract(BaseModel):
    """Every step between a clip and the head: the same in training, evaluation, prediction and export.

    Attributes:
        sampling: from the span of the clip to T timestamps.
        testing: number of views in tests and predictions.
        streams: name to stream; each gives one image a timestamp.
        fit: how an image of another shape comes to `size`: the whole frame, its middle, or the region where something
            moves.
        photometric: "auto" stretches the contrast of frames before streams compare and the encoder sees them.
        conversion: "standard" takes one field of interlaced frames, and brings HDR to BT.709; "none" reads frames as
            they are stored, as versions before 0.2 did.
        encoder: the frozen network.
        encoder_hash: of its weights; another network of the same name is refused.
        size: (H, W) of its input, in pixels.
        interpolation: how images are resized for it.
        mean: subtracted from RGB in [0, 1].
        std: RGB is divided by it after that.
        dim: D, numbers a feature vector; of raw frames, all of their pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampling: Sampling
    testing: MultiView = MultiView()
    streams: Streams
    fit: ClipFit
    photometric: Photometric = "none"
    conversion: Conversion = "none"
    encoder: EncoderSpec
    encoder_hash: str
    size: tuple[Side, Side]
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dim: int

    @classmethod
    def from_recipe(cls, recipe: ClipReading, encoder: Encoder, *, multi_view: bool = True) -> Contract:
        """Return the contract of a recipe with its loaded encoder.

        Args:
            recipe: its `sampling`, `streams`, `fit`, `photometric`, `conversion` and `testing` are taken.
            encoder: as `load_encoder(recipe.encoder, frames=recipe.sampling.count)` gives it.
            multi_view: keep the recipe's `testing`; else clips are read in one view everywhere.

        Raises:
            UsageError: the choices exclude each other.
        """
        testing = recipe.testing if multi_view else MultiView()
        return encoder.contract(
            sampling=recipe.sampling,
            streams={
                name: stream.resolved() if isinstance(stream, FeatureStream) else stream
                for name, stream in recipe.streams.items()
            },
            fit=recipe.fit,
            photometric=recipe.photometric,
            conversion=recipe.conversion,
            testing=testing,
        )

    @model_serializer(mode="wrap")
    def _leave_out_new_keys(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write what versions without a key wrote, where it changes nothing: features are found by it."""
        values: dict[str, Any] = write(self)
        for key in ("photometric", "conversion"):
            if values.get(key) == "none":
                del values[key]
        return values

    @model_validator(mode="after")
    def _check_crops(self) -> Self:
        if self.testing.crops > 1 and self.fit != "crop":
            raise ValueError(crops_need_crop(self.fit))
        return self

    @model_validator(mode="after")
    def _check_key_frames(self) -> Self:
        comparing = " and ".join(f"'{name}'" for name, stream in self.streams.items() if stream.compares)
        if self.sampling.frames == "keyframes" and comparing:
            raise ValueError(
                f"sampling.frames=keyframes takes key frames, which lie seconds apart, and the streams {comparing} "
                "compare frames a fraction of a second apart; keep streams of kind appearance, or frames: exact"
            )
        return self

    @model_validator(mode="after")
    def _check_own_features(self) -> Self:
        require_encodable(self.streams, self.encoder)
        return self

    @property
    def gives_images(self) -> bool:
        """True if networks get raw frames, uint8 (T, C, H, W), and not features (T, D)."""
        return family_of(self.encoder).gives == "frames"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a network's input: (D,) a feature vector, or (T, C, H, W) of a clip's raw frames."""
        if not self.gives_images:
            return (self.dim,)
        return (self.sampling.count, family_of(self.encoder).channels(self.encoder.name), *self.size)

    def shape_of(self, stream: str) -> tuple[int, ...]:
        """Return the shape of the input of the head of a stream: `shape`, or (D,) where it makes its own features."""
        found = self.streams[stream]
        return (found.dim,) if isinstance(found, FeatureStream) else self.shape


def require_encodable(streams: Mapping[str, Stream], encoder: EncoderSpec) -> None:
    """Refuse an encoder that does not fit streams which make their features themselves.

    Raises:
        ValueError: it says why.
    """
    own = feature_streams(streams)
    others = " and ".join(f"'{name}'" for name in streams if name not in own)
    if encoder.name == NO_ENCODER and others:
        raise ValueError(f"encoder.name={NO_ENCODER} sees no images, and the streams {others} give some")
    if not own or encoder.name in (NO_ENCODER, PRECOMPUTED):
        return
    family, named = family_of(encoder), " and ".join(f"'{name}'" for name in own)
    if family.gives == "frames":
        raise ValueError(
            f"the encoder {encoder.name} is for networks on frames, and the streams {named} give features: train them "
            f"with encoder.name={NO_ENCODER}"
        )
    if others and not family.per_image:
        raise ValueError(
            f"the encoder {encoder.name} sees a clip at once, and the streams {named} give features a timestamp: take "
            f"an encoder of images, or the streams alone with encoder.name={NO_ENCODER}"
        )
