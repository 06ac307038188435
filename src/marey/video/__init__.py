"""Video files and streams: probe, choose timestamps, decode, play, write."""

from marey.video.array_source import show
from marey.video.decode import decode
from marey.video.encode import write_video
from marey.video.frames import TIME_TOLERANCE, Frames
from marey.video.limits import Limits
from marey.video.live import open_live
from marey.video.playback import Playback, PlayedFrame, play
from marey.video.probe import VideoInfo, probe
from marey.video.sampling import SHORT_POLICIES, Decoder, Sampling
from marey.video.torchcodec_reader import require_decoder
from marey.video.transform import Anchor, Fit, Interpolation
from marey.video.urls import is_live
from marey.video.writer import VideoWriter

__all__ = [
    "SHORT_POLICIES",
    "TIME_TOLERANCE",
    "Anchor",
    "Decoder",
    "Fit",
    "Frames",
    "Interpolation",
    "Limits",
    "Playback",
    "PlayedFrame",
    "Sampling",
    "VideoInfo",
    "VideoWriter",
    "decode",
    "is_live",
    "open_live",
    "play",
    "probe",
    "require_decoder",
    "show",
    "write_video",
]
