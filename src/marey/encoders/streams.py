"""Streams by kind: input channels of the encoder, each made of a few frames around a timestamp.

A kind is one file, with `@register_stream` on a subclass of `Stream`; its fields are the options that recipes set:

    @register_stream("brightest", meaning="the brightest gray of each pixel over the span")
    class Brightest(Stream):
        gray: ClassVar[bool] = True
        span: Annotated[float, Field(gt=0, le=10)] = 0.2

        @property
        def offsets(self) -> tuple[float, ...]:
            return (-self.span / 2, 0.0, self.span / 2)

        def combine(self, frames: Tensor) -> Tensor:
            return frames.amax(1).expand(-1, 3, -1, -1)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from torch import Tensor

from marey.errors import UnknownNameError
from marey.extensions import find_registered, load_extensions, unknown_name

StreamType = TypeVar("StreamType", bound="type[Stream]")

_KINDS: Final[dict[str, type[Stream]]] = {}


class Stream(BaseModel):
    """An input channel: a few frames around each timestamp, combined into one image.

    `Stream(kind="difference", span=0.2)` makes one of a registered kind. Options and their defaults stand in the
    contract of each model and in the keys of cached features: to an existing kind, none can be added.

    Attributes:
        kind: registered name.
        gray: True if `combine` gets gray frames, which take a third of the memory.
        symmetric: True if mirrored frames give the mirror image of the image, which is then not made anew.
        meaning: what its images show, in half a sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gray: ClassVar[bool] = False
    symmetric: ClassVar[bool] = False
    meaning: ClassVar[str] = ""

    kind: str

    if TYPE_CHECKING:  # the options depend on the kind

        def __init__(self, **options: Any) -> None: ...

    def __new__(cls, *_: Any, **options: Any) -> Self:
        """Make an object of the class of its kind."""
        chosen: Any = stream_class(options["kind"]) if cls is Stream and isinstance(options.get("kind"), str) else cls
        made: Self = super().__new__(chosen)
        return made

    @model_validator(mode="wrap")
    @classmethod
    def _choose(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Any:
        if cls is Stream and isinstance(values, Mapping) and isinstance(values.get("kind"), str):
            return stream_class(values["kind"]).model_validate(values)
        stream = handler(values)
        if _KINDS.get(stream.kind) is not type(stream):
            raise UnknownNameError(f"{type(stream).__name__} stream", stream.kind, kinds_of(type(stream)))
        return stream

    @property
    def offsets(self) -> tuple[float, ...]:
        """Seconds from a timestamp to the K frames that are combined for it, ascending."""
        raise NotImplementedError(f"{type(self).__name__} defines neither offsets nor times")

    def times(self, timestamps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the times of the frames that are combined for each timestamp.

        Args:
            timestamps: (T,), seconds.

        Returns:
            (T, K), seconds, each row ascending; before the start of a clip its first frame is taken, and so on.
        """
        times: npt.NDArray[np.float64] = np.add.outer(timestamps, np.array(self.offsets))
        return times

    @property
    def compares(self) -> bool:
        """True if an image is made of several frames."""
        return self.times(np.zeros(1)).size > 1

    def combine(self, frames: Tensor) -> Tensor:
        """Combine frames into one image a timestamp.

        Args:
            frames: uint8 (T, K, 3, H, W), RGB, or (T, K, 1, H, W) if `gray`; K as many as `times` gives, in the order
                of time.

        Returns:
            uint8 (T, 3, H, W).
        """
        raise NotImplementedError(f"{type(self).__name__} does not define combine")


Streams: TypeAlias = Annotated[dict[str, SerializeAsAny[Stream]], Field(min_length=1)]
"""Name to stream, as recipes and contracts have it."""


def register_stream(kind: str, *, meaning: str) -> Callable[[StreamType], StreamType]:
    """Make a kind of stream available to recipes.

    Args:
        kind: the name that recipes write.
        meaning: what its images show, in half a sentence; the app shows it.

    Raises:
        ValueError: the name is taken.
    """

    def register(stream: StreamType) -> StreamType:
        if kind in _KINDS:
            raise ValueError(f"two kinds of streams are called '{kind}'")
        stream.meaning = meaning
        _KINDS[kind] = stream
        return stream

    return register


def stream_kinds() -> tuple[str, ...]:
    """Return the registered kinds, sorted."""
    load_extensions(listing=True)
    return tuple(sorted(_KINDS))


def find_stream(kind: str) -> type[Stream] | None:
    """Return the class of a kind, of marey or of an extension; None where there is no such kind."""
    return find_registered(_KINDS, kind)


def stream_class(kind: str) -> type[Stream]:
    """Return the class of a kind; its `model_fields` are the options.

    Raises:
        UnknownNameError: there is no such kind.
    """
    found = find_stream(kind)
    if found is None:
        raise unknown_name("kind of stream", kind, _KINDS)
    return found


def kinds_of(stream: type[Stream]) -> tuple[str, ...]:
    """Return the names under which a class is registered."""
    return tuple(kind for kind, registered in _KINDS.items() if registered is stream)


class _Basic(Stream):
    """The options of the first three kinds; all three keep both, so that their models and features stay valid."""

    symmetric: ClassVar[bool] = True

    span: Annotated[float, Field(gt=0, le=10)] = 0.2
    gain: Annotated[float, Field(gt=0, le=16)] = 1.0


@register_stream("appearance", meaning="RGB frames at the input size of the encoder")
class Appearance(_Basic):
    """The frame itself.

    Attributes:
        span: not used.
        gain: not used.
    """

    @property
    def offsets(self) -> tuple[float, ...]:
        """The timestamp alone."""
        return (0.0,)

    def combine(self, frames: Tensor) -> Tensor:
        """Return the frame: uint8 (T, 1, 3, H, W) to (T, 3, H, W)."""
        return frames[:, 0]


@register_stream("gray", meaning="gray frames at the input size of the encoder, three times the same")
class Gray(Stream):
    """The frame in gray, for an encoder of colour frames: what was recorded in gray and in colour looks alike."""

    gray: ClassVar[bool] = True
    symmetric: ClassVar[bool] = True

    @property
    def offsets(self) -> tuple[float, ...]:
        """The timestamp alone."""
        return (0.0,)

    def combine(self, frames: Tensor) -> Tensor:
        """Return the frame three times: uint8 (T, 1, 1, H, W) to (T, 3, H, W)."""
        return frames[:, 0].expand(-1, 3, -1, -1)


@register_stream("difference", meaning="difference of two frames: grey where nothing moved")
class Difference(_Basic):
    """The change over `span`, gray where nothing moved: a network of photographs sees the outline of the motion.

    Attributes:
        span: seconds between the two frames.
        gain: factor of the difference before it is clipped to 0-255.
    """

    @property
    def offsets(self) -> tuple[float, ...]:
        """Half of the span before and after."""
        return (-self.span / 2, self.span / 2)

    def combine(self, frames: Tensor) -> Tensor:
        """Return the later frame less the earlier one, around middle gray: (T, 2, 3, H, W) to (T, 3, H, W)."""
        change = frames[:, 1].to(torch.int16) - frames[:, 0].to(torch.int16)
        if self.gain != 1.0:
            change = (change * self.gain).round_().to(torch.int16)
        return change.add_(127).clamp_(0, 255).to(torch.uint8)


@register_stream(
    "triplet", meaning="three grey frames as red, green and blue: still parts are grey, moving ones coloured"
)
class Triplet(_Basic):
    """Three gray frames as the colours of one image: moving parts are coloured, in the order of time.

    Attributes:
        span: seconds between the first and the last frame.
        gain: not used.
    """

    gray: ClassVar[bool] = True

    @property
    def offsets(self) -> tuple[float, ...]:
        """The timestamp, and half of the span before and after."""
        return (-self.span / 2, 0.0, self.span / 2)

    def combine(self, frames: Tensor) -> Tensor:
        """Return the three frames as red, green and blue: (T, 3, 1, H, W) to (T, 3, H, W)."""
        return frames[:, :, 0]


def luma(images: Tensor) -> Tensor:
    """Return gray images (ITU-R BT.601): uint8 (..., 3, H, W) to (..., H, W); on the CPU."""
    red, green, blue = np.moveaxis(images.numpy(), -3, 0)
    weighted = red * np.uint32(299)
    weighted += green * np.uint32(587)
    weighted += blue * np.uint32(114)
    weighted += np.uint32(500)
    weighted //= np.uint32(1000)  # NumPy divides by a constant with SIMD instructions, PyTorch does not
    return torch.from_numpy(weighted.astype(np.uint8))
