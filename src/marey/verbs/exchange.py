"""`marey data import` and `marey data export`: what people already have, and what they want to take elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from marey.errors import UsageError, VideoError
from marey.verbs.data import DataSet
from marey.verbs.reporter import SILENT, Reporter, Stage

if TYPE_CHECKING:
    from marey.data import ClipSet, FeatureFiles, FeatureTable, Manifest
    from marey.encoders import Features

_UNKNOWN_GROUPS = (
    "who or what is in a clip is unknown, so that clips cut from one recording may lie on both sides of a split, and "
    "figures may be too good: fill in the column 'group' of the manifest where you know it"
)


@dataclass(frozen=True)
class Exported:
    """What `data export` answers.

    Attributes:
        files: what was written.
        notes: what was left out, and how to read it, a sentence each.
    """

    files: FeatureFiles
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": str(self.files.path),
            "clips": len(self.files.manifest.clips),
            "streams": {name: [*self.files.lengths, dim] for name, dim in self.files.dims.items()},
            "notes": list(self.notes),
        }


def import_data(
    source: Path,
    *,
    out: Path,
    parts: str | None = None,
    classes: str | None = None,
    channels: Literal["rgb", "bgr"] = "rgb",
    frame_rate: float = 25.0,
    unusable: Literal["stop", "leave-out"] = "stop",
    reporter: Reporter = SILENT,
) -> DataSet:
    """Make a data set of frames or features that were kept in another way.

    Reads a pickle (nothing in it is run) or an .npz file of frames and labels, for training, validation and testing or
    for all in one; a folder with a folder of pictures a clip; a folder of .npy features with a CSV file; an .npz file
    of features. Frames become video without loss, and features a folder of features. Stopped, the same command goes on.

    Args:
        source: the file or the folder; it is only read.
        out: the folder of the new data set.
        parts: which parts arrays without names are, in their order, as in train,test,val.
        classes: names of the classes with commas, in the order of their numbers, for labels that are numbers.
        channels: the order of the colours in arrays: rgb, or bgr, as OpenCV has it.
        frame_rate: frames a second; arrays and pictures do not say it, and marey counts time in seconds.
        unusable: what to do about clips that cannot be used: stop, or leave-out, which lists them in left_out.csv.
    """
    from marey.data import ClipSet, ImportOptions, read_source

    @contextmanager
    def watch(title: str, total: int) -> Iterator[Callable[[int], None]]:
        with reporter.stage(title, total) as stage:
            yield stage.advance

    found = read_source(source, ImportOptions(_words(parts), _words(classes), channels, watch))
    if isinstance(found, ClipSet):
        timed = f"{frame_rate:g} frames a second are taken for granted (--frame-rate)"
        return _write_video(found, out, frame_rate, unusable, (*found.notes, timed), reporter)
    if out.suffix.lower() == ".npz":
        raise UsageError(f"features are imported into a folder, not into {out}")
    files = _write_features(found, out, unusable, reporter)
    return DataSet(files.manifest, out / "features.csv", _notes(files.manifest, (*found.notes, *files.notes)))


def export(
    data: str,
    *,
    out: Path,
    recipe: str = "default",
    set: list[str] | None = None,
    group_regex: str | None = None,
    unusable: Literal["stop", "leave-out"] = "stop",
    device: str = "auto",
    engine: str | None = None,
    reporter: Reporter = SILENT,
) -> Exported:
    """Write the features of a data set for other programs, or for `marey data import` somewhere else.

    Features are those of a clip's plain reading, as evaluation sees it: float32, frames by numbers, a stream each. What
    is in the cache is taken from there. An .npz file holds `features.<stream>` (clips, frames, numbers) beside
    `labels`, `groups`, `splits`, `clips` and `contract`; a folder holds an .npy file a clip and stream, and
    features.csv.

    Args:
        data: a folder of class folders, a manifest (CSV or Parquet), or the name of a data set.
        out: the file, where it ends in .npz, or the folder; it must not be there yet.
        recipe: the name of a recipe that comes with marey, or a YAML file.
        set: key=value, changes a key of the recipe, as in sampling.count=8; may be repeated.
        group_regex: takes the group of a clip from the first capture in its path, or names a known pattern.
        unusable: what to do about clips that cannot be used: stop, or leave-out, which lists them.
        device: where to run: auto, cpu or cuda.
        engine: what runs the encoder: auto (the fastest here), pytorch, openvino, onnxruntime or cuda; by default what
            MAREY_ENGINE says, else auto.
    """
    from marey.data import FeatureClip, FeatureTable, check_features_out, load_data
    from marey.encoders import FeatureCache, extract, load_encoder
    from marey.training import load_recipe
    from marey.verbs.prepare import pick_device, watched
    from marey.video import require_decoder

    check_features_out(Path(out))
    chosen = load_recipe(recipe, changes=set or ())
    require_decoder(chosen.sampling.decoder)
    where = pick_device(device)
    manifest = load_data(data, group_regex=group_regex)
    encoder = load_encoder(chosen.encoder, frames=chosen.sampling.count, device=where, engine=engine)
    contract = encoder.contract(sampling=chosen.sampling, streams=chosen.streams, fit=chosen.fit)
    if contract.gives_pictures:
        raise UsageError(f"the recipe '{recipe}' is trained on pictures, and has no features to export")
    cache = FeatureCache()
    with watched(reporter, "reading clips", len(manifest.clips)) as watch:
        found = extract(manifest.clips, encoder, contract, cache=cache, on_progress=watch)
    names = _export_names(manifest)
    clips = [
        FeatureClip(name, clip.label, clip.group, clip.split, partial(_features, result))
        for name, clip, result in zip(names, manifest.clips, found, strict=True)
    ]
    made = contract.model_dump(mode="json")
    table = FeatureTable(tuple(clips), tuple(contract.streams), made, manifest.source)
    files = _write_features(table, out, unusable, reporter)
    return Exported(files, (manifest.grouping, *manifest.notes, *files.notes))


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _write_video(
    found: ClipSet,
    out: Path,
    frame_rate: float,
    unusable: Literal["stop", "leave-out"],
    notes: tuple[str, ...],
    reporter: Reporter,
) -> DataSet:
    from marey.data import write_clips

    with reporter.stage("writing clips", len(found.clips)) as stage:
        manifest = write_clips(
            found.clips,
            out,
            made_from=found.made_from,
            frame_rate=frame_rate,
            unusable=unusable,
            on_progress=_counted(stage),
        )
    return DataSet(manifest, out / "manifest.csv", _notes(manifest, (*notes, *manifest.notes)))


def _write_features(
    table: FeatureTable, out: Path, unusable: Literal["stop", "leave-out"], reporter: Reporter
) -> FeatureFiles:
    from marey.data import write_features

    with reporter.stage("writing features", len(table.clips)) as stage:
        return write_features(table, out, unusable=unusable, on_progress=_counted(stage))


def _counted(stage: Stage) -> Any:
    return lambda done, total: stage.advance(done)


def _notes(manifest: Manifest, notes: tuple[str, ...]) -> tuple[str, ...]:
    """How it was read, where the groups come from, and what lies on both sides of the split."""
    from marey.data import find_leaks

    sides = [[i for i, clip in enumerate(manifest.clips) if (clip.split == "test") == test] for test in (False, True)]
    same = [leak for leak in find_leaks(manifest.clips, *sides) if leak.kind == "content"]
    leaks = [
        f"leak: {leak.left[0]} and {leak.right[0]} hold the same, and one of them is tested on" for leak in same[:3]
    ]
    if len(same) > len(leaks):
        leaks.append(f"leak: so do {len(same) - len(leaks)} other pairs")
    known = any(clip.group is not None for clip in manifest.clips)
    return (*notes, manifest.grouping, *(() if known else (_UNKNOWN_GROUPS,)), *leaks)


def _features(result: Features | VideoError, stream: str) -> Any:
    if isinstance(result, VideoError):
        raise result
    return result[stream].numpy()


def _export_names(manifest: Manifest) -> list[str]:
    """What the files of the clips are called: as the clips are, below the data set's folder."""
    names = []
    for number, clip in enumerate(manifest.clips):
        inside = clip.path.is_relative_to(manifest.root) and ".." not in clip.path.relative_to(manifest.root).parts
        place = clip.path.relative_to(manifest.root) if inside else Path(f"{number:05d}") / clip.path.name
        names.append(replace(clip, path=place).id)
    return names
