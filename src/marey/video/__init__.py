"""Video files: look at them, choose instants, decode those, write new ones."""

from marey.video.address import is_live
from marey.video.decode import decode
from marey.video.encode import write_video
from marey.video.frames import Frames
from marey.video.limits import Limits
from marey.video.live import open_live
from marey.video.memory import show
from marey.video.picture import Anchor, Fit, Interpolation
from marey.video.playback import Playback, PlayedFrame, play
from marey.video.probe import VideoInfo, probe
from marey.video.sampling import SHORT, Decoder, Sampling
from marey.video.torchcodec_reader import require_decoder
from marey.video.writer import VideoWriter

__all__ = [
    "SHORT",
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
