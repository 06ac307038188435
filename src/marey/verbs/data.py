"""`marey data ...`: list, get, make, scan and split data sets."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

from marey.errors import UsageError
from marey.verbs.reporter import SILENT, Reporter, Stage
from marey.verbs.written import Unwritten, written
from marey.whole_file import check_writable

if TYPE_CHECKING:
    from marey.data import Manifest, NamedData, Part, ScanRow

_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class NamedDataSets:
    """What `data list` answers: the data sets that have a name."""

    sets: tuple[NamedData, ...]

    def as_dict(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [
            {
                "name": named.name,
                "summary": named.summary,
                "here": named.is_here,
                "folder": str(named.folder),
                "way_to_get": named.way_to_get,
                "protocol": named.protocol,
            }
            for named in self.sets
        ]


@dataclass(frozen=True)
class DataSet:
    """What `data get`, `data make` and `data split` answer.

    Attributes:
        manifest: the clips.
        path: the manifest file that was written.
        notes: what differs from what was asked.
    """

    manifest: Manifest
    path: Path
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"path": str(self.path), "notes": list(self.notes), **self.manifest.describe()}


@dataclass(frozen=True)
class Scan:
    """What `data scan` answers.

    Attributes:
        rows: one a file, and one for each span that is not in its file.
        quarantine: the list that was written, where one was asked for.
        unwritten: the list, where it could not be written.
    """

    rows: tuple[ScanRow, ...]
    quarantine: Path | None
    unwritten: tuple[Unwritten, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether any file could be used."""
        return any(row.ok for row in self.rows)

    @property
    def reasons(self) -> dict[str, int]:
        """Reason code to number of files."""
        return dict(Counter(str(row.reason) for row in self.rows if row.reason is not None))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        files = []
        for row in self.rows:
            file: dict[str, Any] = {"path": row.name, "ok": row.ok, "reason": row.reason, "detail": row.detail}
            if row.info is not None:
                info = row.info
                file |= {
                    "duration": info.duration,
                    "frame_rate": info.frame_rate,
                    "width": info.width,
                    "height": info.height,
                    "rotation": info.rotation,
                    "codec": info.codec,
                    "faults": list(info.faults),
                }
            files.append(file)
        return {
            "files": files,
            "usable": sum(row.ok for row in self.rows),
            "reasons": self.reasons,
            "quarantine": str(self.quarantine) if self.quarantine else None,
        }


def list_data() -> NamedDataSets:
    """List the data sets that have a name, and whether they are here."""
    from marey.data import CATALOG

    return NamedDataSets(tuple(CATALOG.values()))


def get(name: str, *, from_: Path | None = None, reporter: Reporter = SILENT) -> DataSet:
    """Get a data set by its name: download, check and unpack it, and write its manifest.

    Interrupted, the same command goes on. The manifest has the split of the literature; what is called ucf101-2 or
    hmdb51-3 has the second or third official one, and comes with the first. ucf-hmdb-10 and ucf101-25 are made from
    data sets that are here already.

    Args:
        name: one of the names that `marey data list` shows.
        from_: a folder that holds the archives, or the files that were in them; it is only read.
    """
    from marey.data import CATALOG, install

    with _Steps(reporter) as steps:
        manifest = install(name, source=from_, on_progress=steps.hear)
    return DataSet(manifest, CATALOG[name].manifest, (manifest.grouping, *manifest.notes))


