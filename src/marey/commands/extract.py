"""`marey extract`: features into the cache for training, or into a file or folder for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from marey.commands.options import (
    OLD_FRAME_ORDER,
    OLD_ON_ERROR,
    Changes,
    Data,
    Device,
    Engine,
    FrameOrder,
    GroupRegex,
    OnError,
    RecipeName,
    StrPath,
    changes_of,
)
from marey.commands.registry import Line, Table, command
from marey.errors import UsageError, VideoError
from marey.progress import AUTO, Reporter

if TYPE_CHECKING:
    from marey.data import FeatureFiles, FeatureTable, Manifest
    from marey.encoders import Contract, Encoder, Features


@dataclass(frozen=True)
class Extraction:
    """The answer of `extract` to the cache.

    Attributes:
        clips: number of clips.
        failed: path -> reason and detail of the clips that cannot be used.
        dim: length of a feature vector.
        images: number of images that were encoded now.
        cache: the folder of the features.
    """

    clips: int
    failed: dict[str, str]
    dim: int
    images: int
    cache: Path

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "cache": str(self.cache)}


@dataclass(frozen=True)
class Exported:
    """The answer of `extract` to a file or folder.

    Attributes:
        files: the files written.
        notes: omissions and remarks, a sentence each.
    """

    files: FeatureFiles
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "path": str(self.files.path),
            "clips": len(self.files.manifest.clips),
            "streams": {name: [*self.files.lengths, dim] for name, dim in self.files.dims.items()},
            "notes": list(self.notes),
        }


def _show(answer: Extraction | Exported) -> Iterator[Any]:
    if isinstance(answer, Extraction):
        for clip, why in answer.failed.items():
            yield Line(f"{clip}: {why}", "fault")
        yield f"{answer.clips} clips, {len(answer.failed)} unusable, {answer.images} images encoded now"
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
    recipe: RecipeName = "auto",
    set: Changes = None,
    group_regex: GroupRegex = None,
    frame_order: FrameOrder = "original",
    on_error: OnError = "fail",
    device: Device = "auto",
    engine: Engine = None,
    reporter: Reporter = AUTO,
) -> Extraction: ...


@overload
def extract(
    data: Data,
    *,
    out: StrPath,
    recipe: RecipeName = "auto",
    set: Changes = None,
    group_regex: GroupRegex = None,
    frame_order: FrameOrder = "original",
    on_error: OnError = "fail",
    device: Device = "auto",
    engine: Engine = None,
    reporter: Reporter = AUTO,
) -> Exported: ...


@command(
    "extract",
    panel="Data and features",
    examples=("extract clips/", "extract clips/ --out features.npz", "extract clips/ --recipe clip --out features/"),
    show=_show,
    aliases=("data export",),
    renamed={"unusable": "on_error"},
    values={**OLD_FRAME_ORDER, **OLD_ON_ERROR},
)
def extract(
    data: Data,
    *,
    out: StrPath | None = None,
    recipe: RecipeName = "auto",
    set: Changes = None,
    group_regex: GroupRegex = None,
    frame_order: FrameOrder = "original",
    on_error: OnError = "fail",
    device: Device = "auto",
    engine: Engine = None,
    reporter: Reporter = AUTO,
) -> Extraction | Exported:
    """Extract the features of every clip of a data set, each clip once.

    Without --out, the cache is filled with all that a training reads (of a recipe with `selection.first`, what it reads
    first); the same command continues an interrupted extraction. With --out, the features of each clip's plain
    reading, as in evaluation, are also written for other programs, or for `marey data import` elsewhere: float32,
    frames x features, per stream. An .npz file holds `features.<stream>` (clips, frames, features) beside `labels`,
    `groups`, `splits`, `clips` and `contract`; a folder holds an .npy file per clip and stream, and features.csv.

    Args:
        out: write the features to this file, if it ends in .npz, or to this new folder.
        frame_order: the order in which the encoder's streams see the frames.
        reporter: receives the progress; by default progress bars in a terminal or a notebook.
    """
    from marey.commands.steps.prepare import pick_device, watched
    from marey.data import check_features_out, load_data
    from marey.encoders import Contract, FeatureCache, iterate_views, load_encoder
    from marey.training import load_recipe
    from marey.video import require_decoder

    if out is not None:
        check_features_out(Path(out))
        if frame_order != "original":
            raise UsageError(f"frame_order={frame_order} fills the cache: leave it out with --out")
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
        return _export(manifest, encoder, contract, Path(out), on_error=on_error, reporter=reporter)
    readings = [(clip, chosen.views.readings) for clip in manifest.clips]
    cache = FeatureCache()
    order: Any = "given" if frame_order == "original" else frame_order
    with watched(reporter, "reading clips", len(readings)) as watch:
        results = iterate_views(readings, encoder, contract, cache=cache, order=order, on_progress=watch)
        failed = {
            clip.id: f"{result.reason}: {result.detail}"
            for clip, result in zip(manifest.clips, results, strict=True)
            if isinstance(result, VideoError)
        }
    return Extraction(len(readings), failed, encoder.dim, encoder.images, cache.root)


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
