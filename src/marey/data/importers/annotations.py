"""Annotations of other programs: spans of videos with labels, and how they become clips of the files that are here."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from marey.data.clip import Clip, Manifest, Part
from marey.data.groups import assign_groups
from marey.data.importers.formats import ImportOptions, VideoList
from marey.data.importers.video_files import FileIndex, file_at, index_videos
from marey.data.text import ONE_LABEL, check_labels, clean_label, join_first, pluralize
from marey.data.times import seconds_of_frames
from marey.errors import DatasetError, UsageError, VideoError
from marey.video import frame_times, probe

_SHOWN_FAULTS: Final = 10
_SHOWN_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True)
class Annotation:
    """A span of a video with its label, as another program wrote it.

    Attributes:
        path: the video, as it is written.
        label: the action; None if the program names none.
        place: where it is written, the beginning of a sentence: "row 3 of train.csv".
        start: start in seconds; None for the start of the file.
        end: end in seconds; None for the end of the file.
        frames: number of the first and of the last frame, counted from 0; they take the place of `start` and `end`.
        counted: number of frames that the other program saw in the video, if it says so.
        split: the part of the split.
        names: further names under which the video may be here, the best one first.
    """

    path: str
    label: str | None
    place: str
    start: float | None = None
    end: float | None = None
    frames: tuple[int, int] | None = None
    counted: int | None = None
    split: Part | None = None
    names: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """True if it is about the whole file."""
        return self.start is None and self.end is None and self.frames is None


class _Finder:
    """Looks each video up once, and counts how it was found."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._below: FileIndex | None = None
        self.found: dict[str, Path | None] = {}
        self.by_name = 0

    def find(self, annotation: Annotation) -> Path | None:
        """Return the file at the path as it is written, else the one with its name below the folder."""
        if annotation.path not in self.found:
            self.found[annotation.path] = self._look_up((annotation.path, *annotation.names))
        return self.found[annotation.path]

    def _look_up(self, names: Sequence[str]) -> Path | None:
        path = next((found for name in names if (found := file_at(name, self._root)) is not None), None)
        if path is not None:
            return path
        if self._below is None:
            self._below = index_videos(self._root)
        below = self._below
        path = next((found for name in names if (found := below.find(name)) is not None), None)
        self.by_name += path is not None
        return path


def annotated_videos(
    annotations: Iterable[Annotation],
    source: Path,
    options: ImportOptions,
    *,
    said: Sequence[str] = (),
) -> VideoList:
    """Return the clips of annotations, of those videos that are here.

    Frames are converted to seconds by the timestamps of each file, or by `options.frame_rate`. Annotations that say the
    same are one clip.

    Args:
        annotations: what the other program wrote.
        source: the file or the folder that holds it. Videos are looked for in `options.videos`, else beside it.
        options: the options of the import.
        said: remarks on the reading, parts of the one sentence about the import.

    Raises:
        DatasetError: there are none, none of the videos is there, or annotations cannot be used; the message names
            each place, the value and the remedy.
    """
    given = list(annotations)
    if not given:
        raise DatasetError(f"{source} holds no annotation of a video{': ' * bool(said)}{'; '.join(said)}")
    root = _folder_of_videos(source, options)
    finder, faults = _Finder(root), _Faults(source)
    clips: dict[tuple[Path, float | None, float | None], tuple[Clip, Annotation]] = {}
    repeated = converted = 0
    with options.watch("matching annotations", len(given)) as advance:
        for number, annotation in enumerate(given, start=1):
            label = faults.label(annotation)
            path = finder.find(annotation)
            if path is not None and (span := faults.span(annotation, path, options.frame_rate)) is not None:
                clip = Clip(path, label, start=span[0], end=span[1], split=annotation.split)
                first, other = clips.setdefault((path, *span), (clip, annotation))
                faults.compare(first, clip, other, annotation)
                repeated += other is not annotation
                converted += annotation.frames is not None
            advance(number)
    faults.check()
    missing = tuple(name for name, path in finder.found.items() if path is None)
    if not clips:
        raise DatasetError(
            f"none of {pluralize(len(missing), 'listed video')} is there ({join_first(_short(missing))}), neither at "
            f"its path nor by its name below {root}: put the videos there, or name their folder (--videos)"
        )
    taken = [clip for clip, _ in clips.values()]
    check_labels({clip.label: other.place for clip, other in clips.values() if clip.label is not None})
    unlabelled = [other.place for clip, other in clips.values() if clip.label is None]
    if unlabelled and len(unlabelled) < len(taken):
        raise DatasetError(
            f"{pluralize(len(unlabelled), 'clip')} of {len(taken)} without a label ({join_first(unlabelled)}): label "
            "all of them, or none"
        )
    note = _sentence(finder, taken, said, repeated, converted, options.frame_rate)
    manifest = Manifest(tuple(taken), root, f"the annotations in {source}", "")
    return VideoList(assign_groups(manifest), tuple(_short(missing)), (note,))


