"""How a clip becomes tensors: decided once, kept in the model, read from there ever after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from marey.data import Clip, content_hash
from marey.encoders.streams import Stream
from marey.errors import UnknownNameError, UsageError, VideoError
from marey.video import Anchor, Fit, Interpolation, Limits, Sampling, decode, probe, show

FrameOrder = Literal["given", "reversed", "shuffled"]
FRAME_ORDERS: tuple[FrameOrder, ...] = get_args(FrameOrder)
Precision = Literal["float32", "bfloat16", "int8"]

Side = Annotated[int, Field(ge=1, le=4096)]

_DEFAULT_LIMITS = Limits()
PIXELS: Final = {"pixels": 3, "grey-pixels": 1}
"""Encoders that hand out the pictures themselves, and the colours that each keeps."""

GIVEN: Final = "features"
"""The encoder's name in the contract of features that came as files, and that nobody here knows how to make."""

_INSIDE: Final = 1e-5  # s before the end of a span: a decoder takes what is nearer for the frame that begins there


class EncoderSpec(BaseModel):
    """Which frozen network turns pictures into features, and what is taken from it.

    Attributes:
        name: "efficientnet-lite0", whose weights are installed with marey; any model name of timm; one of torchvision's
            networks for video ("r2plus1d-18", "s3d", "mvit-v2-s", "swin3d-t"), which give one vector a clip; a video
            transformer of Hugging Face ("videomae", "vjepa2"), which gives tokens; or "pixels" and "grey-pixels", which
            encode nothing: for networks that are trained end to end.
        weights: "pretrained" ones, "random" ones (the control: what the architecture alone is worth), or the path of a
            file of them (safetensors, or a PyTorch file of tensors).
        precision: of the arithmetic; features are float32 in any case. "int8" is what `marey quantise` makes of a
            trained run, and cannot be asked for before.
        size: height and width of its input in pixels, or one number for both; None for what it was trained at.
        grid: rows and columns that its last feature map is averaged over, so that features say where as well as
            what; None takes the vector that the network itself gives to its classifier.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "efficientnet-lite0"
    weights: str = "pretrained"
    precision: Precision = "float32"
    size: Side | tuple[Side, Side] | None = None
    grid: tuple[Annotated[int, Field(ge=1, le=16)], Annotated[int, Field(ge=1, le=16)]] | None = None


@dataclass(frozen=True, slots=True)
class View:
    """One way to read a clip. Evaluation and prediction take the first one; training may take several.

    Attributes:
        index: 0 is the middle of the segments; from 1 on, each number stands for its own random instants.
        mirrored: left and right exchanged.
        part: k and n, where a clip is tested n times: see `Sampling.instants`.
        anchor: which part of the picture a crop takes.
    """

    index: int = 0
    mirrored: bool = False
    part: tuple[int, int] = (0, 1)
    anchor: Anchor = "middle"

    @property
    def decoding(self) -> tuple[int, tuple[int, int], Anchor]:
        """What of it is settled by decoding: readings that agree in this are decoded once."""
        return self.index, self.part, self.anchor


class MultiView(BaseModel):
    """In how many ways a clip is read when it is tested or predicted; probabilities are averaged over them.

    Attributes:
        clips: temporal ones: other moments of the segments, and for dense sampling windows along the clip.
        crops: spatial ones: 3 looks at both ends of the longer side as well as at the middle; with `fit: crop` only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: Annotated[int, Field(ge=1, le=64)] = 1
    crops: Literal[1, 3] = 1

    @property
    def views(self) -> tuple[View, ...]:
        """All of them; the plain one alone where there is one."""
        anchors: tuple[Anchor, ...] = ("first", "middle", "last") if self.crops == 3 else ("middle",)
        return tuple(View(part=(part, self.clips), anchor=anchor) for part in range(self.clips) for anchor in anchors)


