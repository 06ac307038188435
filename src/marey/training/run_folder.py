"""The folder of a run: claiming it, and continuing an interrupted run."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal
from weakref import WeakValueDictionary

from filelock import BaseFileLock, FileLock, Timeout

from marey.atomic import check_writable, temp_path, write_atomic
from marey.data.hashing import values_hash
from marey.errors import RecipeError, UsageError
from marey.progress import Reporter
from marey.training import Protocol, Recipe, load_recipe
from marey.training.origin import EVALUATION, Origin
from marey.training.yaml_text import YamlTextError, read_yaml

_RUN: Final = "run.json"
_LOCK: Final = "run.lock"
_RECIPE: Final = "recipe.yaml"
_FOLDERS: Final = ("folds", "model", "plots")
_FILES: Final = ("metrics.json", "predictions.csv", "report.html", "quarantine.csv")
_LAST: Final = ("model/config.json", *_FILES[:3])  # what a finished run has left
_KINDS: Final = {
    _RUN: "a run",
    "config.json": "a model",
    "study.db": "a search",
    "comparison.json": "a comparison",
    EVALUATION: "an evaluation",
}
"""File that marks one kind of result -> name of the kind."""


_owned: Final[WeakValueDictionary[Path, BaseFileLock]] = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class Times:
    """The duration of a run; it is kept in `run.json`, because metrics of the same seed are the same bytes.

    Attributes:
        reading: seconds for the features of all clips.
        training: seconds for all folds; with those that earlier starts took until the last file they wrote.
        images: number of images encoded; 0 if all features were cached.
        device: its device.
        starts: number of starts.
    """

    reading: float
    training: float
    images: int
    device: str
    starts: int = 1


def claim_run(
    out: Path,
    *,
    recipe: Recipe,
    data_hash: str,
    protocol: Protocol,
    origin: Origin,
    if_exists: str,
    reporter: Reporter,
) -> BaseFileLock:
    """Make the folder of a run, or continue a run of the same recipe, data and splits.

    Args:
        out: the folder.
        recipe: of the run that begins.
        data_hash: of its data.
        protocol: its splits.
        origin: where its data are, and the command that makes it.
        if_exists: "resume" goes on with the same run; "restart" removes what an earlier one has left.
        reporter: told when an earlier run continues.

    Returns:
        The lock on the run, which the process holds until it is released; it goes with the process.

    Raises:
        UsageError: the folder holds something else, another run that is not to be replaced, or one that another
            process is writing.
    """
    if if_exists not in ("resume", "restart"):
        raise UsageError(f"if_exists='{if_exists}' is neither 'resume' nor 'restart'")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give the run a folder of its own with --out")
    check_writable(out / _RUN)
    identity = _identity(recipe, data_hash, protocol)
    kept: dict[str, Any] = {"starts": 1}
    if not _is_new(out):
        _read(out)
    lock = _own(out)
    if not _is_new(out):
        before = _read(out)
        if if_exists == "restart":
            for name in _FOLDERS:
                shutil.rmtree(out / name, ignore_errors=True)
            for name in _FILES:
                (out / name).unlink(missing_ok=True)
        else:
            _refuse_another(out, before, identity, recipe)
            reporter.say(f"going on with the run in {out}: what it has trained already is taken from there")
            if "times" in before:
                kept = {"starts": before.get("starts", 1), "times": before["times"]}
            else:
                kept = {"starts": before.get("starts", 1) + 1, "earlier": _seconds_spent(out, before)}
    out.mkdir(parents=True, exist_ok=True)
    kept["began"] = time.time()
    # First: without it, whatever else is in the folder is not a run's.
    _write(out, {**identity, "origin": origin.as_dict(), **kept})
    write_atomic(out / _RECIPE, recipe.to_yaml(), single_writer=True)
    return lock


def _own(out: Path) -> BaseFileLock:
    """Lock a run against other processes; a process that claims its own run again gives up the earlier claim.

    Raises:
        UsageError: another process has it.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out.resolve()
    if (earlier := _owned.pop(path, None)) is not None:  # of a call that failed and is not forgotten yet
        earlier.release(force=True)
    lock = FileLock(out / _LOCK, timeout=0, thread_local=False)
    try:
        with suppress(NotImplementedError):  # a file system without locks
            lock.acquire()
    except Timeout as error:
        raise UsageError(
            f"another process is writing the run in {out}: wait until it has ended, or choose another --out"
        ) from error
    _owned[path] = lock
    return lock


