"""Video files: look at them, choose instants, decode those, write new ones."""

from marey.video.decode import decode
from marey.video.encode import write_video
from marey.video.frames import Frames
from marey.video.limits import Limits
from marey.video.memory import show
from marey.video.picture import Anchor, Fit, Interpolation
from marey.video.probe import VideoInfo, probe
from marey.video.sampling import SHORT, Sampling

__all__ = [
    "SHORT",
    "Anchor",
    "Fit",
    "Frames",
    "Interpolation",
    "Limits",
    "Sampling",
    "VideoInfo",
    "decode",
    "probe",
    "show",
    "write_video",
]
