"""Video files and streams: probe, choose timestamps, decode, play, write."""

import warnings
from typing import Any

from marey.video.array_source import each_frame_at, frames_at
from marey.video.conversion import Conversion
from marey.video.decode import decode, decode_each
from marey.video.encode import write_video
from marey.video.frame_times import frame_times
from marey.video.frames import TIME_TOLERANCE, Frames
from marey.video.limits import STRANGERS_MEMORY, Limits
from marey.video.live import open_live
from marey.video.playback import Playback, StreamFrame, play
from marey.video.probe import VideoInfo, probe
from marey.video.region import Region
from marey.video.sampling import SHORT_POLICIES, Decoder, Sampling
from marey.video.shifted_copy import SHIFTS, Shift, write_shifted
from marey.video.torchcodec_reader import require_decoder
from marey.video.transform import Anchor, Fit, Interpolation
from marey.video.urls import is_live
from marey.video.web_video import WEB_SUFFIX, fetch_video
from marey.video.writer import VideoWriter

__all__ = [
    "SHIFTS",
    "SHORT_POLICIES",
    "STRANGERS_MEMORY",
    "TIME_TOLERANCE",
    "WEB_SUFFIX",
    "Anchor",
    "Conversion",
    "Decoder",
    "Fit",
    "Frames",
    "Interpolation",
    "Limits",
    "Playback",
    "Region",
    "Sampling",
    "Shift",
    "StreamFrame",
    "VideoInfo",
    "VideoWriter",
    "decode",
    "decode_each",
    "each_frame_at",
    "fetch_video",
    "frame_times",
    "frames_at",
    "is_live",
    "open_live",
    "play",
    "probe",
    "require_decoder",
    "write_shifted",
    "write_video",
]

_RENAMED = {"PlayedFrame": StreamFrame, "SHORT": SHORT_POLICIES, "show": frames_at}


def __getattr__(name: str) -> Any:
    """Return what has an older name; it goes with the next release."""
    if name not in _RENAMED:
        raise AttributeError(f"module 'marey.video' has no attribute '{name}'")
    warnings.warn(f"marey.video.{name} has another name now; see marey.video.__all__", DeprecationWarning, stacklevel=2)
    return _RENAMED[name]