def run_state(
    out: Path, *, recipe: Recipe, data_hash: str, protocol: Protocol
) -> Literal["absent", "begun", "finished"]:
    """Return the state of the run of a recipe, data and splits in a folder.

    Raises:
        UsageError: the folder holds something else, or another run.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give the run a folder of its own with --out")
    if _is_new(out):
        return "absent"
    _refuse_another(out, _read(out), _identity(recipe, data_hash, protocol), recipe)
    return "finished" if all((out / name).is_file() for name in _LAST) else "begun"


def read_origin(run: Path) -> Origin | None:
    """Return the origin of a run; None if it is not a run, or of an earlier version.

    Args:
        run: the folder of a run, or the model folder in it.
    """
    folder = run_of(run)
    return None if folder is None else Origin.read(_read(folder))


def run_of(model: Path) -> Path | None:
    """Return the run that a model folder belongs to, or the run itself; None where there is none."""
    return next((folder for folder in (model, model.absolute().parent) if (folder / _RUN).is_file()), None)


def claim_folder(out: Path, *, marks: tuple[str, ...], what: str) -> None:
    """Claim a folder for results: a new one, or one of the same command.

    Args:
        out: the folder.
        marks: files that only that command leaves.
        what: what it leaves, with its article.

    Raises:
        UsageError: it is a file, cannot be written to, or holds other things, which would be mixed with the results
            or lost.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give {what} a folder of its own with --out")
    if out.is_dir() and any(out.iterdir()) and not any((out / mark).is_file() for mark in marks):
        held = next((kind for name, kind in _KINDS.items() if (out / name).is_file()), f"other things than {what}")
        raise UsageError(f"{out} holds {held}; give {what} a folder of its own with --out")
    check_writable(out / marks[0])


def keep_times(out: Path, times: Times) -> None:
    """Write the duration of a run, once: a finished run that is started again has nothing to do."""
    before = _read(out)
    if "times" not in before:
        values = asdict(times)
        del values["starts"]
        values["training"] += before.get("earlier", 0.0)
        _write(out, {**before, "times": values})


def read_times(out: Path) -> Times | None:
    """Return the duration of a run; None if it is unknown."""
    before = _read(out)
    try:
        times = {"images" if name == "pictures" else name: value for name, value in before["times"].items()}
        return Times(**times, starts=before.get("starts", 1))  # before 0.2: "pictures"
    except (AttributeError, KeyError, TypeError):
        return None


def _seconds_spent(out: Path, before: dict[str, Any]) -> float:
    """Return the seconds of all starts of a run; those of a killed start are estimated from its files' dates."""
    earlier = float(before.get("earlier", 0.0))
    last = max((path.stat().st_mtime for path in (out / "folds").rglob("*") if path.is_file()), default=0.0)
    return earlier + max(0.0, last - float(before.get("began", last)))


def _identity(recipe: Recipe, data_hash: str, protocol: Protocol) -> dict[str, str]:
    return {
        "recipe": _hash_of_recipe(recipe.model_dump(mode="json")),
        "data": data_hash,
        "splits": values_hash([[split.train, split.val, split.test] for split in protocol.splits]),
    }


def _hash_of_recipe(values: dict[str, Any]) -> str:
    return values_hash({**values, "search": {}})  # what might be searched changes no run


def _refuse_another(out: Path, before: dict[str, Any], identity: dict[str, str], recipe: Recipe) -> None:
    changed = [name for name, value in identity.items() if before.get(name) != value]
    if "recipe" in changed and _is_the_same(out / _RECIPE, before.get("recipe"), recipe):
        changed.remove("recipe")
    if changed:
        raise UsageError(
            f"{out} holds a run that differs in its {' and '.join(changed)}; choose another --out, or replace it "
            "with --if-exists restart"
        )


def _is_the_same(path: Path, written: object, recipe: Recipe) -> bool:
    """Return true if a recipe written by an earlier version, with fewer keys, equals this one.

    The hash of the file tells that it was not changed since.
    """
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
        if _hash_of_recipe(values) != written:
            return False
        then = load_recipe(path)
    except (OSError, ValueError, TypeError, YamlTextError, RecipeError):
        return False
    return then.model_copy(update={"search": {}}) == recipe.model_copy(update={"search": {}})


def _is_new(out: Path) -> bool:
    """Return true if a folder is empty, or holds only the first file of a run that was stopped at its start."""
    return not out.is_dir() or all(path in (temp_path(out / _RUN), out / _LOCK) for path in out.iterdir())


def _write(out: Path, values: dict[str, Any]) -> None:
    write_atomic(out / _RUN, json.dumps(values, indent=1) + "\n", single_writer=True)


def _read(out: Path) -> dict[str, Any]:
    path = out / _RUN
    if not path.is_file():
        raise UsageError(f"{out} holds other things than a run; give the run a folder of its own with --out")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
