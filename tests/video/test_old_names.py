from __future__ import annotations

from pathlib import Path

import pytest
import torch

from conftest import MakeVideo
from marey import video


def test_old_names_of_marey_video_work_with_a_warning(make_video: MakeVideo, tmp_path: Path) -> None:
    for name in ("PlayedFrame", "SHORT", "show"):
        with pytest.warns(DeprecationWarning, match=name):
            assert getattr(video, name) is not None
    with pytest.warns(DeprecationWarning, match="timestamps"):
        assert video.Sampling(count=2).instants(0.0, 1.0).tolist() == [0.25, 0.75]
    with video.play(make_video(tmp_path / "a.mp4", seconds=0.2)) as playback:
        frame = next(playback)
        with pytest.warns(DeprecationWarning, match="to_rgb"):
            assert torch.equal(playback.picture(frame), playback.to_rgb(frame))
    with pytest.raises(AttributeError, match="unknown"):
        video.unknown  # noqa: B018
