"""Which files a prediction leaves beside its answer, where, and what they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from marey.data import Clip
from marey.errors import UsageError
from marey.prediction import Prediction, StreamPrediction, Timeline
from marey.reports import (
    SEGMENT_SUFFIXES,
    Caption,
    CaptionAt,
    annotate_video,
    caption_of_clip,
    caption_of_timeline,
    plate_of,
    plot_timeline,
    save_picture,
    save_png,
    write_labelled_frames,
    write_thumbnails,
)
from marey.verbs.reporter import Reporter
from marey.video import probe

_PICTURES: Final = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Saying:
    """What is said of a video at each of its times.

    Attributes:
        caption_at: the caption at a time in seconds.
        duration: of the video, seconds.
        timeline: what it rests on; None where one label stands for all.
    """

    caption_at: CaptionAt
    duration: float
    timeline: Timeline | None = None

    @classmethod
    def of_clip(cls, prediction: Prediction, top: int) -> Self:
        """One label for the whole clip."""
        duration = probe(prediction.source).duration
        return cls(caption_of_clip(prediction.top(top), duration), duration)

    @classmethod
    def of_timeline(cls, timeline: Timeline, top: int, *, steady: bool) -> Self:
        """The label of the segment at each time, or where `steady` is false the most probable class at each."""
        return cls(caption_of_timeline(timeline, top, steady=steady), timeline.duration, timeline)


def live_caption(said: StreamPrediction | None, top: int, time: float) -> Caption:
    """The caption of a frame of a live source, with the latest answer, and how late and how fast it came."""
    if said is None:
        return Caption(None, None, (), time, None, ("warming up",))
    notes = [f"{said.rate:.1f} frames/s", f"latency {1000 * said.latency:.0f} ms"]
    if said.dropped:
        notes.append(f"{said.dropped} dropped")
    confidence = said.confidence if said.label is not None else None
    return Caption(said.label, confidence, said.top(top), time, None, tuple(notes))


@dataclass(frozen=True)
class Outputs:
    """The files that were asked for; of several videos each is a folder with one a video.

    Attributes:
        annotate: the video with captions.
        frames: folder of labelled frames.
        plate: the chronophotograph.
        segments: table or subtitles, of all videos together.
        timeline: picture of what happens when.
        thumbnails: folder with a picture of each segment.
        top: how many classes a caption shows.
    """

    annotate: Path | None
    frames: Path | None
    plate: Path | None
    segments: Path | None
    timeline: Path | None
    thumbnails: Path | None
    top: int

    @property
    def any(self) -> bool:
        """Whether anything is asked for of each video."""
        return any((self.annotate, self.frames, self.plate, self.timeline, self.thumbnails))

    def check(self, clips: Sequence[Clip]) -> None:
        """Refuse what could not be written once the work is done.

        Raises:
            UsageError: a suffix of another kind, or several videos for one file.
        """
        several = len(clips) > 1
        wanted = {"annotate": (self.annotate, (".mp4",)), "plate": (self.plate, _PICTURES)}
        wanted["timeline"] = (self.timeline, (".png",))
        for name, (path, suffixes) in wanted.items():
            if path is None:
                continue
            if several and path.suffix.lower() in suffixes:
                raise UsageError(f"--{name} {path} is one file, and there are {len(clips)} videos: name a folder")
            if not several and path.suffix.lower() not in suffixes:
                raise UsageError(f"--{name} writes {' or '.join(suffixes)}, not '{path.name}'")
        if self.segments is not None and self.segments.suffix.lower() not in SEGMENT_SUFFIXES:
            raise UsageError(f"--segments writes {', '.join(SEGMENT_SUFFIXES)}, not '{self.segments.name}'")
        if self.segments is not None and several and self.segments.suffix.lower() == ".vtt":
            raise UsageError(f"subtitles belong to one video, not to {len(clips)}: --segments with .json or .csv")
        if several and self.any:
            names = Counter(clip.path.stem for clip in clips)
            name, number = names.most_common(1)[0]
            if number > 1:
                raise UsageError(f"{number} videos are called '{name}', and their files would take each other's place")

    def check_live(self) -> None:
        """Refuse what a source that is gone when it has passed cannot give.

        Raises:
            UsageError: it is asked for.
        """
        for name in ("frames", "plate", "timeline", "thumbnails"):
            if getattr(self, name) is not None:
                raise UsageError(
                    f"--{name} reads a video a second time, and a live source is gone: record it with --annotate"
                )
        self.check([Clip(Path("live"))])

    def write(self, source: Path, saying: Saying, reporter: Reporter) -> list[Path]:
        """Write what is asked for of one video.

        Raises:
            VideoError: the video cannot be read to its end.
        """
        written = []
        if self.annotate is not None:
            out = self._place(self.annotate, source, ".mp4")
            with _seconds(reporter, f"drawing {out.name}", saying.duration) as on_progress:
                annotate_video(source, out, saying.caption_at, on_progress=on_progress)
            written.append(out)
        if self.frames is not None:
            out = self._place(self.frames, source, "")
            with _seconds(reporter, f"drawing {out.name}", saying.duration) as on_progress:
                write_labelled_frames(source, out, saying.caption_at, on_progress=on_progress)
            written.append(out)
        if self.plate is not None:
            out = self._place(self.plate, source, ".png")
            save_picture(plate_of(source), out)
            written.append(out)
        if saying.timeline is not None and self.timeline is not None:
            out = self._place(self.timeline, source, ".png")
            save_png(plot_timeline(saying.timeline), out)
            written.append(out)
        if saying.timeline is not None and self.thumbnails is not None:
            out = self._place(self.thumbnails, source, "")
            write_thumbnails(source, saying.timeline.segments, out)
            written.append(out)
        return written

    def _place(self, asked: Path, source: Path, suffix: str) -> Path:
        """The file itself where one video was given, which `check` has seen to, else one in the folder."""
        single = asked.suffix.lower() in (_PICTURES if suffix == ".png" else (suffix,))
        if suffix and not single:
            asked.mkdir(parents=True, exist_ok=True)
            return asked / f"{source.stem}{suffix}"
        asked.parent.mkdir(parents=True, exist_ok=True)
        return asked


@contextmanager
def _seconds(reporter: Reporter, title: str, duration: float) -> Iterator[Callable[[float], None]]:
    """A stage in seconds of video."""
    with reporter.stage(title, max(1, round(duration))) as stage:
        yield lambda done: stage.advance(int(done))
