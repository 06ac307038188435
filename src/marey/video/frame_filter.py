"""One of FFmpeg's filters, on decoded frames one by one."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Final, cast

from av.filter import Graph
from av.video.frame import VideoFrame

_TIME_BASE: Final = Fraction(1, 90_000)  # the filter asks for one, and looks at no times


class FrameFilter:
    """A filter that makes one frame of each, without looking at those around it; not from several threads.

    Args:
        name: of the filter in FFmpeg.
        arguments: they are asked for anew where the size or the format of the frames changes.
    """

    def __init__(self, name: str, arguments: Callable[[VideoFrame], str]) -> None:
        self._name = name
        self._arguments = arguments
        self._graph: tuple[tuple[int, int, str], Graph] | None = None

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """Return the filtered frame."""
        kind = (frame.width, frame.height, frame.format.name)
        if self._graph is None or self._graph[0] != kind:
            self._graph = kind, self._open(frame)
        graph = self._graph[1]
        graph.push(frame)
        return cast(VideoFrame, graph.pull())

    def _open(self, frame: VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_TIME_BASE)
        graph.link_nodes(source, graph.add(self._name, self._arguments(frame)), graph.add("buffersink"))
        graph.configure()
        return graph
