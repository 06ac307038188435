"""`marey predict` on a camera, an address or a pipe."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marey.errors import UsageError

if TYPE_CHECKING:
    from marey.data import Segment
    from marey.prediction import Predictor, Segmentation, StreamPrediction, Timeline
    from marey.verbs.outputs import Outputs
    from marey.video import PlayedFrame


@dataclass
class LivePredictions:
    """What `predict` answers to a live source: answers that come while it is watched.

    Iterating over `predictions` is what watches; when it ends, files that were asked for are complete.

    Attributes:
        source: as it was named.
        predictions: as they come.
        top: how many classes are shown of each.
        written: files that were asked for, once they are there.
    """

    source: str
    predictions: Generator[StreamPrediction, None, None]
    top: int
    written: list[Path]

    def close(self) -> None:
        """End the watching, wherever it is; files that were asked for are complete then."""
        self.predictions.close()

    def lines(self) -> Iterator[dict[str, Any]]:
        """For JSON, a line an answer."""
        for prediction in self.predictions:
            yield prediction.as_dict(self.top)


def predict_live(
    predictor: Predictor, source: str, *, rule: Segmentation, outputs: Outputs, seconds: float | None
) -> LivePredictions:
    """Watch a live source until it ends, `seconds` have passed, or somebody presses Ctrl-C.

    Args:
        predictor: the model.
        source: number of a camera, address, or '-'.
        rule: windows, and how the label is kept steady.
        outputs: an annotated recording, and the segments.
        seconds: None for no end.
    """
    if seconds is not None and not seconds > 0:
        raise UsageError(f"seconds={seconds:g}: watching has to last")
    outputs.check_live()
    written: list[Path] = []
    return LivePredictions(source, _watch(predictor, source, rule, outputs, seconds, written), outputs.top, written)


def _watch(
    predictor: Predictor,
    source: str,
    rule: Segmentation,
    outputs: Outputs,
    seconds: float | None,
    written: list[Path],
) -> Generator[StreamPrediction, None, None]:
    from marey.errors import VideoError
    from marey.reports import draw_caption, write_segments
    from marey.verbs.outputs import live_caption
    from marey.video import VideoWriter, open_live

    spans = _Spans()
    broken: VideoError | None = None
    with ExitStack() as opened:
        playback = opened.enter_context(open_live(source))
        writer = None
        if outputs.annotate is not None:
            outputs.annotate.parent.mkdir(parents=True, exist_ok=True)
            writer = opened.enter_context(
                VideoWriter(outputs.annotate, size=playback.size, frame_rate=playback.frame_rate)
            )

        def draw(frame: PlayedFrame, said: StreamPrediction | None) -> None:
            if writer is not None:
                picture = playback.picture(frame, size=playback.size).permute(1, 2, 0).numpy()
                caption = live_caption(said, outputs.top, frame.time)
                writer.write(draw_caption(picture, caption), time=frame.time, end=frame.end)

        try:
            for prediction in predictor.stream(playback, segmentation=rule, on_frame=draw):
                spans.add(prediction)
                yield prediction
                if seconds is not None and prediction.time >= seconds:
                    break
        except VideoError as error:
            broken = error  # what was seen before the source broke off is kept
        except (KeyboardInterrupt, GeneratorExit):
            pass  # this is how watching ends
    if outputs.annotate is not None:
        written.append(outputs.annotate)
    if outputs.segments is not None:
        write_segments([spans.timeline(source, predictor.labels)], outputs.segments)
        written.append(outputs.segments)
    if broken is not None:
        raise broken


class _Spans:
    """The segments of what was said so far; nothing else of it is kept."""

    def __init__(self) -> None:
        self._done: list[Segment] = []
        self._label: str | None = None
        self._start = self._end = self._sum = 0.0
        self._count = 0

    def add(self, said: StreamPrediction) -> None:
        """One answer more."""
        if said.label != self._label:
            self._close(said.time)
            self._label, self._start, self._sum, self._count = said.label, said.time, 0.0, 0
        self._sum += said.confidence
        self._count += 1
        self._end = said.time

    def _close(self, time: float) -> None:
        from marey.data import Segment

        if self._label is not None and time > self._start:
            self._done.append(Segment(self._start, time, self._label, min(1.0, self._sum / self._count)))

    def timeline(self, source: str, labels: tuple[str, ...]) -> Timeline:
        """All of it, as a timeline without probabilities."""
        import numpy as np

        from marey.prediction import Timeline

        self._close(self._end)
        self._label = None
        return Timeline(
            source=source,
            duration=self._end,
            labels=labels,
            times=np.zeros(0),
            probabilities=np.zeros((0, len(labels)), np.float32),
            segments=tuple(self._done),
            window=0.0,
        )
