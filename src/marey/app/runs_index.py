"""Index of the runs and models below a folder."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DEPTH: Final = 5
_INSIDE_RUNS: Final = frozenset(("folds", "plots", "model"))


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder with a model, with test results, or with both.

    Attributes:
        name: path below the folder that was searched.
        folder: path.
        has_model: it can predict.
        has_results: it has metrics and predictions.
        changed: time of the last change, in seconds since 1970.
    """

    name: str
    folder: Path
    has_model: bool
    has_results: bool
    changed: float


def labels_of(entry: Entry) -> tuple[str, ...]:
    """Return the classes of a model, in its order; none where its `config.json` cannot be read."""
    for place in (entry.folder, entry.folder / "model"):
        try:
            values = json.loads((place / "config.json").read_text(encoding="utf-8"))
            return tuple(map(str, values["labels"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ()


def find_runs(folder: Path) -> list[Entry]:
    """Return the runs and models below a folder, newest first; hidden folders, links and folds are skipped."""
    found: list[Entry] = []
    for place, folders, _ in os.walk(folder):
        here = Path(place)
        entry = _entry(here, folder)
        if entry is not None:
            found.append(entry)
        deep = len(here.relative_to(folder).parts) >= _DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if not _is_skipped(name, entry))
    return sorted(found, key=lambda entry: (-entry.changed, entry.name))


def _is_skipped(name: str, entry: Entry | None) -> bool:
    return name.startswith(".") or (entry is not None and name in _INSIDE_RUNS)


def _entry(place: Path, root: Path) -> Entry | None:
    has_model = any((here / "model.safetensors").is_file() for here in (place, place / "model"))
    has_results = all((place / name).is_file() for name in ("metrics.json", "predictions.csv"))
    if not (has_model or has_results):
        return None
    marks = [place / name for name in ("metrics.json", "model", "model.safetensors")]
    changed = max(mark.stat().st_mtime for mark in marks if mark.exists())
    name = place.relative_to(root).as_posix()
    return Entry(root.name if name == "." else name, place, has_model, has_results, changed)
