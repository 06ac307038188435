from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from marey.video import probe
from marey.video.versions import fraction_of, open_input, states_size


def test_fraction_of_is_a_fraction_or_none_whatever_pyav_gives(make_video: Any, tmp_path: Path) -> None:
    with open_input(str(make_video(tmp_path / "a.mp4", seconds=0.2))) as container:
        stream = container.streams.video[0]
        assert fraction_of(stream.average_rate) == Fraction(25)
        assert isinstance(fraction_of(stream.average_rate), Fraction)
        assert isinstance(fraction_of(stream.time_base), Fraction)
    assert fraction_of(None) is None
    assert fraction_of(Fraction(0)) is None  # PyAV 19 has 0 where nothing is set
    assert fraction_of(av.VideoFrame(16, 16, "rgb24").time_base) is None


def test_states_size_is_true_of_files(make_video: Any, tmp_path: Path) -> None:
    with open_input(str(make_video(tmp_path / "a.mp4", seconds=0.2))) as container:
        assert states_size(container)


def test_a_file_with_a_tag_that_is_not_utf8_is_opened(make_video: Any, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", seconds=0.2)
    content = path.read_bytes()
    tag = content.index(b"ENCODER")
    path.write_bytes(content[:tag] + b"ENC\xe9\xff\xfeR" + content[tag + 7 :])
    assert probe(path).frame_rate == 25
