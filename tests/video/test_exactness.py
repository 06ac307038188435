"""Compare frames that are reached by seeking and filtering with those of reading all, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch

from conftest import draw
from marey.errors import VideoError
from marey.video import Limits, decode
from marey.video.packet_filter import PacketFilter
from marey.video.reader import Reader
from marey.video.source import demux, open_video
from marey.video.transform import ResizeCrop

SIZE: Final = (48, 80)
COUNT: Final = 75
GOP: Final = 24


Packets = list[tuple[bytes, bool]]  # data, and whether it is a key frame
NOTHING: Final = b"\x00\x00\x01\xb6\x50\xcf\x7f"  # an MPEG-4 frame that repeats the previous one


def packed(packets: Packets) -> Packets:
    """Pack each B-frame into the packet of its reference, as DivX does in AVI, with an empty packet instead."""
    start = packets[0][0].index(b"\x00\x00\x01\xb6")
    changed: Packets = []
    pending = b""
    for data, key in packets:
        is_b = data[data.index(b"\x00\x00\x01\xb6") + 4] >> 6 == 2
        if is_b and not pending:
            changed[-1] = changed[-1][0] + data, changed[-1][1]
            pending = data
        elif is_b:
            changed.append((data, False))
        else:
            changed += [(NOTHING, False)] * bool(pending) + [(data, key)]
            pending = b""
    changed += [(NOTHING, False)] * bool(pending)
    first = changed[0][0]
    changed[0] = first[:start] + b"\x00\x00\x01\xb2DivX503b1393p" + first[start:], True
    return changed


def pausing(packets: Packets) -> Packets:
    """Insert a frame without content after every ninth frame: the previous one stays visible."""
    changed: Packets = []
    for number, packet in enumerate(packets):
        changed += [packet, (NOTHING, False)] if number % 9 == 5 else [packet]
    return changed


@dataclass(frozen=True)
class Kind:
    """A combination of container, codec and options."""

    name: str
    codec: str
    options: tuple[tuple[str, str], ...] = ()
    b_frames: int = 0
    times: tuple[float, ...] = ()  # presentation times in seconds; empty: evenly spaced
    rotated: bool = False
    drops: bool = True  # whether it holds unreferenced frames that FFmpeg can drop
    change: Callable[[Packets], Packets] | None = None  # of the written packets

    def write(self, folder: Path) -> Path:
        path = folder / self.name.replace(" ", "-")
        times = self.times or tuple(index / 25 for index in range(COUNT))
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(self.codec, rate=25, options=dict(self.options))
            stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
            stream.codec_context.gop_size = GOP
            stream.codec_context.max_b_frames = self.b_frames
            stream.codec_context.thread_count = 1
            stream.codec_context.time_base = Fraction(1, 25 if not self.times else 1000)
            for index, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(draw(index, SIZE), format="rgb24")
                frame.time_base = stream.codec_context.time_base
                frame.pts = round(time / frame.time_base)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if self.change is not None:
            self._rewrite(path, self.change)
        if self.rotated:
            data = bytearray(path.read_bytes())
            at = data.index(b"tkhd") + 44
            data[at : at + 36] = np.array([0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30], ">i4").tobytes()
            path.write_bytes(data)
        return path

    def _rewrite(self, path: Path, change: Callable[[Packets], Packets]) -> None:
        written = path.rename(path.with_suffix(".written.avi"))
        with av.open(str(written)) as source, av.open(str(path), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            packets = [(bytes(packet), packet.is_keyframe) for packet in source.demux(video=0) if packet.size]
            for number, (data, key) in enumerate(change(packets)):
                packet = av.Packet(data)
                packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), key
                packet.pts = packet.dts = number
                target.mux(packet)


X264: Final = ("sc_threshold", "0"), ("preset", "veryfast")
OPEN: Final = (*X264, ("x264-params", "open-gop=1"))
UNEVEN: Final = tuple(np.cumsum([0.02 + 0.11 * (index % 5 == 2) for index in range(COUNT)]).round(3).tolist())
KINDS: Final = (
    Kind("plain.mp4", "libx264", X264, drops=False),
    Kind("b-frames.mp4", "libx264", X264, b_frames=3),
    Kind("b-frames.mkv", "libx264", X264, b_frames=3),
    Kind("b-frames.ts", "libx264", X264, b_frames=3, drops=False),
    Kind("b-frames.avi", "libx264", X264, b_frames=3, drops=False),
    Kind("open.mp4", "libx264", OPEN, b_frames=3),
    Kind("open.mkv", "libx264", OPEN, b_frames=3),
    Kind("uneven.mp4", "libx264", X264, b_frames=2, times=UNEVEN),
    Kind("rotated.mov", "libx264", X264, b_frames=2, rotated=True),
    Kind("hevc.mp4", "libx265", (("x265-params", "log-level=none:pools=1:frame-threads=1"),), b_frames=3),
    Kind("mpeg4.mp4", "mpeg4", b_frames=2, drops=False),  # its B-frames are so small that they might be empty
    Kind("mpeg4.avi", "mpeg4", drops=False),
    Kind("mpeg4-b-frames.avi", "mpeg4", b_frames=2),
    Kind("packed.avi", "mpeg4", b_frames=2, change=packed),
    Kind("pausing.avi", "mpeg4", drops=False, change=pausing),
    Kind("mpeg2.mkv", "mpeg2video", b_frames=2),
    Kind("vp9.webm", "libvpx-vp9", (("deadline", "realtime"), ("cpu-used", "8")), drops=False),
)
TIMELESS: Final = ("b-frames.avi", "mpeg4-b-frames.avi", "packed.avi")


@dataclass(frozen=True)
class Reference:
    """A file, and all of its frames from reading it sequentially."""

    kind: Kind
    path: Path
    times: npt.NDArray[np.float64]
    images: torch.Tensor
    keys: npt.NDArray[np.bool_]

    def index_at(self, timestamps: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        return np.maximum(0, np.searchsorted(self.times, np.asarray(timestamps) + 1e-6, side="right") - 1)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def reference(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    kind: Kind = request.param
    path = kind.write(tmp_path_factory.mktemp("videos"))
    with open_video(path, Limits()) as source:
        reader = Reader(source)
        image = reader.first.image
        convert = ResizeCrop(image, pixel_aspect=1, size=None, fit="stretch", anchor="middle", interpolation="bicubic")
        times, images, keys = [], [], []
        for frame in reader.frames():
            images.append(np.empty((3, *convert.size), np.uint8))
            convert(frame.image, images[-1])
            times.append(frame.time)
            keys.append(frame.image.key_frame)
    assert len(times) == COUNT
    return Reference(kind, path, np.array(times), torch.from_numpy(np.stack(images)), np.array(keys))


def check(reference: Reference, timestamps: Sequence[float] | npt.NDArray[np.float64], *, threads: int = 1) -> None:
    frames = decode(reference.path, timestamps, threads=threads)
    expected = reference.index_at(timestamps)
    np.testing.assert_array_equal(frames.timestamps, reference.times[expected])
    assert torch.equal(frames.data, reference.images[torch.from_numpy(expected)])


def test_single_frames_equal_those_of_reading_all(reference: Reference) -> None:
    for time in reference.times[::3]:
        check(reference, [time])
        check(reference, [time + 0.015])


def test_several_frames_equal_those_of_reading_all(reference: Reference) -> None:
    rng = np.random.default_rng(0)
    check(reference, reference.times)
    check(reference, (np.arange(16) + 0.5) * reference.times[-1] / 16)
    for _ in range(12):
        check(reference, rng.uniform(-0.1, reference.times[-1] + 0.02, rng.integers(1, 9)))


def test_threads_do_not_change_frames(reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marey.video.source._WORTH_THREADS", 0)  # these frames are small
    check(reference, (np.arange(7) + 0.5) * reference.times[-1] / 7, threads=3)
    check(reference, [reference.times[40]], threads=2)


def test_unreferenced_frames_are_dropped_undecoded(reference: Reference) -> None:
    with open_video(reference.path, Limits()) as source:
        codec, packets = source.stream.codec_context, PacketFilter(source)
        start = Reader(source).origin
        source.container.seek(min(0, start), stream=source.stream)
        packets.request([start + round((GOP - 2) / 25 / source.time_base)])
        decoded = 0
        for packet, requested in packets.filter(demux(source, source.stream)):
            codec.skip_frame = "DEFAULT" if requested else "NONREF"
            decoded += len(codec.decode(packet))
        decoded += len(codec.decode(None)) if packets.complete else 0
    if reference.kind.times:
        return
    if reference.kind.drops:
        assert packets.complete
        assert decoded <= 0.75 * GOP
    else:
        assert decoded >= GOP - 4


def test_key_frames_are_those_nearest_to_the_timestamps(reference: Reference) -> None:
    keys = reference.times[reference.keys]
    timestamps = np.concatenate([np.linspace(0, reference.times[-1], 23), keys, keys - 0.3])
    frames = decode(reference.path, timestamps, frames="keyframes")
    if reference.kind.name in TIMELESS:  # a packet is due up to three frames before its frame is shown
        assert np.abs(frames.timestamps[:, None] - keys).min(axis=1).max() <= 3 / 25
        return
    distances = np.abs(timestamps[:, None] - keys)
    np.testing.assert_allclose(np.abs(frames.timestamps - timestamps), distances.min(axis=1), atol=1e-9)
    assert set(frames.timestamps) <= set(keys)
    assert torch.equal(frames.data, reference.images[torch.from_numpy(reference.index_at(frames.timestamps))])


def test_torchcodec_returns_the_same_frames_or_an_error(
    reference: Reference, read_index: Callable[[torch.Tensor], int], torchcodec: None
) -> None:
    timestamps = np.concatenate([(np.arange(9) + 0.5) * reference.times[-1] / 9, reference.times[::11]])
    if reference.kind.name in TIMELESS:
        with pytest.raises(VideoError, match="no timestamps, by which TorchCodec finds them"):
            decode(reference.path, timestamps, decoder="torchcodec")
        return
    if reference.path.suffix == ".ts":  # a stream without an index, in which TorchCodec seeks wrongly
        with pytest.raises(VideoError, match=r"TorchCodec shows another frame than that of 0.000 s"):
            decode(reference.path, timestamps, decoder="torchcodec")
        return
    ours, other = decode(reference.path, timestamps), decode(reference.path, timestamps, decoder="torchcodec")
    np.testing.assert_allclose(other.timestamps, ours.timestamps, atol=1e-9)
    assert other.data.shape == ours.data.shape
    assert (other.data.int() - ours.data.int()).abs().float().mean() < 3
    if not reference.kind.rotated:
        assert [read_index(image) for image in other.data] == reference.index_at(timestamps).tolist()
