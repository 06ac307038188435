"""The timestamps of all frames are those at which a player shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import MakeVideo
from marey.errors import VideoError
from marey.video import frame_times, play


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("even.mp4", {}),
        ("reordered.mp4", {"b_frames": 2}),
        ("uneven.mp4", {"pts": [0.0, 0.04, 0.2, 0.24, 0.5, 0.9]}),
        ("late.mp4", {"pts": [3.0, 3.04, 3.2, 3.24]}),
        ("stream.ts", {}),
        ("old.avi", {"codec": "mpeg4"}),
        ("matroska.mkv", {"b_frames": 1}),
    ],
)
def test_times_are_those_of_the_frames_that_are_played(
    name: str, options: dict[str, object], make_video: MakeVideo, tmp_path: Path
) -> None:
    path = make_video(tmp_path / name, seconds=1.0, **options)  # type: ignore[arg-type]
    with play(path) as playback:
        played = [frame.time for frame in playback]
    np.testing.assert_allclose(frame_times(path), played, atol=2e-3)


def test_a_file_that_is_no_video_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(VideoError, match="not_video"):
        frame_times(tmp_path / "a.mp4")
