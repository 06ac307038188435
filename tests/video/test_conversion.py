"""Interlaced and HDR video is read as other video looks, in every way that frames are read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest
import torch

from marey.encoders import Contract, load_encoder
from marey.errors import UsageError
from marey.training import load_recipe
from marey.video import decode, play

PQ, HLG = "smpte2084", "arib-std-b67"


def write(path: Path, frame: av.VideoFrame, parameters: str) -> Path:
    """Encode a frame five times, losslessly."""
    with av.open(str(path), "w") as container:
        options = {"x264-params": parameters, "qp": "0", "g": "1"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = frame.height, frame.width, frame.format.name
        for index in range(5):
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def fields(path: Path, upper: int, lower: int, *, flag: bool = True) -> Path:
    """Write frames whose even lines are of one level, and whose odd lines of another."""
    image = np.full((96, 128, 3), upper, np.uint8)
    image[1::2] = lower
    return write(path, av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv444p"), "tff=1" * flag)


def grays(path: Path, codes: list[float], transfer: str) -> Path:
    """Write columns of 16 pixels of 10-bit grays, as shares of the range from black to white."""
    frame = av.VideoFrame(16 * len(codes), 64, "yuv420p10le")
    for number, plane in enumerate(frame.planes):
        values = np.full((plane.height, plane.line_size // 2), 512, np.uint16)
        if number == 0:
            values[:, : frame.width] = np.repeat([round(64 + 876 * code) for code in codes], 16)
        plane.update(values.tobytes())
    return write(path, frame, f"transfer={transfer}:colorprim=bt2020:colormatrix=bt2020nc")


def pq_code(nits: float) -> float:
    """Return the PQ code of a luminance in cd/m² (SMPTE ST 2084)."""
    y = (nits / 10_000) ** (1305 / 8192)
    return float(((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32))


def levels(path: Path, conversion: Literal["none", "standard"], size: tuple[int, int]) -> list[float]:
    image = decode(path, [0.0], size=size, conversion=conversion).data[0].float()
    return [float(column.mean()) for column in image[:, :, 4:].unfold(2, 8, 16).permute(2, 0, 1, 3)]


def test_pq_is_shown_with_its_reference_white_as_white(tmp_path: Path) -> None:
    nits = [0.0, 5.0, 25.0, 100.0, 203.0, 1000.0]
    path = grays(tmp_path / "pq.mp4", [pq_code(value) if value else 0.0 for value in nits], PQ)
    expected = [255 * min(1.0, value / 203) ** (1 / 2.4) for value in nits]
    assert levels(path, "standard", (64, 96)) == pytest.approx(expected, abs=6)
    assert levels(path, "none", (64, 96))[4] < 160  # pale: as it was read before


def test_hlg_is_brighter_than_it_is_stored_and_keeps_its_order(tmp_path: Path) -> None:
    path = grays(tmp_path / "hlg.mp4", [0.0, 0.2, 0.4, 0.6, 0.75], HLG)
    found = levels(path, "standard", (64, 80))
    assert found == sorted(found)
    assert found[0] == pytest.approx(0, abs=4)
    assert found[-1] == pytest.approx(255, abs=6)  # 75 % is reference white (ITU-R BT.2408)


def test_one_field_of_an_interlaced_frame_is_read(tmp_path: Path) -> None:
    path = fields(tmp_path / "fields.mp4", 200, 60)
    assert levels(path, "standard", (48, 64)) == pytest.approx([200] * 4, abs=3)
    assert levels(path, "none", (48, 64)) == pytest.approx([130] * 4, abs=3)
    assert decode(path, [0.0]).data.shape == (1, 3, 96, 128)


def test_progressive_frames_are_the_same_bits_with_and_without_it(tmp_path: Path) -> None:
    path = fields(tmp_path / "progressive.mp4", 200, 60, flag=False)
    for size in (None, (48, 64), (96, 128)):
        one, other = (decode(path, [0.0, 0.1], size=size, conversion=kind).data for kind in ("none", "standard"))
        assert torch.equal(one, other)


@pytest.mark.parametrize("conversion", ["none", "standard"])
@pytest.mark.parametrize("kind", ["fields", "pq"])
def test_playing_gives_the_frames_of_decoding(
    tmp_path: Path, kind: str, conversion: Literal["none", "standard"]
) -> None:
    path = tmp_path / "a.mp4"
    path = fields(path, 200, 60) if kind == "fields" else grays(path, [0.1, 0.3, 0.5, 0.7], PQ)
    (wanted,) = decode(path, [0.0], size=(40, 56), conversion=conversion).data
    with play(path) as playback:
        frame = next(iter(playback))
        assert torch.equal(playback.to_rgb(frame, size=(40, 56), conversion=conversion), wanted)


def test_an_unknown_conversion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="conversion"):
        decode(fields(tmp_path / "a.mp4", 1, 2), [0.0], conversion="vivid")  # type: ignore[arg-type]


def test_models_of_before_read_frames_as_stored_and_new_ones_convert() -> None:
    recipe = load_recipe("chronophotograph", changes=["encoder.weights=random"])
    contract = Contract.from_recipe(recipe, load_encoder(recipe.encoder, frames=recipe.sampling.count))
    assert contract.conversion == "standard"
    stored = contract.model_copy(update={"conversion": "none"}).model_dump(mode="json")
    assert "conversion" not in stored
    assert Contract.model_validate(stored).conversion == "none"