class Contract(BaseModel):
    """All that stands between a clip and the head: the same in training, evaluation, prediction and export.

    Attributes:
        sampling: from the span of the clip to T instants.
        testing: in how many ways a clip is read.
        streams: name to stream; each gives one picture an instant.
        fit: how a picture of another shape comes to `size`.
        encoder: the frozen network.
        encoder_hash: of its weights; another network of the same name is refused.
        size: (H, W) of its input, in pixels.
        interpolation: how pictures are resized for it.
        mean: subtracted from RGB in [0, 1].
        std: RGB is divided by it after that.
        dim: D, numbers a feature vector; of pictures, all of their pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampling: Sampling
    testing: MultiView = MultiView()
    streams: Annotated[dict[str, Stream], Field(min_length=1)]
    fit: Fit
    encoder: EncoderSpec
    encoder_hash: str
    size: tuple[Side, Side]
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dim: int

    @model_validator(mode="after")
    def _crops_fit(self) -> Self:
        if self.testing.crops > 1 and self.fit != "crop":
            raise ValueError("testing.crops=3 looks at what a crop leaves out, and needs fit: crop")
        return self

    @model_validator(mode="after")
    def _key_frames_stand_alone(self) -> Self:
        comparing = " and ".join(f"'{name}'" for name, stream in self.streams.items() if len(stream.offsets) > 1)
        if self.sampling.frames == "keyframes" and comparing:
            raise ValueError(
                f"sampling.frames=keyframes takes key frames, which lie seconds apart, and the streams {comparing} "
                "compare frames a fraction of a second apart; keep streams of kind appearance, or frames: exact"
            )
        return self

    @property
    def gives_pictures(self) -> bool:
        """Whether networks get the pictures themselves, uint8 (T, C, H, W), and not features (T, D)."""
        return self.encoder.name in PIXELS

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what a network gets of a clip: (D,) a frame, or (T, C, H, W) of all its pictures."""
        if not self.gives_pictures:
            return (self.dim,)
        return (self.sampling.count, PIXELS[self.encoder.name], *self.size)


def read_clip(
    clip: Clip,
    contract: Contract,
    *,
    streams: tuple[str, ...] | None = None,
    view: View = View(),
    order: FrameOrder = "given",
    limits: Limits = _DEFAULT_LIMITS,
) -> dict[str, Tensor]:
    """Decode what the contract asks of a clip, and make its streams.

    Args:
        clip: the span to read; open ends mean the start and the end of the file.
        contract: how.
        streams: which of the contract's streams; all by default.
        view: which of the readings.
        order: "given" is the order of time. "shuffled" hands out the same frames in an order that chance has drawn,
            the same one each time; "reversed" back to front. What a model loses by that is what it knows of time.
        limits: of decoding.

    Returns:
        Stream name to uint8 (T, 3, H, W).

    Raises:
        VideoError: the file cannot be used.
    """
    wanted = {view: streams or tuple(contract.streams)}
    return read_clip_views(clip, contract, wanted, order=order, limits=limits)[view]


def read_clip_views(
    clip: Clip,
    contract: Contract,
    wanted: Mapping[View, tuple[str, ...]],
    *,
    order: FrameOrder = "given",
    limits: Limits = _DEFAULT_LIMITS,
) -> dict[View, dict[str, Tensor]]:
    """Read a clip in several ways; what differs only in left and right is decoded once.

    Args:
        clip: as for `read_clip`.
        contract: likewise.
        wanted: the readings, and which of the contract's streams of each.
        order: as for `read_clip`.
        limits: likewise, each decoding.

    Returns:
        For each reading what `read_clip` gives.

    Raises:
        VideoError: the file cannot be used.
    """
    if order not in FRAME_ORDERS:
        raise UnknownNameError("frame order", order, FRAME_ORDERS)
    start, end = clip_span(clip, limits)
    found: dict[View, dict[str, Tensor]] = {}
    for decoding in dict.fromkeys(view.decoding for view in wanted):
        sides = [view for view in wanted if view.decoding == decoding]
        # Frames that change places do so among those of all streams, whichever of them are wanted.
        read = tuple(name for name in contract.streams if order != "given" or any(name in wanted[v] for v in sides))
        plan = _Plan(contract, read, _instants(clip, contract.sampling, sides[0], start, end), start, end)
        frames = decode(
            clip.path,
            plan.moments,
            size=contract.size,
            fit=contract.fit,
            anchor=sides[0].anchor,
            interpolation=contract.interpolation,
            frames=contract.sampling.frames,
            decoder=contract.sampling.decoder,
            limits=limits,
        ).data
        if order == "reversed":
            frames = frames.flip(0)
        elif order == "shuffled":
            frames = frames[torch.from_numpy(_chance(clip, 0, start, end).permutation(len(frames)))]
        for view in sides:
            pictures = plan.pictures(frames.flip(-1) if view.mirrored else frames)
            found[view] = {stream: pictures[stream] for stream in wanted[view]}
    return found