def _folder_of_videos(source: Path, options: ImportOptions) -> Path:
    if options.videos is None:
        return source if source.is_dir() else source.parent
    if not options.videos.is_dir():
        raise DatasetError(f"{options.videos} is no folder: name that of the videos (--videos)")
    return options.videos


def _short(names: Iterable[str]) -> list[str]:
    """Return names of files as they are shown: in one line, and not endless."""
    lines = (" ".join(name.encode(errors="replace").decode().split()) for name in names)
    return [line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 3]}..." for line in lines]


class _Faults:
    """Collects annotations that cannot be used, to name them in one error."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._found: list[str] = []

    def add(self, annotation: Annotation, fault: str) -> None:
        """Add the end of a sentence about an annotation."""
        self._found.append(f"{annotation.place} {fault}")

    def check(self) -> None:
        """Raise `DatasetError` if there are any."""
        if self._found:
            more = len(self._found) - _SHOWN_FAULTS
            shown = "".join(f"\n  {fault}" for fault in self._found[:_SHOWN_FAULTS])
            rest = f"\n  and {more} more" if more > 0 else ""
            raise DatasetError(f"{self._source} has annotations that cannot be used:{shown}{rest}")

    def label(self, annotation: Annotation) -> str | None:
        """Return the label as it is kept."""
        if annotation.label is None:
            return None
        label = clean_label(annotation.label)
        if not label or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in label):
            self.add(annotation, f"has the label {annotation.label[:_SHOWN_CHARACTERS]!r}: name the action in words")
        return label

    def span(
        self, annotation: Annotation, path: Path, frame_rate: float | None
    ) -> tuple[float | None, float | None] | None:
        """Return the start and the end in seconds; None where they cannot be used."""
        if annotation.frames is not None:
            try:
                return _seconds(annotation, path, frame_rate)
            except UsageError as error:
                self.add(annotation, str(error))
            except VideoError as error:
                self.add(annotation, f"counts frames, and those of {error} cannot be counted")
            return None
        start, end = annotation.start, annotation.end
        if (start or 0.0) < 0 or (end is not None and end <= (start or 0.0)):
            self.add(
                annotation,
                f"starts at {start or 0:g} s and ends at {'the end' if end is None else f'{end:g} s'}: the start is 0 "
                "or more, and the end comes after it",
            )
            return None
        return start, end

    def compare(self, first: Clip, clip: Clip, place: Annotation, annotation: Annotation) -> None:
        """Add the fault of two annotations of one span that say different things."""
        for what, one, other in (("label", first.label, clip.label), ("split", first.split, clip.split)):
            if one != other:
                way_out = ONE_LABEL if what == "label" else "take one of them out"
                self.add(annotation, f"has the {what} {other!r} of {clip.id}, and {place.place} has {one!r}: {way_out}")


def _seconds(annotation: Annotation, path: Path, frame_rate: float | None) -> tuple[float, float]:
    assert annotation.frames is not None  # noqa: S101 - the caller has looked
    first, last = annotation.frames
    counted = annotation.counted
    # A program that counts frames at another rate than that of the file has others, and as long a video.
    if frame_rate is None and counted is not None and counted > 0 and counted != len(frame_times(path)):
        frame_rate = counted / probe(path).duration
    return seconds_of_frames(path, first, last, frame_rate=frame_rate)


def _sentence(
    finder: _Finder,
    clips: Sequence[Clip],
    said: Sequence[str],
    repeated: int,
    converted: int,
    frame_rate: float | None,
) -> str:
    """Return the one sentence about an import."""
    there = sum(path is not None for path in finder.found.values())
    places = ", ".join(
        f"{count} {how}"
        for count, how in ((there - finder.by_name, "at their paths"), (finder.by_name, "by their names"))
        if count
    )
    parts = [*said, f"{there} of {pluralize(len(finder.found), 'video')} found, {places}"]
    spans = sum(clip.start is not None or clip.end is not None for clip in clips)
    if spans:
        parts.append(f"{pluralize(spans, 'clip')} of {len(clips)} {'is a span' if spans == 1 else 'are spans'}")
    if converted:
        way = "the timestamps of each file" if frame_rate is None else f"{frame_rate:g} frames a second"
        parts.append(f"frames are converted to seconds by {way}")
    if repeated:
        parts.append(f"{pluralize(repeated, 'annotation')} said the same as another one")
    overlaps = _overlaps(clips)
    if overlaps:
        parts.append(f"{pluralize(overlaps, 'span')} overlapped by one with another label")
    return f"matched: {'; '.join(parts)}"


def _overlaps(clips: Sequence[Clip]) -> int:
    """Return the number of spans that begin within an earlier span of their file that has another label."""
    of_file: dict[Path, list[Clip]] = defaultdict(list)
    for clip in clips:
        of_file[clip.path].append(clip)
    count = 0
    for spans in of_file.values():
        ends: dict[str | None, float] = {}
        for clip in sorted(spans, key=lambda clip: clip.start or 0.0):
            count += any(end > (clip.start or 0.0) for label, end in ends.items() if label != clip.label)
            end = float("inf") if clip.end is None else clip.end
            ends[clip.label] = max(ends.get(clip.label, 0.0), end)
    return count
