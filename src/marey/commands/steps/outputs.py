"""The output files of a prediction: their checks, paths and writers."""

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
    chronophotograph_of,
    plot_timeline,
    save_image,
    save_png,
    write_annotated_frames,
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
"""Suffixes of each output for one video; none for a folder."""


@dataclass(frozen=True)
class CaptionTrack:
    """The captions of a video over time.

    Attributes:
        caption_at: the caption at a time in seconds.
        duration: of the video, seconds.
        timeline: its timeline; None if one label holds for the whole video.
    """

    caption_at: CaptionAt
    duration: float
    timeline: Timeline | None = None

    @classmethod
    def of_clip(cls, prediction: Prediction, top: int, path: Path) -> Self:
        """Return the captions of a clip with one label, whose file is at a path."""
        duration = probe(path).duration
        return cls(caption_of_clip(prediction.top(top), duration, label=prediction.label), duration)

    @classmethod
    def of_timeline(cls, timeline: Timeline, top: int, *, steady: bool) -> Self:
        """Return captions of the segment at each time, or without `steady` of the most probable class."""
        return cls(caption_of_timeline(timeline, top, steady=steady), timeline.duration, timeline)


def live_caption(prediction: StreamPrediction | None, top: int, time: float) -> Caption:
    """Return the caption of a frame of a live source: the latest prediction, its latency and rate."""
    if prediction is None:
        return Caption(None, None, (), time, None, ("warming up",))
    notes = [f"{prediction.rate:.1f} frames/s", f"latency {1000 * prediction.latency:.0f} ms"]
    if prediction.dropped:
        notes.append(f"{prediction.dropped} dropped")
    confidence = prediction.confidence if prediction.label is not None else None
    return Caption(prediction.label, confidence, prediction.top(top), time, None, tuple(notes))


@dataclass(frozen=True)
class Outputs:
    """The requested files; for several videos each is a folder with one file or folder per video.

    Attributes:
        top: number of classes in a caption.
        annotate: the video with captions.
        frames: folder of labelled frames.
        chronophotograph: the chronophotograph.
        segments: table or subtitles, of all videos together.
        timeline: plot of the timeline.
        thumbnails: folder with an image of each segment.
        csv: table of the labels, of all clips together.
    """

    top: int
    annotate: Path | None
    frames: Path | None
    chronophotograph: Path | None
    segments: Path | None
    timeline: Path | None
    thumbnails: Path | None
    csv: Path | None

    @property
    def any(self) -> bool:
        """True if an output per video is requested."""
        return any(getattr(self, name) is not None for name in _SUFFIXES)

    def check(self, clips: Sequence[Clip]) -> None:
        """Refuse, before the work, outputs that could not be written after it.

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
        """Refuse outputs that need a second reading, which a live source does not allow.

        Raises:
            UsageError: one is requested.
        """
        for name in ("frames", "chronophotograph", "timeline", "thumbnails"):
            if getattr(self, name) is not None:
                raise UsageError(
                    f"--{name} reads a video a second time, and a live source is gone: record it with --annotate"
                )
        self.check([Clip(Path("live"))])

    def places(self, source: Path, *, several: bool) -> dict[str, Path]:
        """Return the path of each output of one video, by its option.

        Args:
            source: the video.
            several: it is one of several videos: each output is then a folder with one file or folder per video.
        """
        asked = {name: path for name in _SUFFIXES if (path := getattr(self, name)) is not None}
        if not several:
            return asked
        return {name: path / (source.stem + "".join(_SUFFIXES[name][:1])) for name, path in asked.items()}

    def write(self, source: Path, say: Callable[[], CaptionTrack], reporter: Reporter, *, several: bool) -> Written:
        """Write the outputs of one video; a failure is listed in the result, and the others are written.

        Args:
            source: the video.
            say: makes its captions; called once, if an output is requested.
            reporter: receives the progress.
            several: as in `places`.
        """
        places = self.places(source, several=several)
        if not places:
            return Written()
        try:
            track = say()
        except (MareyError, OSError) as error:
            return Written(failed=tuple(Unwritten.of(path, error) for path in places.values()))
        found = Written()
        for name, path in places.items():
            found += written(path, partial(_WRITERS[name], source, path, track, reporter))
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


def _write_annotated(source: Path, out: Path, track: CaptionTrack, reporter: Reporter) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with _seconds(reporter, f"drawing {out.name}", track.duration) as on_progress:
        annotate_video(source, out, track.caption_at, on_progress=on_progress)


def _write_frames(source: Path, out: Path, track: CaptionTrack, reporter: Reporter) -> None:
    with _seconds(reporter, f"drawing {out.name}", track.duration) as on_progress:
        write_annotated_frames(source, out, track.caption_at, on_progress=on_progress)


def _write_chronophotograph(source: Path, out: Path, track: CaptionTrack, reporter: Reporter) -> None:
    save_image(chronophotograph_of(source), out)


def _write_timeline(source: Path, out: Path, track: CaptionTrack, reporter: Reporter) -> None:
    assert track.timeline is not None  # noqa: S101 - it is asked for over windows alone
    out.parent.mkdir(parents=True, exist_ok=True)
    save_png(plot_timeline(track.timeline), out)


def _write_thumbnails(source: Path, out: Path, track: CaptionTrack, reporter: Reporter) -> None:
    assert track.timeline is not None  # noqa: S101 - it is asked for over windows alone
    write_thumbnails(source, track.timeline.segments, out)


_WRITERS: Final[dict[str, Callable[[Path, Path, CaptionTrack, Reporter], None]]] = {
    "annotate": _write_annotated,
    "frames": _write_frames,
    "chronophotograph": _write_chronophotograph,
    "timeline": _write_timeline,
    "thumbnails": _write_thumbnails,
}


def _real(path: Path) -> Path:
    """Return the real path; Path.resolve raises on circular links."""
    return Path(os.path.realpath(path))


@contextmanager
def _seconds(reporter: Reporter, title: str, duration: float) -> Iterator[Callable[[float], None]]:
    """Report a stage in seconds of video."""
    with reporter.stage(title, max(1, round(duration))) as stage:
        yield lambda done: stage.advance(int(done))