def read_frames(
    pictures: npt.NDArray[np.uint8] | Tensor, contract: Contract, *, frame_rate: float, view: View = View()
) -> dict[str, Tensor]:
    """Make the streams of a clip that is in memory.

    Args:
        pictures: uint8 RGB, (T, H, W, 3) or (T, 3, H, W).
        contract: how.
        frame_rate: pictures per second.
        view: which of the readings; not one at random.

    Returns:
        Stream name to uint8 (T, 3, H, W).

    Raises:
        UsageError: an array of another type or shape, a rate that is none, or a contract on key frames.
        VideoError: the clip is too short for the contract's sampling.
    """
    if contract.sampling.frames == "keyframes":
        raise UsageError(
            "this model looks at the key frames of files, and frames in memory have none; write them to a file"
        )
    end = max(len(pictures), 1) / frame_rate if frame_rate > 0 else 1.0
    plan = _Plan(contract, tuple(contract.streams), contract.sampling.instants(0.0, end, part=view.part), 0.0, end)
    frames = show(
        pictures,
        plan.moments,
        frame_rate=frame_rate,
        size=contract.size,
        fit=contract.fit,
        anchor=view.anchor,
        interpolation=contract.interpolation,
    )
    return plan.pictures(frames.data)


class _Plan:
    """Which moments of a clip all streams together need, each once, and which of them belongs where."""

    def __init__(
        self,
        contract: Contract,
        streams: tuple[str, ...],
        instants: npt.NDArray[np.float64],
        start: float,
        end: float,
    ) -> None:
        self._streams = {name: contract.streams[name] for name in streams}
        last = max(start, end - _INSIDE)
        asked = [
            np.clip(instants[:, None] + np.array(stream.offsets), start, last) for stream in self._streams.values()
        ]
        self._shapes = [times.shape for times in asked]
        self.moments, where = np.unique(np.concatenate([times.ravel() for times in asked]), return_inverse=True)
        self._where = torch.from_numpy(where).split([times.size for times in asked])

    def pictures(self, frames: Tensor) -> dict[str, Tensor]:
        """Stream name to uint8 (T, 3, H, W), from one frame a moment."""
        return {
            name: stream.combine(frames[where].unflatten(0, shape))
            for (name, stream), where, shape in zip(self._streams.items(), self._where, self._shapes, strict=True)
        }


def clip_span(clip: Clip, limits: Limits = _DEFAULT_LIMITS) -> tuple[float, float]:
    """Start and end of a clip in seconds, open ends filled in from the file.

    Raises:
        VideoError: the file cannot be used, or ends before the clip starts (`too_short`).
    """
    start = clip.start or 0.0
    if clip.end is not None:
        return start, clip.end
    duration = probe(clip.path, limits=limits).duration
    if duration <= start:
        raise VideoError(
            clip.path, "too_short", f"the clip starts at {start:g} s, and the video ends at {duration:.3f} s"
        )
    return start, duration


def typical_duration(clips: Sequence[Clip], limits: Limits = _DEFAULT_LIMITS) -> float | None:
    """The median duration of clips in seconds, of at most 64 of them, spread over all; None where none can be read."""
    durations = []
    for clip in clips[:: max(1, len(clips) // 64)][:64]:
        with suppress(VideoError):
            start, end = clip_span(clip, limits)
            durations.append(end - start)
    return float(np.median(durations)) if durations else None


def _instants(clip: Clip, sampling: Sampling, view: View, start: float, end: float) -> npt.NDArray[np.float64]:
    if view.index == 0:
        return sampling.instants(start, end, part=view.part, path=clip.path)
    random = sampling.model_copy(update={"position": "random"})
    return random.instants(start, end, generator=_chance(clip, view.index, start, end), path=clip.path)


def _chance(clip: Clip, number: int, start: float, end: float) -> np.random.Generator:
    """Chance that depends on the clip's content and not on its name: features are cached by content."""
    content = int(content_hash(clip.path), 16)
    return np.random.default_rng([number, content, round(start * 1e6), round(end * 1e6)])
