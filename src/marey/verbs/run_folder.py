"""The folder of a run: who may write there, and when an interrupted run may go on."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Final

from marey.errors import UsageError
from marey.training import Protocol, Recipe
from marey.verbs.reporter import Reporter

_RUN: Final = "run.json"
_FOLDERS: Final = ("folds", "model", "plots")
_FILES: Final = ("metrics.json", "predictions.csv", "report.html", "quarantine.csv")


def claim_run(
    out: Path, *, recipe: Recipe, data_hash: str, protocol: Protocol, if_exists: str, reporter: Reporter
) -> None:
    """Make the run's folder, or take over what a run of the very same recipe, data and splits has left there.

    Args:
        out: the folder.
        recipe: of the run that begins.
        data_hash: of its data.
        protocol: its splits.
        if_exists: "resume" goes on with the same run; "restart" removes what an earlier one has left.
        reporter: hears when an earlier run goes on.

    Raises:
        UsageError: the folder holds something else, or another run that is not to be replaced.
    """
    if if_exists not in ("resume", "restart"):
        raise UsageError(f"if_exists='{if_exists}' is neither 'resume' nor 'restart'")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give the run a folder of its own with --out")
    identity = {
        "recipe": _hash(recipe.model_dump(mode="json")),
        "data": data_hash,
        "splits": _hash([[split.train, split.val, split.test] for split in protocol.splits]),
    }
    if out.is_dir() and any(out.iterdir()):
        before = _read(out)
        changed = [name for name, value in identity.items() if before.get(name) != value]
        if if_exists == "restart":
            for name in _FOLDERS:
                shutil.rmtree(out / name, ignore_errors=True)
            for name in _FILES:
                (out / name).unlink(missing_ok=True)
        elif changed:
            raise UsageError(
                f"{out} holds a run that differs in its {' and '.join(changed)}; choose another --out, or replace it "
                "with --if-exists restart"
            )
        else:
            reporter.say(f"going on with the run in {out}: what it has trained already is taken from there")
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    part = out / f".{_RUN}.part"
    part.write_text(json.dumps(identity, indent=1) + "\n", encoding="utf-8")
    part.replace(out / _RUN)


def _read(out: Path) -> dict[str, str]:
    path = out / _RUN
    if not path.is_file():
        raise UsageError(f"{out} holds other things than a run; give the run a folder of its own with --out")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _hash(values: object) -> str:
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()
