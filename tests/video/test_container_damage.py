"""Damage that a container shows: checksums of Ogg pages, and counters of a transport stream."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.video.stream import VideoStream

from conftest import draw, read
from marey.errors import VideoError
from marey.video import Limits, decode, play, probe
from marey.video.ogg_pages import page_checksum
from marey.video.source import open_video

FRAMES, GOP, RATE = 48, 12, 24
SIZE = (120, 160)
TIMES = np.arange(FRAMES) / RATE + 0.01
TS_PACKET = 188


@pytest.fixture
def ogg(tmp_path: Path) -> Path:
    """VP8 in Ogg, a key frame each half second."""
    return written(tmp_path / "a.ogv", "libvpx", "ogg")


@pytest.fixture
def broadcast(tmp_path: Path) -> Path:
    """H.264 with B-frames in a transport stream, a key frame each half second."""
    return written(tmp_path / "a.ts", "libx264", "mpegts")


def written(path: Path, codec: str, container: str) -> Path:
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE, options={"g": str(GOP), "keyint_min": str(GOP)})
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = SIZE
        stream.pix_fmt, stream.bit_rate = "yuv420p", 400_000
        stream.codec_context.time_base = Fraction(1, RATE)
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(draw(index, SIZE), format="rgb24")
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def pages(data: bytes) -> list[int]:
    return [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]


def outcome(path: Path, whole: npt.NDArray[np.uint8]) -> str:
    """What decoding all frames gives: `same`, `other` frames without a word, or the reason."""
    try:
        found = decode(path, TIMES).data.numpy()
    except VideoError as error:
        return error.reason
    return "same" if np.array_equal(found, whole) else "other"


def test_the_checksum_of_a_page_is_the_one_that_is_written_in_it(ogg: Path) -> None:
    data = ogg.read_bytes()
    starts = pages(data)
    for at, end in zip(starts, [*starts[1:], len(data)], strict=True):
        assert page_checksum(data[at:end]) == int.from_bytes(data[at + 22 : at + 26], "little")


@pytest.mark.parametrize("part", range(4))
def test_a_changed_bit_of_an_ogg_file_gives_no_other_frames(ogg: Path, tmp_path: Path, part: int) -> None:
    whole, data = decode(ogg, TIMES).data.numpy(), ogg.read_bytes()
    assert [read(frame) for frame in whole] == list(range(FRAMES))
    random = np.random.default_rng(part)
    found = set()
    for _ in range(10):
        damaged = bytearray(data)
        damaged[random.integers(len(data) // 20, len(data))] ^= 1 << random.integers(8)
        (tmp_path / "b.ogv").write_bytes(damaged)
        found.add(outcome(tmp_path / "b.ogv", whole))
    assert found == {"corrupt"}


def test_a_page_that_is_missing_from_an_ogg_file_is_damage(ogg: Path) -> None:
    whole, data = decode(ogg, TIMES).data.numpy(), ogg.read_bytes()
    starts = pages(data)
    first, end = starts[len(starts) // 2], starts[len(starts) // 2 + 1]
    ogg.write_bytes(data[:first] + data[end:])
    assert outcome(ogg, whole) == "corrupt"


def test_frames_away_from_a_damaged_page_are_read(ogg: Path) -> None:
    data = bytearray(ogg.read_bytes())
    with open_video(ogg, Limits()) as source:
        places = {packet.pos: packet.pts for packet in source.container.demux(source.stream) if packet.size}
    at = max(place for place in places if place is not None)  # the last page with the start of a frame
    before = decode(ogg, TIMES[:1]).data
    data[at + 60] ^= 1
    ogg.write_bytes(data)
    assert np.array_equal(decode(ogg, TIMES[:1]).data, before)
    with pytest.raises(VideoError, match="is damaged"):
        decode(ogg, TIMES[-1:])


def test_a_key_frame_in_a_damaged_page_is_damage(ogg: Path) -> None:
    data = bytearray(ogg.read_bytes())
    with open_video(ogg, Limits()) as source:
        keys = [(packet.pos, packet.pts) for packet in source.container.demux(source.stream) if packet.is_keyframe]
    at, pts = keys[-1]
    assert at is not None
    assert pts is not None
    data[at + 60] ^= 1
    ogg.write_bytes(data)
    assert len(decode(ogg, TIMES[:1], frames="keyframes")) == 1
    assert read(decode(ogg, [2 * GOP / RATE], frames="keyframes").data[0]) == 2 * GOP
    with pytest.raises(VideoError, match="may hold a key frame, is damaged"):
        decode(ogg, [pts / RATE], frames="keyframes")


def test_a_damaged_header_of_an_ogg_file_is_named(ogg: Path) -> None:
    data = bytearray(ogg.read_bytes())
    data[40] ^= 1
    ogg.write_bytes(data)
    with pytest.raises(VideoError, match="header at byte 0 fails its checksum"):
        probe(ogg)


def test_packets_that_are_missing_between_key_frames_of_a_transport_stream_give_no_other_frames(
    broadcast: Path, tmp_path: Path
) -> None:
    whole, data = decode(broadcast, TIMES).data.numpy(), broadcast.read_bytes()
    with open_video(broadcast, Limits()) as source:
        starts = [packet.pos or 0 for packet in source.container.demux(source.stream) if packet.size]
    found = set()
    for number, (at, end) in enumerate(pairwise(starts)):
        if number > GOP and 0 < number % GOP < GOP - 1:  # at a key frame it may be a joint
            for place in (at, end - TS_PACKET):
                (tmp_path / "b.ts").write_bytes(data[:place] + data[place + TS_PACKET :])
                found.add(outcome(tmp_path / "b.ts", whole))
    assert "corrupt" in found
    assert found <= {"corrupt", "same"}  # the same without a table of the container's


def test_transport_streams_that_are_joined_are_no_damage(broadcast: Path, tmp_path: Path) -> None:
    (tmp_path / "both.ts").write_bytes(2 * broadcast.read_bytes())
    with play(tmp_path / "both.ts") as playback:
        assert [read(playback.to_rgb(frame)) for frame in playback] == 2 * list(range(FRAMES))


def test_the_rest_of_a_transport_stream_after_missing_packets_is_read(broadcast: Path) -> None:
    data = broadcast.read_bytes()
    at = TS_PACKET * (len(data) // TS_PACKET // 8)
    broadcast.write_bytes(data[:at] + data[at + TS_PACKET :])
    assert read(decode(broadcast, TIMES[-1:]).data[0]) == FRAMES - 1
