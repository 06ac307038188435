"""`marey extract`: features into the cache for training, or into a file or folder for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from marey.commands.options import (
    OLD_FRAME_ORDER,
    OLD_ON_ERROR,
    Actors,
    Changes,
    Data,
    Device,
    Engine,
    FrameOrder,
    GpuShare,
    GroupRegex,
    On,
    OnError,
    RecipeName,
    StrPath,
    changes_of,
)
from marey.commands.registry import Line, Table, command
from marey.commands.steps.extractions import Exported, Extraction, ExtractionStatus, Partitioned
from marey.errors import UsageError, VideoError
from marey.progress import AUTO, Reporter
from marey.remote_path import is_remote

if TYPE_CHECKING:
    from marey.commands.steps.clip_results import Here, There
    from marey.data import Clip, FeatureFiles, FeatureTable, Manifest
    from marey.encoders import Contract, DoneList, Encoder, Features, View


def show_features(answer: Extraction | ExtractionStatus | Exported | Partitioned) -> Iterator[Any]:
    """Show what was read, and where it was written."""
    from marey.data.text import pluralize

    if not isinstance(answer, Exported):
        for clip, why in answer.failed.items():
            yield Line(f"{clip}: {why}", "fault")
        shard = None if isinstance(answer, Partitioned) else answer.shard
        clips = pluralize(answer.clips, "clip") + ("" if shard is None else f" in shard {shard}")
        if isinstance(answer, ExtractionStatus):
            yield f"{clips}: {answer.done} done, {len(answer.failed)} failed, {answer.left} left"
        else:
            before = f"{answer.done_before} done before, " if answer.done_before else ""
            yield f"{clips}, {before}{len(answer.failed)} unusable, {pluralize(answer.images, 'image')} encoded now"
        if isinstance(answer, Partitioned):
            yield f"features   {answer.path}, {pluralize(answer.partitions, 'partition')}, {answer.written} written now"
        else:
            yield f"cache   {answer.cache}"
        return
    table = Table(("stream", "clips", "frames", "features"))
    frames = " or ".join(map(str, answer.files.lengths))
    for stream, dim in answer.files.dims.items():
        table.add(stream, str(len(answer.files.manifest.clips)), frames, str(dim))
    yield table
    for note in answer.notes:
        yield Line(note, "note")
    yield f"features   {answer.files.path}"


@overload
def extract(
    data: Data,
    *,
    out: None = None,
    shard: str | None = None,
    status: Literal[False] = False,
    recipe: RecipeName = "auto",
    set: Changes = None,
    group_regex: GroupRegex = None,
    frame_order: FrameOrder = "original",
    on_error: OnError = "fail",
    device: Device = "auto",
    engine: Engine = None,
    on: On = None,
    actors: Actors = None,
    gpu_share: GpuShare = None,
    reporter: Reporter = AUTO,
) -> Extraction: ...


@overload
def extract(
    data: Data,
    *,
    out: None = None,
    shard: str | None = None,
    status: Literal[True],
    recipe: RecipeName = "auto",
    set: Changes = None,
    group_regex: GroupRegex = None,
    frame_order: FrameOrder = "original",
    on_error: OnError = "fail",
    device: Device = "auto",
    engine: Engine = None,
    on: On = None,
    actors: Actors = None,
    gpu_share: GpuShare = None,
    reporter: Reporter = AUTO,
) -> ExtractionStatus: ...


@overload
def extract(
    data: Data,
    *,
    out: StrPath,
    shard: None = None,
    status: Literal[False] = False,
    recipe: RecipeName = "auto",
    set: Changes = None,
    group_regex: GroupRegex = None,
    frame_order: FrameOrder = "original",
    on_error: OnError = "fail",
    device: Device = "auto",
    engine: Engine = None,
    on: None = None,
    actors: None = None,
    gpu_share: None = None,
    reporter: Reporter = AUTO,
) -> Exported | Partitioned: ...


@overload
def extract(
    data: Data,
    *,
    out: StrPath,
    shard: None = None,
    status: Literal[False] = False,
    recipe: RecipeName = "auto",
    set: Changes = None,
    group_regex: GroupRegex = None,
    frame_order: FrameOrder = "original",
    on_error: OnError = "fail",
    device: Device = "auto",
    engine: Engine = None,
    on: str,
    actors: Actors = None,
    gpu_share: GpuShare = None,
    reporter: Reporter = AUTO,
) -> Partitioned: ...


@command(
    "extract",
    panel="Data and features",
    examples=(
        "extract clips/",
        "extract clips/ --out features.npz",
        "extract clips/ --recipe clip --out features/",
        "extract s3://bucket/clips --shard 3/8",
        "extract s3://bucket/clips --on ray --out s3://bucket/features",
        "extract clips/ --status",
    ),
    show=show_features,
    renamed={"unusable": "on_error"},
    values={**OLD_FRAME_ORDER, **OLD_ON_ERROR},
)
def extract(
    data: Data,
    *,
    out: StrPath | None = None,
    shard: str | None = None,
    status: bool = False,
    recipe: RecipeName = "auto",
    set: Changes = None,
    group_regex: GroupRegex = None,
    frame_order: FrameOrder = "original",
    on_error: OnError = "fail",
    device: Device = "auto",
    engine: Engine = None,
    on: On = None,
    actors: Actors = None,
    gpu_share: GpuShare = None,
    reporter: Reporter = AUTO,
) -> Extraction | ExtractionStatus | Exported | Partitioned:
    """Extract the features of every clip of a data set, each clip once.

    Without --out, the cache is filled with all that a training reads (of a recipe with `selection.first`, what it reads
    first); the same command continues an interrupted extraction, and tries clips again that failed. With --out, the
    features of each clip's plain reading, as in evaluation, are also written for other programs, or for `marey data
    import` elsewhere: float32, frames x features, per stream. An .npz file holds `features.<stream>` (clips, frames,
    features) beside `labels`, `groups`, `splits`, `clips` and `contract`; a folder holds an .npy file per clip and
    stream, and features.csv.

    With --on ray, actors on a cluster do the work, and no frame leaves its node. They share the cache folder where they
    see it; else the features come back through Ray. Then, and in an object store, --out names a folder of Parquet
    partitions, where a second call does only the rest; `marey train` and `marey data import` read it.

    Args:
        out: write the features to this file, if it ends in .npz, or to this new folder; with --on, or in an object
            store, to this folder of partitions, which may have some already.
        shard: read only the K-th of N parts of the data, "K/N", so that N processes or machines with one cache folder
            share the work; by default the part that a SLURM array or torchrun names in its variables. "all" reads
            everything whatever they say.
        status: say what is done, what failed and what is left, and read nothing.
        frame_order: the order in which the encoder's streams see the frames.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.commands.steps.clip_results import Cluster, Here, There
    from marey.commands.steps.prepare import pick_device
    from marey.data import check_features_out, load_data
    from marey.encoders import Contract, DoneList, FeatureCache, View, find_shard, load_encoder
    from marey.training import load_recipe
    from marey.video import require_decoder

    cluster = Cluster.of(on, actors, gpu_share, device, engine)
    partitioned = out is not None and (cluster is not None or is_remote(out))
    if out is not None:
        if not partitioned:
            check_features_out(Path(out))
        elif str(out).lower().endswith(".npz"):
            raise UsageError(f"{out}: a cluster and an object store get a folder of partitions: name a folder")
        if frame_order != "original":
            raise UsageError(f"frame_order={frame_order} fills the cache: leave it out with --out")
        if shard is not None or status:
            option = "--status" if status else f"--shard {shard}"
            raise UsageError(f"{option} is about the cache: leave it out with --out, which writes one file or folder")
    chosen = load_recipe(recipe, changes=changes_of(set))
    require_decoder(chosen.sampling.decoder)
    where = pick_device(device)
    manifest = load_data(data, group_regex=group_regex)
    encoder = load_encoder(chosen.encoder, frames=chosen.sampling.count, device=where, engine=engine)
    if out is None:
        chosen = chosen.with_streams(chosen.selection.first)
    contract = Contract.from_recipe(chosen, encoder, multi_view=out is None)
    if out is not None:
        if contract.gives_images:
            raise UsageError(f"the recipe '{recipe}' is trained on images, and has no features to export")
        if not partitioned:
            return _export(manifest, encoder, contract, Path(out), on_error=on_error, reporter=reporter)
    order: Any = "given" if frame_order == "original" else frame_order
    part = None if partitioned else find_shard(shard)
    if part is not None:
        reporter.say(f"shard {part} of the files, by {part.named_by}")
    cache = FeatureCache()
    views = chosen.views.readings if out is None else (View(),)
    worker = (
        Here(encoder, contract, cache, order)
        if cluster is None
        else There(cluster, encoder, contract, cache, reporter, order)
    )
    with DoneList(cache, manifest.root, contract, views, order=order, engine=encoder.cache_tag) as listed:
        if out is not None:
            return _partition(manifest, worker, listed, out, on_error=on_error, reporter=reporter)
        clips = list(manifest.clips) if part is None else part.choose(manifest.clips, manifest.root)
        rows = listed.read()
        rest = [clip for clip in clips if not listed.is_done(clip, rows)]
        shown = None if part is None else str(part)
        done = len(clips) - len(rest)
        if status:
            failed = {clip.id: why for clip in rest if (why := listed.failure(clip, rows)) is not None}
            return ExtractionStatus(len(clips), done, failed, len(rest) - len(failed), cache.root, shown)
        failed = _fill([(clip, views) for clip in rest], worker, listed, reporter)
    return Extraction(len(clips), failed, encoder.dim, worker.images, cache.root, shown, done)


def _fill(
    readings: Sequence[tuple[Clip, tuple[View, ...]]],
    worker: Here | There,
    listed: DoneList,
    reporter: Reporter,
    hear: Callable[[int, tuple[str, ...] | VideoError], None] = lambda place, result: None,
) -> dict[str, str]:
    """Let a worker read clips, and list what is done; return the failures in the order of the clips."""
    from marey.commands.steps.prepare import watched

    faults: dict[int, str] = {}
    with watched(reporter, "reading clips", len(readings)) as watch:
        for place, result in worker.results(readings, watch):
            clip, _ = readings[place]
            if isinstance(result, VideoError):
                faults[place] = f"{result.reason}: {result.detail}"
                listed.add(clip, (), result)
            else:
                listed.add(clip, result)
            hear(place, result)
    return {readings[place][0].id: why for place, why in sorted(faults.items())}


def _partition(
    manifest: Manifest, worker: Here | There, listed: DoneList, out: StrPath, *, on_error: str, reporter: Reporter
) -> Partitioned:
    """Write the features of clips as partitions."""
    from marey.commands.steps.partitions import Partitions
    from marey.data.text import join_first
    from marey.encoders import View
    from marey.errors import DatasetError

    clips = manifest.clips
    parts = Partitions(
        out, worker.contract, clips, _names(manifest), listed=listed, rows=listed.read(), cache=worker.cache
    )
    rest = parts.rest
    failed = _fill(
        [(clips[place], (View(),)) for place in rest],
        worker,
        listed,
        reporter,
        lambda place, result: parts.add(rest[place], result),
    )
    parts.finish()
    if failed and on_error == "fail":
        some = join_first([f"{clip}: {why}" for clip, why in failed.items()])
        raise DatasetError(
            f"{len(failed)} of {len(clips)} clips cannot be used, as their rows in {out} say: {some}; --on-error skip "
            "takes that for done"
        )
    before = len(clips) - len(rest)
    return Partitioned(str(out), len(clips), failed, worker.images, before, parts.count, parts.written)


def write_table(table: FeatureTable, out: Path, on_error: str, reporter: Reporter) -> FeatureFiles:
    """Write features to a file or folder."""
    from marey.data import write_features

    with reporter.stage("writing features", len(table.clips)) as stage:
        return write_features(
            table,
            out,
            unusable="stop" if on_error == "fail" else "leave-out",
            on_progress=lambda done, _: stage.advance(done),
        )


def _export(
    manifest: Manifest, encoder: Encoder, contract: Contract, out: Path, *, on_error: str, reporter: Reporter
) -> Exported:
    from marey.commands.steps.prepare import watched
    from marey.data import FeatureClip, FeatureTable
    from marey.encoders import FeatureCache
    from marey.encoders import extract as read_features

    with watched(reporter, "reading clips", len(manifest.clips)) as watch:
        found = read_features(manifest.clips, encoder, contract, cache=FeatureCache(), on_progress=watch)
    clips = [
        FeatureClip(name, clip.label, clip.group, clip.split, partial(_features, result))
        for name, clip, result in zip(_names(manifest), manifest.clips, found, strict=True)
    ]
    made = contract.model_dump(mode="json")
    table = FeatureTable(tuple(clips), tuple(contract.streams), made, manifest.source)
    files = write_table(table, out, on_error, reporter)
    return Exported(files, (manifest.grouping, *manifest.notes, *files.notes))


def _features(result: Features | VideoError, stream: str) -> Any:
    if isinstance(result, VideoError):
        raise result
    return result[stream].numpy()


def _names(manifest: Manifest) -> list[str]:
    """Return the names of the clips' files: those of the clips, below the folder of the data set."""
    names = []
    for number, clip in enumerate(manifest.clips):
        inside = clip.path.is_relative_to(manifest.root) and ".." not in clip.path.relative_to(manifest.root).parts
        place = clip.path.relative_to(manifest.root) if inside else Path(f"{number:05d}") / clip.path.name
        names.append(replace(clip, path=place).id)
    return names
