"""The scan, which reports every unusable file with its reason before training."""

from __future__ import annotations

import csv
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from marey.atomic import atomic_file
from marey.cores import usable_cores
from marey.data.clip import Clip, Manifest
from marey.data.csv_cells import CsvWriter, as_written
from marey.data.manifest import portable_path
from marey.errors import DatasetError, Reason, UsageError, VideoError, first_line
from marey.remote_path import as_path, join_path
from marey.video import Limits, VideoInfo, decode, probe

_log = logging.getLogger(__name__)
_TIMESTAMPS = 17  # decoded in each file, from its first frame to its end
_SIZE = (32, 32)
_OVERRUN = 1.0  # s: spans are often given in whole seconds, and end a little after their file

QUARANTINE_COLUMNS = ("path", "reason", "detail")


@dataclass(frozen=True, slots=True)
class ScanRow:
    """The result of the scan for a file, or for a clip whose span is outside its file.

    Attributes:
        path: the file.
        ok: whether it can be used.
        reason: the reason code if it cannot be used, else None.
        detail: a description of the fault, or of an irregularity.
        info: the properties of the file; None if it cannot be opened.
        clip: the clip, if its span cannot be used but the file can.
    """

    path: Path
    ok: bool
    reason: Reason | None
    detail: str
    info: VideoInfo | None
    clip: Clip | None = None

    @property
    def name(self) -> str:
        """The file's path, or the id of the clip, as `Manifest.without` takes it."""
        return self.path.as_posix() if self.clip is None else self.clip.id


def scan(
    source: Manifest | Iterable[str | Path],
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    workers: int | None = None,
    min_duration: float = 0.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[ScanRow]:
    """Open every file once and decode frames from its start to its end.

    Args:
        source: a manifest, whose spans are checked too, or paths of files.
        limits: limits for reading one file; a file that takes longer has the reason `timeout`.
        workers: number of files read in parallel; by default the number of usable cores.
        min_duration: minimum duration of a file and of a span in seconds (`too_short`).
        on_progress: called with the number of finished files and the number of files.

    Returns:
        A row per file, in the order of their first clips, followed by a row for each of its clips whose span cannot be
        used.
    """
    if not min_duration >= 0:
        raise UsageError(f"min_duration is {min_duration:g} seconds; it has to be 0 or more")
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers: at least 1 is needed")
    clips = source.clips if isinstance(source, Manifest) else [Clip(as_path(path)) for path in source]
    by_file: dict[Path, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_file[clip.path].append(clip)
    rows: dict[Path, list[ScanRow]] = {}
    with ThreadPoolExecutor(workers or usable_cores()) as pool:  # decoding releases the interpreter lock
        futures = {
            pool.submit(_scan_file, path, of_file, limits, min_duration): path for path, of_file in by_file.items()
        }
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                rows[futures[future]] = future.result()
                if on_progress is not None:
                    on_progress(done, len(by_file))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [row for path in by_file for row in rows[path]]


def write_quarantine(rows: Iterable[ScanRow], path: str | Path) -> None:
    """Write the unusable files and clips as CSV: path, reason, detail.

    Files below the folder of the list have relative paths, all others absolute ones.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = CsvWriter(file)
        writer.writerow(QUARANTINE_COLUMNS)
        writer.writerows(
            (portable_path(as_path(row.name), path.parent), row.reason, row.detail) for row in rows if not row.ok
        )


def read_quarantine(path: str | Path) -> tuple[str, ...]:
    """Read the names on a quarantine list, for `Manifest.without`.

    Raises:
        DatasetError: the list cannot be read, or has no column `path`.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if "path" not in (rows.fieldnames or ()):
                raise DatasetError(f"{path} is not a quarantine list: it has no column 'path'")
            return tuple(str(join_path(path.parent, as_written(row["path"]))) for row in rows if row["path"])
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is not a CSV file in UTF-8: {error}") from error


def _scan_file(path: Path, clips: Iterable[Clip], limits: Limits, min_duration: float) -> list[ScanRow]:
    info = None
    try:
        info = probe(path, limits=limits)
        if info.duration < min_duration:
            raise VideoError(path, "too_short", f"it lasts {info.duration:.3f} s, and {min_duration:g} s are required")
        timestamps = np.linspace(0.0, info.duration, _TIMESTAMPS)
        decode(path, timestamps, size=_SIZE, interpolation="nearest", limits=limits)
    except VideoError as error:
        return [ScanRow(path, False, error.reason, error.detail, info)]
    except Exception as error:  # one file stops nothing
        _log.exception("%s could not be scanned", path)
        detail = f"reading it failed, which is a fault of marey: {type(error).__name__}: {first_line(error)}"
        return [ScanRow(path, False, "corrupt", detail, info)]
    rows = [ScanRow(path, True, None, "; ".join(info.faults), info)]
    for clip in clips:
        fault = _span_fault(clip, info.duration, min_duration)
        if fault:
            rows.append(ScanRow(path, False, "too_short", fault, info, clip))
    return rows


def _span_fault(clip: Clip, duration: float, min_duration: float) -> str | None:
    start, end = clip.start or 0.0, duration if clip.end is None else clip.end
    if start >= duration:
        return f"the clip starts at {start:g} s, and the file lasts {duration:.3f} s"
    if end > duration + _OVERRUN:
        return f"the clip ends at {end:g} s, and the file lasts {duration:.3f} s"
    if min(end, duration) - start < min_duration:
        return f"the clip lasts {min(end, duration) - start:.3f} s, and {min_duration:g} s are required"
    return None
