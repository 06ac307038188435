"""Which files a prediction leaves beside its answer, where, and what they show."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from marey.atomic import check_writable
from marey.commands.steps.written import Unwritten, Written, written
from marey.data import Clip
from marey.errors import MareyError, UsageError
from marey.prediction import Prediction, StreamPrediction, Timeline
from marey.progress import Reporter
from marey.reports import (
    SEGMENT_SUFFIXES,
    Caption,
    CaptionAt,
    annotate_video,
    caption_of_clip,
    caption_of_timeline,
    check_table_path,
    plate_of,
    plot_timeline,
    save_picture,
    save_png,
    write_labelled_frames,
    write_thumbnails,
)
from marey.video import probe

_SUFFIXES: Final = {
    "annotate": (".mp4",),
    "frames": (),
    "chronophotograph": (".png", ".jpg", ".jpeg"),
    "timeline": (".png",),
    "thumbnails": (),
}
"""What the file of each option ends in where there is one video; nothing where it is a folder."""


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
        return cls(caption_of_clip(prediction.top(top), duration, label=prediction.label), duration)

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
    """The files that were asked for; of several videos each is a folder with one file or folder a video.

    Attributes:
        annotate: the video with captions.
        frames: folder of labelled frames.
        chronophotograph: the chronophotograph.
        segments: table or subtitles, of all videos together.
        timeline: picture of what happens when.
        thumbnails: folder with a picture of each segment.
        csv: table of the labels, of all clips together.
        top: how many classes a caption shows.
    """

    annotate: Path | None
    frames: Path | None
    chronophotograph: Path | None
    segments: Path | None
    timeline: Path | None
    thumbnails: Path | None
    csv: Path | None = None
    top: int = 3

    @property
    def any(self) -> bool:
        """Whether anything is asked for of each video."""
        return any(getattr(self, name) is not None for name in _SUFFIXES)

    def check(self, clips: Sequence[Clip]) -> None:
        """Refuse, before the work, all that could not be written after it.

        Raises:
            UsageError: a suffix of another kind, one file for several videos or for several outputs, a file that would
                take the place of a video that is read, or a place that cannot be written to.
        """
        several = len(clips) > 1
        self._check_suffixes(len(clips))
        if several and self.any:
            names = Counter(clip.path.stem for clip in clips)
            name, number = names.most_common(1)[0]
            if number > 1:
                raise UsageError(f"{number} videos are called '{name}', and their files would take each other's place")
        owners = {_real(clip.path): "a video that is read" for clip in clips}
        folders: set[Path] = set()
        for clip in clips:
            for name, path in self.places(clip.path, several=several).items():
                self._check_place(name, path, owners)
                if not _SUFFIXES[name]:
                    folders.add(_real(path))
        if self.segments is not None:
            self._check_place("segments", self.segments, owners)
            if self.segments.suffix.lower() == ".csv":
                for clip in clips:
                    check_table_path(clip.path, self.segments)
        if self.csv is not None:
            self._check_place("csv", self.csv, owners)
        for path, owner in owners.items():
            inside = next((folder for folder in path.parents if folder in folders), None)
            if inside is not None:
                raise UsageError(f"{path} ({owner}) would lie in {inside}, a new folder of {owners[inside]} alone")

    def check_live(self) -> None:
        """Refuse what a source that is gone when it has passed cannot give.

        Raises:
            UsageError: it is asked for.
        """
        for name in ("frames", "chronophotograph", "timeline", "thumbnails"):
            if getattr(self, name) is not None:
                raise UsageError(
                    f"--{name} reads a video a second time, and a live source is gone: record it with --annotate"
                )
        self.check([Clip(Path("live"))])

    def places(self, source: Path, *, several: bool) -> dict[str, Path]:
        """Return where each output of one video lies, by its option.

        Args:
            source: the video.
            several: whether it is one of several: what was asked for is then a folder with one file or folder a video.
        """
        asked = {name: path for name in _SUFFIXES if (path := getattr(self, name)) is not None}
        if not several:
            return asked
        return {name: path / (source.stem + "".join(_SUFFIXES[name][:1])) for name, path in asked.items()}

    def write(self, source: Path, say: Callable[[], Saying], reporter: Reporter, *, several: bool) -> Written:
        """Write what is asked for of one video; what fails is named in the answer, and the others are written.

        Args:
            source: the video.
            say: gives what is said of it; called once, where anything is asked for.
            reporter: hears how far it is.
            several: as in `places`.
        """
        places = self.places(source, several=several)
        if not places:
            return Written()
        try:
            saying = say()
        except (MareyError, OSError) as error:
            return Written(failed=tuple(Unwritten.of(path, error) for path in places.values()))
        found = Written()
        for name, path in places.items():
            found += written(path, partial(_WRITERS[name], source, path, saying, reporter))
        return found

    def _check_suffixes(self, videos: int) -> None:
        for name, suffixes in _SUFFIXES.items():
            path = getattr(self, name)
            if path is None or not suffixes:
                continue
            if videos > 1 and path.suffix.lower() in suffixes:
                raise UsageError(f"--{name} {path} is one file, and there are {videos} videos: name a folder")
            if videos == 1 and path.suffix.lower() not in suffixes:
                raise UsageError(f"--{name} writes {' or '.join(suffixes)}, not '{path.name}'")
        if self.segments is not None and self.segments.suffix.lower() not in SEGMENT_SUFFIXES:
            raise UsageError(f"--segments writes {', '.join(SEGMENT_SUFFIXES)}, not '{self.segments.name}'")
        if self.segments is not None and videos > 1 and self.segments.suffix.lower() == ".vtt":
            raise UsageError(f"subtitles belong to one video, not to {videos}: --segments with .json or .csv")

    @staticmethod
    def _check_place(name: str, path: Path, owners: dict[Path, str]) -> None:
        try:
            check_writable(path, folder=not _SUFFIXES.get(name, ("file",)))
        except UsageError as error:
            raise UsageError(f"--{name}: {error}") from error
        owner = owners.setdefault(_real(path), f"--{name}")
        if owner != f"--{name}":
            raise UsageError(f"--{name} {path} would take the place of {owner}: name another one")


def _write_annotated(source: Path, out: Path, saying: Saying, reporter: Reporter) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with _seconds(reporter, f"drawing {out.name}", saying.duration) as on_progress:
        annotate_video(source, out, saying.caption_at, on_progress=on_progress)


def _write_frames(source: Path, out: Path, saying: Saying, reporter: Reporter) -> None:
    with _seconds(reporter, f"drawing {out.name}", saying.duration) as on_progress:
        write_labelled_frames(source, out, saying.caption_at, on_progress=on_progress)


def _write_chronophotograph(source: Path, out: Path, saying: Saying, reporter: Reporter) -> None:
    save_picture(plate_of(source), out)


def _write_timeline(source: Path, out: Path, saying: Saying, reporter: Reporter) -> None:
    assert saying.timeline is not None  # noqa: S101 - it is asked for over windows alone
    out.parent.mkdir(parents=True, exist_ok=True)
    save_png(plot_timeline(saying.timeline), out)


def _write_thumbnails(source: Path, out: Path, saying: Saying, reporter: Reporter) -> None:
    assert saying.timeline is not None  # noqa: S101 - it is asked for over windows alone
    write_thumbnails(source, saying.timeline.segments, out)


_WRITERS: Final[dict[str, Callable[[Path, Path, Saying, Reporter], None]]] = {
    "annotate": _write_annotated,
    "frames": _write_frames,
    "chronophotograph": _write_chronophotograph,
    "timeline": _write_timeline,
    "thumbnails": _write_thumbnails,
}


def _real(path: Path) -> Path:
    """Return where a path leads; Path.resolve raises where links lead in a circle."""
    return Path(os.path.realpath(path))


@contextmanager
def _seconds(reporter: Reporter, title: str, duration: float) -> Iterator[Callable[[float], None]]:
    """A stage in seconds of video."""
    with reporter.stage(title, max(1, round(duration))) as stage:
        yield lambda done: stage.advance(int(done))
