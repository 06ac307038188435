"""Bring frames of television and of phones to what networks have learnt from: progressive frames of BT.709."""

from __future__ import annotations

from typing import Final, Literal

from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc, VideoReformatter

from marey.video.frame_filter import FrameFilter

Conversion = Literal["none", "standard"]

HDR: Final = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of ITU-T H.273, 8.2, by their numbers."""


def needs_conversion(frame: VideoFrame) -> bool:
    """Return whether a frame is interlaced, or HDR."""
    return bool(frame.interlaced_frame) or int(frame.color_trc) in HDR


class StandardConverter:
    """Makes interlaced and HDR frames what the others are, and leaves the others as they are.

    Of an interlaced frame one field is kept, the upper one: its lines were seen at one time, and half of the lines
    are more than a network is shown. No frame of another time is mixed in, as filters such as bwdif do.

    HDR frames (PQ and HLG) are converted to the transfer curve and the primaries of BT.709 by FFmpeg's libswscale:
    its reference white, 203 cd/m² (ITU-R BT.2408), becomes white. They are resized first, in 16 bits: a frame of
    1920x1080 takes 3 ms then, and 50 ms otherwise. Not from several threads.
    """

    def __init__(self) -> None:
        self._field = FrameFilter("field", lambda _: "type=top")
        self._resize, self._tone = VideoReformatter(), VideoReformatter()

    def __call__(self, frame: VideoFrame, size: tuple[int, int], interpolation: str) -> VideoFrame:
        """Return a frame as it is to be resized.

        Args:
            frame: as it was decoded.
            size: (H, W) in pixels that it is resized to next.
            interpolation: FFmpeg's name of the method.
        """
        if frame.interlaced_frame:
            frame = self._field(frame)
        if int(frame.color_trc) in HDR:
            height, width = size
            small = self._resize.reformat(frame, width, height, "gbrp16le", interpolation=interpolation, threads=1)
            frame = self._tone.reformat(
                small,
                format="rgb24",
                dst_color_trc=ColorTrc.BT709,
                dst_color_primaries=ColorPrimaries.BT709,
                threads=1,
            )
        return frame
