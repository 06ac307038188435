"""`marey predict` on a camera, a URL or a pipe."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from marey.errors import MareyError, UsageError

if TYPE_CHECKING:
    from marey.commands.steps.outputs import Outputs
    from marey.commands.steps.written import Unwritten, Written
    from marey.data import Segment
    from marey.prediction import Predictor, Segmentation, SegmentBuilder, StreamPrediction, Timeline
    from marey.video import Playback, StreamFrame, VideoWriter


@dataclass
class LivePredictions:
    """The answer of `predict` to a live source: predictions that come while it is read.

    Iterating over `predictions` reads the source; when it ends, requested files are complete.

    Attributes:
        source: its name, as given.
        predictions: an iterator of predictions.
        top: number of classes shown of each.
        written: requested files, once they are complete.
        unwritten: files that could not be written, each with the reason; prediction goes on without them.
        segments: found, once the source has ended.
    """

    source: str
    predictions: Generator[StreamPrediction, None, None]
    top: int
    written: list[Path]
    unwritten: list[Unwritten]
    segments: list[Segment]

    def close(self) -> None:
        """Stop reading; requested files are complete then."""
        self.predictions.close()

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield each prediction for a line of JSON."""
        for prediction in self.predictions:
            yield prediction.as_dict(self.top)


def predict_live(
    predictor: Predictor, source: str, *, rule: Segmentation, outputs: Outputs, seconds: float | None, reconnect: float
) -> LivePredictions:
    """Read a live source until it ends, `seconds` have passed, or Ctrl-C is pressed.

    Args:
        predictor: the model.
        source: number of a camera, URL, or '-'.
        rule: windows, and how the label is kept steady.
        outputs: an annotated recording, and the segments; they have been checked.
        seconds: the largest duration; None for no end.
        reconnect: seconds for which a source that breaks off is opened again.
    """
    if seconds is not None and not seconds > 0:
        raise UsageError(f"max_seconds={seconds:g}: it has to be more than 0")
    paths: list[Path] = []
    failed: list[Unwritten] = []
    found: list[Segment] = []

    def keep(done: Written) -> None:
        paths.extend(done.paths)
        failed.extend(done.failed)

    predictions = _watch(predictor, source, rule, outputs, (seconds, reconnect), keep, found)
    return LivePredictions(source, predictions, outputs.top, paths, failed, found)


def _watch(
    predictor: Predictor,
    source: str,
    rule: Segmentation,
    outputs: Outputs,
    times: tuple[float | None, float],
    keep: Callable[[Written], None],
    found: list[Segment],
) -> Generator[StreamPrediction, None, None]:
    from marey.commands.steps.written import written
    from marey.errors import VideoError
    from marey.prediction import SegmentBuilder
    from marey.reports import write_segments
    from marey.video import open_live

    segments = SegmentBuilder()
    broken: VideoError | None = None
    seconds, reconnect = times
    with open_live(source, reconnect=reconnect) as playback, _Recording(playback, outputs) as recording:
        try:
            latest: StreamPrediction | None = None
            number = -1
            for frame, predictions in predictor.stream_frames(playback, segmentation=rule):
                if frame.gap:  # no action goes on over it
                    segments.add(frame.time - frame.gap, None, 0.0)
                for latest in predictions:
                    segments.add(latest.time, latest.label, latest.confidence)
                    yield latest
                if seconds is not None and latest is not None and latest.time >= seconds:
                    break
                if frame.number != number:  # one that stays on screen comes several times
                    recording.add(frame, latest)
                number = frame.number
        except VideoError as error:
            broken = error  # what was read before the source broke off is kept
        except (KeyboardInterrupt, GeneratorExit):
            pass  # this is how a live source ends
    keep(recording.written)
    found.extend(segments.until(segments.end))
    if outputs.segments is not None:
        timeline = _without_probabilities(source, predictor.labels, segments)
        keep(written(outputs.segments, partial(write_segments, [timeline], outputs.segments)))
    if broken is not None:
        raise broken


class _Recording:
    """The annotated recording of a live source, if requested; if it fails, prediction goes on.

    Args:
        playback: the source.
        outputs: the path, and how many classes a caption shows.
    """

    def __init__(self, playback: Playback, outputs: Outputs) -> None:
        self._playback = playback
        self._path = outputs.annotate
        self._top = outputs.top
        self._writer: VideoWriter | None = None
        self._failure: MareyError | OSError | None = None

    def __enter__(self) -> Self:
        from marey.video import VideoWriter

        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            writer = VideoWriter(self._path, size=self._playback.size, frame_rate=self._playback.frame_rate)
            self._writer = writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.__exit__(kind, error, trace)
        except (MareyError, OSError) as failure:
            self._failure = self._failure or failure  # what came first is the cause

    def add(self, frame: StreamFrame, prediction: StreamPrediction | None) -> None:
        """Write a frame with the latest answer."""
        from marey.commands.steps.outputs import live_caption
        from marey.reports import draw_caption

        if self._writer is None:
            return
        image = self._playback.to_rgb(frame, size=self._playback.size).permute(1, 2, 0).numpy()
        try:
            caption = live_caption(prediction, self._top, frame.time)
            self._writer.write(draw_caption(image, caption), time=frame.time, end=frame.end)
        except (MareyError, OSError) as failure:
            self._failure = failure
            self.__exit__(type(failure), failure, failure.__traceback__)

    @property
    def written(self) -> Written:
        """The file, or the reason why it was not written, after the recording."""
        from marey.commands.steps.written import Unwritten, Written

        if self._path is None:
            return Written()
        if self._failure is not None:
            return Written(failed=(Unwritten.of(self._path, self._failure),))
        return Written((self._path,))


def _without_probabilities(source: str, labels: tuple[str, ...], segments: SegmentBuilder) -> Timeline:
    """Return the segments of a stream as a timeline."""
    import numpy as np

    from marey.prediction import Timeline

    return Timeline(
        source=source,
        duration=segments.end,
        labels=labels,
        times=np.zeros(0),
        probabilities=np.zeros((0, len(labels)), np.float32),
        segments=segments.until(segments.end),
        window=0.0,
    )