class _Steps:
    """Work whose steps are not known beforehand, as one stage of a reporter after the other; counted in megabytes."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._open = ExitStack()
        self._title = ""
        self._stage = Stage()

    def __enter__(self) -> _Steps:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def hear(self, title: str, done: int, total: int) -> None:
        """So many bytes of a step are done."""
        if title != self._title:
            self._open.close()
            self._title = title
            self._stage = self._open.enter_context(self._reporter.stage(f"{title} (MB)", -(-total // _MEGABYTE)))
        self._stage.advance(-(-done // _MEGABYTE))


def make(
    out: Path | None = None,
    *,
    actors: int = 25,
    scenarios: str = "d1,d2,d3,d4",
    untrimmed: bool = False,
    rest: float = 0.0,
    seed: int = 0,
    workers: int | None = None,
    reporter: Reporter = SILENT,
) -> DataSet:
    """Draw the embedded data set: figures in the six KTH actions, as real video with KTH's file names.

    Interrupted, it goes on where it was. With all 25 actors, 16 are for training and KTH's nine for testing.

    Args:
        out: the folder to fill; by default where `embedded`, or `embedded-untrimmed`, is looked for by its name.
        actors: how many people, 1 to 25.
        scenarios: which of d1 (outdoors), d2 (scale changes), d3 (other clothes), d4 (indoors), with commas.
        untrimmed: two long videos of each actor instead, of several actions one after the other.
        rest: of untrimmed video, the share of the spans in which nothing happens, up to 0.5; they have no label.
        seed: of every drawing.
        workers: processes that draw; by default one a processor.
    """
    from marey.data import CATALOG
    from marey.synthetic import VIDEOS, make_untrimmed
    from marey.synthetic import make as make_clips

    if rest and not untrimmed:
        raise UsageError(f"rest={rest:g} is for untrimmed video: add --untrimmed, or leave it out")
    chosen = [name.strip() for name in scenarios.split(",") if name.strip()]
    folder = out or CATALOG["embedded-untrimmed" if untrimmed else "embedded"].folder
    title, total = ("drawing videos", actors * VIDEOS) if untrimmed else ("drawing clips", actors * len(chosen) * 6)
    with reporter.stage(title, total) as stage:
        draw = partial(make_untrimmed, rest=rest) if untrimmed else make_clips
        manifest = draw(
            folder,
            seed=seed,
            actors=actors,
            scenarios=chosen,
            workers=workers,
            on_progress=lambda done, _: stage.advance(done),
        )
    return DataSet(manifest, folder / "manifest.csv")


def scan(
    data: str,
    *,
    quarantine: Path | None = None,
    timeout: float = 60.0,
    min_duration: float = 0.0,
    workers: int | None = None,
    reporter: Reporter = SILENT,
) -> Scan:
    """Look at every file of a data set, and name those that cannot be used, each with a reason.

    Args:
        data: a folder of class folders, any folder of videos, a manifest, a file, or the name of a data set.
        quarantine: write the unusable ones to this CSV file, which `--exclude` of other commands takes.
        timeout: seconds that a file may take before it counts as hanging.
        min_duration: seconds below which a clip is too short.
        workers: files looked at side by side; by default one a processor.
    """
    from marey.data import CATALOG, load_data, write_quarantine
    from marey.data import scan as scan_files
    from marey.errors import DatasetError
    from marey.prediction.sources import find_clips
    from marey.video import Limits

    if quarantine is not None:
        check_writable(quarantine)
    source: Any
    try:
        source = load_data(data, missing="keep")
        files = len({clip.path for clip in source.clips})
    except DatasetError:
        # Not a labelled data set: any file, or a folder with videos somewhere in it, can be looked at as well.
        if data in CATALOG or Path(data).suffix.lower() in (".csv", ".parquet"):
            raise
        source = [clip.path for clip in find_clips([data])]
        files = len(source)
    with reporter.stage("scanning", files) as stage:
        rows = scan_files(
            source,
            limits=Limits(timeout=timeout),
            workers=workers,
            min_duration=min_duration,
            on_progress=lambda done, _: stage.advance(done),
        )
    if quarantine is None:
        return Scan(tuple(rows), None)
    listed = written(quarantine, partial(write_quarantine, rows, quarantine))
    return Scan(tuple(rows), None if listed.failed else quarantine, listed.failed)


def split(
    data: str,
    *,
    out: Path,
    test: float = 0.25,
    val: float = 0.0,
    seed: int = 0,
    by: Literal["group", "clip"] = "group",
    group_regex: str | None = None,
) -> DataSet:
    """Split a data set into train, val and test, and write it down as a manifest.

    Groups stay whole. A random split by clip, as in `--by clip --test 0.2` or `--by clip --test 0.1 --val 0.1`, gives
    the numbers of earlier work again; where it leaks, it is said here and beside every number.

    Args:
        data: a folder of class folders, a manifest, or the name of a data set.
        out: the manifest to write, .csv or .parquet.
        test: share of the clips to test on.
        val: share of the clips to validate on.
        seed: of the choice.
        by: "group", or "clip" for each clip by itself.
        group_regex: takes the group of a clip from the first capture in its path, or names a known pattern.
    """
    from dataclasses import replace

    from marey.data import find_leaks, holdout, load_data, write_manifest

    if out.exists():
        raise UsageError(f"{out} exists, and is left as it is; choose another --out")
    check_writable(out)
    manifest = load_data(data, group_regex=group_regex)
    parts = holdout(manifest.clips, test=test, val=val, seed=seed, by=by)
    sides: tuple[tuple[Part, tuple[int, ...]], ...] = (
        ("train", parts.train),
        ("val", parts.val),
        ("test", parts.test),
    )
    side = {index: name for name, members in sides for index in members}
    clips = [replace(clip, split=side[index]) for index, clip in enumerate(manifest.clips)]
    divided = manifest.with_clips(clips)
    write_manifest(divided, out)
    leaks = find_leaks(clips, (*parts.train, *parts.val), parts.test)
    notes = [manifest.grouping, *manifest.notes, *parts.notes]
    if leaks:
        kinds = Counter(leak.kind for leak in leaks)
        notes.append(
            f"this split leaks: {kinds['group']} groups and {kinds['content']} identical files are on both sides "
            f"({leaks[0].value} first): numbers from it are too high for new video"
        )
    return DataSet(divided, out, tuple(notes))
