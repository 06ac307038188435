"""Getting a named data set: downloads, archives, manifests, each step kept when the next one fails."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import filelock

from marey.data.catalog import CATALOG, NamedData
from marey.data.clip import Manifest, listing
from marey.data.download import RECORD, DownloadError, OnProgress, check, download, remember
from marey.data.layouts import Files, Table
from marey.data.manifest import read_manifest, write_manifest
from marey.data.presets import PRESETS, Preset, choose
from marey.data.published import PUBLISHED, Archive, Published
from marey.data.rar import ArchiveError, require_tool
from marey.data.unpack import ARCHIVE_SUFFIXES, unpack
from marey.errors import DatasetError, UnknownNameError, UsageError

_FILES: Final = "files"
_DOWNLOADS: Final = ".downloads"


def install(name: str, *, source: Path | None = None, on_progress: OnProgress = lambda *_: None) -> Manifest:
    """Bring a named data set to `data_home`, with its manifest, and load it.

    An archive is downloaded, checked and unpacked before the next one, and then removed; a call that is stopped is
    gone on with by the next one. All variants of a data set (its further official splits) come with it. A preset is
    made from data sets that are here, and points to their files.

    Args:
        name: one of `CATALOG`.
        source: a folder with the archives, or with what was in them. It is only read: archives are unpacked beside
            the manifest, and unpacked files are used where they are.
        on_progress: hears of each step, in bytes.

    Raises:
        UnknownNameError: there is no data set of this name.
        UsageError: it cannot be got in this way.
        DatasetError: a download, an archive or the files in it cannot be used; the message says which and why.
    """
    if name not in CATALOG:
        raise UnknownNameError("data set", name, CATALOG)
    named = CATALOG[name]
    base = named.of or named.name
    if base not in PUBLISHED and base not in PRESETS:
        raise UsageError(f"'{name}' is not downloaded: run '{named.way_to_get}'")
    if base in PRESETS:
        if source is not None:
            raise UsageError(f"'{name}' is made from {listing(list(PRESETS[base].classes))}: get these from {source}")
        return _make(PRESETS[base], named)
    if source is not None and not source.is_dir():
        raise DatasetError(f"{source} is no folder: name the one that holds the files of '{base}'")
    if source is None and (here := _here(named)) is not None:
        note = f"it is here already; to get it anew, remove {named.folder}"
        return replace(here, notes=(*here.notes, note))
    try:
        named.folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(named.folder / ".lock", timeout=0):
            tables = _bring(PUBLISHED[base], named.folder, source, on_progress)
    except filelock.Timeout:
        raise DatasetError(f"'{base}' is being got already ({named.folder / '.lock'} is held): wait for that") from None
    return _loaded(name, tables)


def _here(named: NamedData) -> Manifest | None:
    """The data set where it is here with all of its files."""
    try:
        return read_manifest(named.manifest) if named.is_here else None
    except DatasetError:
        return None


def _bring(data: Published, folder: Path, source: Path | None, on_progress: OnProgress) -> Mapping[str, Table]:
    if source is None and any(archive.file.name.endswith(".rar") for archive in data.archives):
        require_tool(data.name)  # before gigabytes are downloaded for nothing
    given = None if source is None else Files([source])
    roots = [folder / _FILES]
    in_place = False
    for archive in data.archives:
        if given is not None and given.has(archive.holds):
            in_place = True
        elif given is not None:
            _take(data, archive, folder, given, on_progress)
        else:
            _get(data, archive, folder, on_progress)
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


def _place(archive: Archive, folder: Path) -> Path:
    """Where an archive is unpacked, or a plain file lies."""
    name = Path(archive.file.name)
    return folder / _FILES / (name.stem if name.suffix in ARCHIVE_SUFFIXES else name.name)


def _get(data: Published, archive: Archive, folder: Path, on_progress: OnProgress) -> None:
    """Download an archive and unpack it, unless that was done before."""
    place, record = _place(archive, folder), folder / RECORD
    if place.exists():
        return
    try:
        fetched = download(archive.file, folder / _DOWNLOADS, record=record, on_progress=on_progress)
    except DownloadError as error:
        raise DownloadError(
            f"{error}; or get it by hand ({data.page}), and name its folder: marey data get {data.name} --from FOLDER"
        ) from error
    place.parent.mkdir(exist_ok=True)
    if Path(archive.file.name).suffix not in ARCHIVE_SUFFIXES:
        fetched.replace(place)
        return
    try:
        unpack(fetched, place, on_progress=on_progress)
    except ArchiveError:
        fetched.unlink()  # and the next call downloads it anew
        remember(record, archive.file.name, None)
        raise
    except DatasetError as error:
        raise DatasetError(f"{error}; the download is kept: {fetched}") from error
    fetched.unlink()
    with suppress(OSError):
        fetched.parent.rmdir()  # when it is empty


def _take(data: Published, archive: Archive, folder: Path, given: Files, on_progress: OnProgress) -> None:
    """Unpack an archive that was brought along, unless that was done before."""
    place = _place(archive, folder)
    if place.exists():
        return
    found = given.named(archive.file.name)
    if found is None:
        raise DatasetError(
            f"{listing([str(root) for root in given.roots])} holds neither {archive.file.name} nor what is in it: get "
            f"it from {archive.file.urls[0]}, put it there, and run the same command again"
        )
    check(found, archive.file, record=folder / RECORD, on_progress=on_progress)
    place.parent.mkdir(exist_ok=True)
    unpack(found, place, on_progress=on_progress)


def _make(preset: Preset, named: NamedData) -> Manifest:
    """Write the manifest of a preset from the data sets that are here."""
    absent = [data for data in preset.classes if not CATALOG[data].is_here]
    if absent:
        raise DatasetError(
            f"'{preset.name}' is made from {' and '.join(preset.classes)}; not here yet: {listing(absent)}; "
            f"run '{CATALOG[absent[0]].way_to_get}' first"
        )
    clips, notes = choose(preset, {data: read_manifest(CATALOG[data].manifest) for data in preset.classes})
    write_manifest(Manifest(clips, named.folder, preset.summary, ""), named.manifest)
    manifest = read_manifest(named.manifest)
    return replace(manifest, notes=(*manifest.notes, *notes))
