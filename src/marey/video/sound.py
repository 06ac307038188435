"""Copy or encode the sound of a video for another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from marey.video.limits import Limits
from marey.video.reader import Reader
from marey.video.source import Source, demux, open_video, translate_errors
from marey.video.versions import fraction_of

# Codecs that mp4 can hold and players support
_COPIED = frozenset(["aac", "ac3", "alac", "eac3", "flac", "mp3", "mp3float", "opus", "libopus"])
_SAMPLE_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)  # AAC
_CHANNELS = (1, 2, 6)  # mono, stereo, 5.1, which players support; any other becomes stereo
_BITS_PER_CHANNEL = 96_000  # per second
_LEAD_IN = 0.1  # s of sound that a decoder needs before the first sample


class Sound:
    """Packets of sound, ordered by time, which counts from the first frame of the video."""

    def __init__(self, source: Source, stream: AudioStream, origin: Fraction, container: OutputContainer) -> None:
        self._source = source
        self._stream = stream
        self._origin = origin
        copied = stream.codec_context.name in _COPIED
        self._out = container.add_stream_from_template(stream) if copied else _add_aac(container, stream)
        self._packets = self._copy() if copied else self._encode()
        self._waiting: Packet[AudioStream] | None = None
        self._kind: tuple[str, str, int] | None = None

    def packets_until(self, seconds: float) -> Iterator[Packet[AudioStream]]:
        """Yield the packets up to a time that have not been yielded yet.

        Raises:
            VideoError: the video cannot be read any further.
        """
        self._source.deadline.restart()
        while True:
            packet = self._waiting or self._next()
            self._waiting = packet
            if packet is None or float((packet.dts or 0) * packet.time_base) > seconds:
                return
            self._waiting = None
            yield packet

    def _next(self) -> Packet[AudioStream] | None:
        with translate_errors(self._source.path, self._source.deadline):
            return next(self._packets, None)

    def _demux(self) -> Iterator[Packet[AudioStream]]:
        for packet in demux(self._source, self._stream):
            self._source.deadline.check()
            yield packet

    def _copy(self) -> Iterator[Packet[AudioStream]]:
        last: int | None = None
        for packet in self._demux():
            dts = packet.dts if packet.dts is not None else packet.pts
            if not packet.size or dts is None:
                continue
            first = self._ticks(packet.time_base)
            end = float((dts - first + (packet.duration or 0)) * packet.time_base)
            if end <= -_LEAD_IN or (last is not None and dts <= last):
                continue  # times in mp4 cannot decrease
            last = dts
            packet.pts = max(dts, dts if packet.pts is None else packet.pts) - first
            packet.dts = dts - first
            packet.stream = self._out
            yield packet

    def _encode(self) -> Iterator[Packet[AudioStream]]:
        for packet in self._demux():
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                continue  # a moment of silence is better than no video
            for frame in frames:
                time_base = fraction_of(frame.time_base)
                if frame.pts is None or time_base is None:
                    continue
                frame.pts -= self._ticks(time_base)
                if frame.pts * time_base + Fraction(frame.samples, frame.sample_rate) > 0:
                    yield from self._convert(frame)
        yield from self._out.encode(None)

    def _convert(self, frame: AudioFrame) -> Iterator[Packet[AudioStream]]:
        """Encode a frame of any kind: a broadcast may change from mono to stereo at any time."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self._kind:
            self._kind = kind
            self._resampler = AudioResampler(self._out.format, self._out.layout, self._out.rate)
        for part in self._resampler.resample(frame):
            yield from self._out.encode(part)

    def _ticks(self, time_base: Fraction) -> int:
        return round(self._origin / time_base)


def open_sound(path: Path, container: OutputContainer, opened: ExitStack) -> Sound | None:
    """Add the first audio stream of a video to a file; None if there is none that can be decoded.

    Args:
        path: the video.
        container: the mp4 file to which the sound is added.
        opened: closes the video at the end.

    Raises:
        VideoError: the video cannot be used.
    """
    limits = Limits()
    with open_video(path, limits) as source:
        origin = Reader(source).origin * source.time_base
    with ExitStack() as opening:
        source = opening.enter_context(open_video(path, limits))
        streams = [stream for stream in source.container.streams.audio if stream.codec_context is not None]
        sound = Sound(source, streams[0], origin, container) if streams else None
        opened.callback(opening.pop_all().close)
        return sound


def _add_aac(container: OutputContainer, stream: AudioStream) -> AudioStream:
    rate = stream.sample_rate if stream.sample_rate in _SAMPLE_RATES else 48_000
    out = container.add_stream("aac", rate=rate)
    channels = stream.layout.nb_channels
    out.codec_context.layout = {1: "mono", 6: "5.1"}.get(channels, "stereo")
    out.codec_context.bit_rate = _BITS_PER_CHANNEL * (channels if channels in _CHANNELS else 2)
    return out
