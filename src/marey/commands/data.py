"""`marey data ...`: list, get, make, scan and split data sets."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from marey.atomic import check_writable
from marey.commands.options import Data, GroupRegex, StrPath
from marey.commands.registry import Help, Line, Table, command
from marey.commands.steps.written import Unwritten, written
from marey.errors import UsageError
from marey.progress import AUTO, Reporter, Stage
from marey.remote_path import as_path

if TYPE_CHECKING:
    from marey.data import Manifest, NamedData, Part, ScanRow

_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class NamedDataSets:
    """The answer of `data list`: the data sets that have a name."""

    sets: tuple[NamedData, ...]

    def as_dict(self) -> list[dict[str, Any]]:
        """Return it for JSON."""
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
    """The answer of `data get`, `make`, `import` and `split`.

    Attributes:
        manifest: the clips.
        path: the manifest file that was written.
        notes: remarks, a sentence each.
    """

    manifest: Manifest
    path: Path
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"path": str(self.path), "notes": list(self.notes), **self.manifest.describe()}


@dataclass(frozen=True)
class Scan:
    """The answer of `data scan`.

    Attributes:
        rows: one a file, and one for each span that is not in its file.
        quarantine: the list that was written; None without one.
        unwritten: the list, if it could not be written.
    """

    rows: tuple[ScanRow, ...]
    quarantine: Path | None
    unwritten: tuple[Unwritten, ...] = ()

    @property
    def usable(self) -> bool:
        """True if any file can be used."""
        return any(row.ok for row in self.rows)

    @property
    def reasons(self) -> dict[str, int]:
        """Reason code -> number of files."""
        return dict(Counter(str(row.reason) for row in self.rows if row.reason is not None))

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
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
                    "mirrored": info.mirrored,
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


def _show_names(answer: NamedDataSets) -> Iterator[Any]:
    table = Table(("name", "here", "what", "folder, or how to get it"))
    for named in answer.sets:
        place = str(named.folder) if named.is_here else named.way_to_get
        table.add(named.name, "yes" if named.is_here else "no", named.summary, place)
    yield table


def show_clips(answer: DataSet) -> Iterator[Any]:
    """Show the number of clips per class and part of the split."""
    clips = answer.manifest.clips
    table = Table(("class", "clips", "train", "val", "test"))
    for label in answer.manifest.labels:
        of_label = [clip for clip in clips if clip.label == label]
        parts = [str(sum(clip.split == part for clip in of_label) or "") for part in ("train", "val", "test")]
        table.add(label, str(len(of_label)), *parts)
    yield table
    for note in answer.notes:
        yield Line(note, "warning" if "leak" in note else "note")
    yield f"manifest   {answer.path}"
    yield f"next       marey train {shlex.quote(str(answer.path))} --out runs/first"


def _show_scan(answer: Scan) -> Iterator[Any]:
    table = Table(("file", "reason", "detail"), whole=("reason",), path="file")
    for row in answer.rows:
        if not row.ok:
            table.add(row.name, Line(str(row.reason), "fault"), row.detail)
    if table.rows:
        yield table
    for row in answer.rows:
        if row.ok and row.info is not None and row.info.faults:
            yield Line(f"{row.name}: usable, but {'; '.join(row.info.faults)}", "note")
    yield f"{sum(row.ok for row in answer.rows)} of {len(answer.rows)} usable"
    if answer.quarantine is not None:
        yield f"quarantine list   {answer.quarantine}"
        yield f"next              marey train DATA --exclude {shlex.quote(str(answer.quarantine))} --out runs/first"


@command("data list", show=_show_names)
def list_data() -> NamedDataSets:
    """List the data sets that have a name, and where they are or how to get them."""
    from marey.data import CATALOG

    return NamedDataSets(tuple(CATALOG.values()))


@command(
    "data get",
    examples=("data get kth", "data get ucf101 --source-dir ~/Downloads"),
    show=show_clips,
    renamed={"from_": "source_dir"},
)
def get(name: str, *, source_dir: StrPath | None = None, reporter: Reporter = AUTO) -> DataSet:
    """Download, check and unpack a data set by its name, and write its manifest.

    The same command continues an interrupted download. The manifest has the official split: ucf101-2 or hmdb51-3 have
    the second or third one, and come with the first. ucf-hmdb-10 and ucf101-25 are made of installed data sets, with a
    metadata.csv for other programs beside the manifest; ucf-hmdb-10-published has the published names of the actions.

    Args:
        name: a name from `marey data list`.
        source_dir: a folder with the archives, or with the files in them; it is only read.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.data import CATALOG, install

    with _Steps(reporter) as steps:
        manifest = install(name, source=None if source_dir is None else Path(source_dir), on_progress=steps.hear)
    return DataSet(manifest, CATALOG[name].manifest, (manifest.grouping, *manifest.notes))


