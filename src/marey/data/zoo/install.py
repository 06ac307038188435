"""Install a named data set: download, unpack and list it; completed steps are kept when a later one fails."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import filelock

from marey.data.clip import Manifest
from marey.data.manifest import read_manifest, write_manifest
from marey.data.metadata import write_metadata
from marey.data.text import join_first
from marey.data.zoo.archives import ARCHIVE_SUFFIXES, ArchiveError, require_rar_tool, unpack
from marey.data.zoo.download import RECORD, DownloadError, OnProgress, check, download, remember
from marey.data.zoo.presets import PRESETS, Preset, select
from marey.data.zoo.registry import CATALOG, PUBLISHED, Archive, Files, NamedData, Published, Table
from marey.errors import DatasetError, UnknownNameError, UsageError

_FILES: Final = "files"
_DOWNLOADS: Final = ".downloads"


def install(name: str, *, source: str | Path | None = None, on_progress: OnProgress = lambda *_: None) -> Manifest:
    """Install a named data set in `data_home`, with its manifest, and load it.

    Each archive is downloaded, checked, unpacked and removed before the next one; an interrupted call is resumed by
    the next one. All variants of a data set (its further official splits) are installed with it. A preset is made
    from installed data sets, and refers to their files.

    Args:
        name: one of `CATALOG`.
        source: a folder with the archives, or with their unpacked files. It is not changed: archives are unpacked
            beside the manifest, and unpacked files are used in their place.
        on_progress: called in each step with a number of bytes.

    Raises:
        UnknownNameError: there is no data set of this name.
        UsageError: the data set cannot be installed in this way.
        DatasetError: a download, an archive or its files cannot be used; the message names it and the reason.
    """
    source = None if source is None else Path(source)
    if name not in CATALOG:
        raise UnknownNameError("data set", name, CATALOG)
    named = CATALOG[name]
    base = named.of or named.name
    if base not in PUBLISHED and base not in PRESETS:
        raise UsageError(f"'{name}' is not downloaded: run '{named.way_to_get}'")
    if base in PRESETS:
        if source is not None:
            raise UsageError(
                f"'{name}' is made from {join_first(list(PRESETS[base].classes))}: get these from {source}"
            )
        return _make(PRESETS[base], named)
    variant = named.name.removeprefix(f"{base}-") if named.of else ""
    if source is not None and not source.is_dir():
        raise DatasetError(f"{source} is no folder: name the folder with the files of '{base}'")
    if source is None and (installed := _installed(named)) is not None:
        note = f"it is here already; to get it again, remove {named.folder}"
        return replace(installed, notes=(*installed.notes, note))
    try:
        named.folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(named.folder / ".lock", timeout=0):
            tables = _install(PUBLISHED[base], variant, named.folder, source, on_progress)
    except filelock.Timeout:
        raise DatasetError(
            f"'{base}' is being installed by another process ({named.folder / '.lock'} is locked): wait for it"
        ) from None
    return _loaded(name, tables)


def _installed(named: NamedData) -> Manifest | None:
    """Return the data set if it is installed with all of its files."""
    try:
        return read_manifest(named.manifest) if named.is_here else None
    except DatasetError:
        return None


def _install(
    data: Published, variant: str, folder: Path, source: Path | None, on_progress: OnProgress
) -> Mapping[str, Table]:
    if source is None and any(archive.file.name.endswith(".rar") for archive in data.archives):
        require_rar_tool(data.name)  # before gigabytes are downloaded
    given = None if source is None else Files([source])
    roots = [folder / _FILES]
    in_place = False
    for archive in data.archives:
        if given is not None and given.has(archive.holds):
            in_place = True
        elif given is not None and variant in archive.spared and given.named(archive.file.name) is None:
            continue
        elif given is not None:
            _unpack_given(data, archive, folder, given, on_progress)
        else:
            _download(data, archive, folder, on_progress)
    if given is not None and in_place:
        roots = [*given.roots, *roots]
    tables = data.read(Files(roots))
    for variant, table in tables.items():
        named = CATALOG[f"{data.name}-{variant}" if variant else data.name]
        write_manifest(Manifest(table.clips, folder, data.summary, ""), named.manifest)
    return tables


def _loaded(name: str, tables: Mapping[str, Table]) -> Manifest:
    named = CATALOG[name]
    table = tables[named.name.removeprefix(f"{named.of}-") if named.of else ""]
    manifest = read_manifest(named.manifest)
    return replace(manifest, notes=(*manifest.notes, *table.notes, f"tested by: {named.protocol}"))


def _target(archive: Archive, folder: Path) -> Path:
    """Return the folder to unpack an archive into, or the path of a plain file."""
    name = Path(archive.file.name)
    return folder / _FILES / (name.stem if name.suffix in ARCHIVE_SUFFIXES else name.name)


def _download(data: Published, archive: Archive, folder: Path, on_progress: OnProgress) -> None:
    """Download and unpack an archive, unless that was done before."""
    target, record = _target(archive, folder), folder / RECORD
    if target.exists():
        return
    try:
        fetched = download(archive.file, folder / _DOWNLOADS, record=record, on_progress=on_progress)
    except DownloadError as error:
        raise DownloadError(
            f"{error}; or download it by hand ({data.page}), and name its folder: "
            f"marey data get {data.name} --from FOLDER"
        ) from error
    target.parent.mkdir(exist_ok=True)
    if Path(archive.file.name).suffix not in ARCHIVE_SUFFIXES:
        fetched.replace(target)
        return
    try:
        unpack(fetched, target, on_progress=on_progress)
    except ArchiveError:
        fetched.unlink()  # the next call downloads it again
        remember(record, archive.file.name, None)
        raise
    except DatasetError as error:
        raise DatasetError(f"{error}; the download is kept: {fetched}") from error
    fetched.unlink()
    with suppress(OSError):
        fetched.parent.rmdir()  # if it is empty


def _unpack_given(data: Published, archive: Archive, folder: Path, given: Files, on_progress: OnProgress) -> None:
    """Unpack an archive of the given folder, unless that was done before."""
    target = _target(archive, folder)
    if target.exists():
        return
    found = given.named(archive.file.name)
    if found is None:
        raise DatasetError(
            f"{join_first([str(root) for root in given.roots])} holds neither {archive.file.name} nor its unpacked "
            f"files: get it from {archive.file.urls[0]}, put it there, and run the same command again"
        )
    check(found, archive.file, record=folder / RECORD, on_progress=on_progress)
    target.parent.mkdir(exist_ok=True)
    unpack(found, target, on_progress=on_progress)


def _make(preset: Preset, named: NamedData) -> Manifest:
    """Write the manifest of a preset from installed data sets."""
    absent = [data for data in preset.classes if not CATALOG[data].is_here]
    if absent:
        raise DatasetError(
            f"'{preset.name}' is made from {' and '.join(preset.classes)}; not here yet: {join_first(absent)}; "
            f"run '{CATALOG[absent[0]].way_to_get}' first"
        )
    clips, notes = select(preset, {data: read_manifest(CATALOG[data].manifest) for data in preset.classes})
    if named.of:
        clips = tuple(replace(clip, label=preset.published[str(clip.label)]) for clip in clips)
    write_manifest(Manifest(clips, named.folder, preset.summary, ""), named.manifest)
    listed = named.manifest.with_name(named.manifest.name.replace("manifest", "metadata"))
    write_metadata(clips, listed)
    manifest = read_manifest(named.manifest)
    return replace(manifest, notes=(*manifest.notes, *notes, f"the same as a list for other programs: {listed}"))
