"""`marey evaluate --mode window`: the segments found in untrimmed video against the labelled ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from marey.errors import DatasetError, VideoError
from marey.progress import Reporter

if TYPE_CHECKING:
    from marey.data import Clip, Manifest, Segment
    from marey.evaluation import PlayedVideo, SegmentScores, UntrimmedEvaluation
    from marey.prediction import Predictor, Segmentation, Timeline
    from marey.training.origin import Mark

_UNKNOWN_END: Final = 1.0  # s that a row without an end takes of a file whose length cannot be read
_PARTS: Final = 100  # steps of a video on the progress bar


@dataclass(frozen=True)
class UntrimmedResult:
    """The answer of `evaluate` for windows.

    Attributes:
        evaluation: the segments found in each video, and all metrics.
        folder: where metrics.json, segments.json, the timelines and report.html lie.
        report: the page.
        model: the model folder.
    """

    evaluation: UntrimmedEvaluation
    folder: Path
    report: Path
    model: Path

    @property
    def scores(self) -> SegmentScores:
        """All metrics."""
        return self.evaluation.scores

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "folder": str(self.folder),
            "model": str(self.model),
            "report": str(self.report),
            "notes": list(self.evaluation.notes),
            "metrics": self.evaluation.as_dict(),
        }


def evaluate_untrimmed(
    model: Path,
    predictor: Predictor,
    manifest: Manifest,
    clips: Sequence[Clip],
    *,
    out: Path,
    part: str,
    segmentation: Segmentation,
    excluded: tuple[str, ...],
    title: str,
    made_by: Mark,
    reporter: Reporter,
) -> UntrimmedResult:
    """Read each file of the clips whole, and compare the segments found with the clips' spans.

    Args:
        model: the model folder, to be named in the answer.
        predictor: the model.
        manifest: all clips of the data.
        clips: those to test on.
        out: folder for metrics.json, segments.json, plots/ and report.html.
        part: the part of the data that `clips` are, or "all".
        segmentation: how probabilities become segments.
        excluded: ids of clips that were left out by name.
        title: of the page.
        made_by: the command that makes the results again.
        reporter: hears how far it is.

    Raises:
        DatasetError: a file has rows in several parts.
        UsageError: a window that the model cannot have.
    """
    from marey.commands.steps.results import leaks_from_training, versions
    from marey.data import data_hash
    from marey.evaluation import UntrimmedEvaluation
    from marey.reports import write_untrimmed

    rows = _rows_of_files(manifest, clips, part)
    videos, timelines = _play(predictor, rows, segmentation, reporter)
    late = sum(one.start >= video.duration for video in videos if video.reason is None for one in video.truth)
    evaluation = UntrimmedEvaluation(
        videos=videos,
        segmentation=segmentation,
        leaks=leaks_from_training(predictor.model.config, clips),
        protocol=f"{'all' if part == 'all' else f'the {part}'} videos of the data",
        data_hash=data_hash(manifest.with_clips(clips)),
        seed=int(predictor.model.config.made_with.get("recipe", {}).get("seed", 0)),
        excluded=excluded,
        notes=(_late(late),) if late else (),
    )
    facts = {**versions(), "command": made_by.command, "groups": manifest.grouping, "data": manifest.source}
    made_by.write(out)
    page = write_untrimmed(evaluation, out, title=title, timelines=timelines, facts=facts)
    return UntrimmedResult(evaluation, out, page, model)


def _late(number: int) -> str:
    if number == 1:
        return "1 true segment begins after the end of its video, and counts as not found."
    return f"{number} true segments begin after the end of their video, and count as not found."


def _rows_of_files(manifest: Manifest, clips: Sequence[Clip], part: str) -> dict[Path, list[Clip]]:
    """Return the clips of each file, in the order of the data."""
    rows: dict[Path, list[Clip]] = defaultdict(list)
    for clip in clips:
        rows[clip.path].append(clip)
    chosen = set(clips)
    for clip in manifest.clips:
        if clip.path in rows and clip not in chosen:
            raise DatasetError(
                f"{clip.path} has rows in the part '{part}' and in '{clip.split}': video that is played whole has to "
                "be in one part; give all rows of a file the same split, or test on --part all"
            )
    return rows


def _play(
    predictor: Predictor, rows: dict[Path, list[Clip]], segmentation: Segmentation, reporter: Reporter
) -> tuple[tuple[PlayedVideo, ...], dict[str, Timeline]]:
    from marey.evaluation import PlayedVideo

    videos, timelines = [], {}
    with reporter.stage("playing videos", len(rows) * _PARTS) as stage:
        for number, (path, of_file) in enumerate(rows.items()):
            groups = sorted({clip.group for clip in of_file if clip.group is not None})
            group = " + ".join(groups) or None  # spans of several groups in one file are right or wrong together

            def hear(share: float, number: int = number, name: str = path.name) -> None:
                stage.advance(int((number + share) * _PARTS), name)

            try:
                timeline = predictor.timeline(path, segmentation=segmentation, on_progress=hear)
            except VideoError as error:
                reporter.say(f"{path}: {error.reason}: {error.detail}; it counts as a video in which nothing was found")
                duration, truth = _length_and_truth(of_file, None)
                video = PlayedVideo(path.as_posix(), duration, truth, group, reason=error.reason, detail=error.detail)
            else:
                duration, truth = _length_and_truth(of_file, timeline.duration)
                video = PlayedVideo(path.as_posix(), duration, truth, group, timeline.segments)
                timelines[video.name] = timeline
            videos.append(video)
            stage.advance((number + 1) * _PARTS)
    return tuple(videos), timelines


def _length_and_truth(clips: Sequence[Clip], duration: float | None) -> tuple[float, tuple[Segment, ...]]:
    """Return the duration of a file and its labelled segments; an unknown duration is taken from the rows."""
    from marey.data import Segment

    starts = [clip.start or 0.0 for clip in clips]
    if duration is None:
        duration = max(clip.end or start + _UNKNOWN_END for clip, start in zip(clips, starts, strict=True))
    truth = [
        Segment(start, clip.end if clip.end is not None else max(duration, start + _UNKNOWN_END), clip.label or "")
        for clip, start in zip(clips, starts, strict=True)
    ]
    return duration, tuple(sorted(truth, key=lambda segment: (segment.start, segment.end)))