class _Steps:
    """Progress of steps that are not known beforehand, in megabytes."""

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
        """Report how many bytes of a step are done."""
        if title != self._title:
            self._open.close()
            self._title = title
            self._stage = self._open.enter_context(self._reporter.stage(f"{title} (MB)", -(-total // _MEGABYTE)))
        self._stage.advance(-(-done // _MEGABYTE))


@command(
    "data make",
    examples=("data make clips/ --actors 12 --scenarios d1", "data make long/ --untrimmed --rest 0.3"),
    show=show_clips,
)
def make(
    out: StrPath | None = None,
    *,
    actors: int = 25,
    scenarios: str = "d1,d2,d3,d4",
    untrimmed: bool = False,
    rest: float = 0.0,
    seed: int = 0,
    workers: int | None = None,
    reporter: Reporter = AUTO,
) -> DataSet:
    """Draw the embedded data set: figures in the six KTH actions, as video with KTH's file names.

    The same command continues an interrupted drawing. With all 25 actors, 16 are for training and KTH's nine for
    testing.

    Args:
        out: the folder to fill; by default that of the data set `embedded`, or `embedded-untrimmed`.
        actors: number of people, 1 to 25.
        scenarios: some of d1 (outdoors), d2 (scale changes), d3 (other clothes), d4 (indoors), separated by commas.
        untrimmed: draw two long videos of each actor instead, each of several actions.
        rest: for untrimmed video, the share of spans without action, up to 0.5; they have no label.
        seed: the random seed of the drawings.
        workers: processes that draw; by default one per CPU core.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.data import CATALOG
    from marey.synthetic import VIDEOS, make_untrimmed
    from marey.synthetic import make as make_clips

    if rest and not untrimmed:
        raise UsageError(f"rest={rest:g} is for untrimmed video: add --untrimmed, or leave it out")
    chosen = [name.strip() for name in scenarios.split(",") if name.strip()]
    folder = Path(out) if out is not None else CATALOG["embedded-untrimmed" if untrimmed else "embedded"].folder
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


@command(
    "data scan",
    examples=("data scan clips/", "data scan clips/ --quarantine unusable.csv"),
    show=_show_scan,
)
def scan(
    data: Annotated[StrPath, Help("", cli=str)],
    *,
    quarantine: StrPath | None = None,
    timeout: float = 60.0,
    min_duration: float = 0.0,
    workers: int | None = None,
    reporter: Reporter = AUTO,
) -> Scan:
    """Check every file of a data set, and list the unusable ones with a reason.

    Args:
        data: a folder of class folders, any folder of videos, a manifest, a file, or the name of a data set.
        quarantine: write the unusable files to this CSV file, for `--exclude` of other commands.
        timeout: seconds after which a file counts as hanging.
        min_duration: shortest usable clip in seconds.
        workers: files checked in parallel; by default one per CPU core.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.data import CATALOG, load_data, write_quarantine
    from marey.data import scan as scan_files
    from marey.errors import DatasetError
    from marey.prediction import find_clips
    from marey.video import Limits

    data, listed_in = str(data), None if quarantine is None else Path(quarantine)
    if listed_in is not None:
        check_writable(listed_in)
    source: Any
    try:
        source = load_data(data, missing="keep")
        files = len({clip.path for clip in source.clips})
    except DatasetError:
        # Not a labelled data set: any file, or a folder with videos somewhere in it, can be looked at as well.
        if data in CATALOG or as_path(data).suffix.lower() in (".csv", ".parquet"):
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
    if listed_in is None:
        return Scan(tuple(rows), None)
    listed = written(listed_in, partial(write_quarantine, rows, listed_in))
    return Scan(tuple(rows), None if listed.failed else listed_in, listed.failed)


@command(
    "data split",
    examples=(
        "data split clips/ --out split.csv --test 0.3",
        "data split clips/ --out random.csv --by clip",
        "data split ucf50 --classes Swing,TaiChi --most 100 --out two.csv",
    ),
    show=show_clips,
)
def split(
    data: Data,
    *,
    out: StrPath,
    test: float = 0.25,
    val: float = 0.0,
    seed: int = 0,
    by: Literal["group", "clip"] = "group",
    classes: str | None = None,
    most: int | None = None,
    group_regex: GroupRegex = None,
) -> DataSet:
    """Split a data set into train, val and test parts, and write them as a manifest.

    Groups are kept whole. A random split by clip, `--by clip --test 0.2`, reproduces the numbers of earlier work; its
    leaks are reported here and beside every number.

    Args:
        out: the manifest to write, .csv or .parquet.
        test: share of the clips to test on.
        val: share of the clips to validate on.
        seed: the random seed of the split.
        by: "group" keeps groups whole, "clip" does not.
        classes: take these classes alone, separated by commas.
        most: take so many clips of each class at most, in turn from its groups.
    """
    from dataclasses import replace

    from marey.data import find_leaks, holdout, load_data, take_subset, write_manifest

    out = Path(out)
    if out.exists():
        raise UsageError(f"{out} exists, and is left as it is; choose another --out")
    check_writable(out)
    named = [name.strip() for name in (classes or "").split(",") if name.strip()]
    manifest = take_subset(load_data(data, group_regex=group_regex), classes=named, most=most)
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
