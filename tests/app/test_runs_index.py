from __future__ import annotations

import shutil
from pathlib import Path

from marey.app.runs_index import find_runs


def test_runs_and_models_are_found_at_any_depth(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "deep" / "er" / "run")
    shutil.copytree(small_run / "model", tmp_path / "bare")
    (tmp_path / "tested").mkdir()
    for name in ("metrics.json", "predictions.csv"):
        shutil.copy(small_run / name, tmp_path / "tested")
    (tmp_path / "linked").symlink_to(small_run)
    shutil.copytree(small_run, tmp_path / ".hidden" / "run")
    (tmp_path / "half").mkdir()
    found = {entry.name: (entry.has_model, entry.has_results) for entry in find_runs(tmp_path)}
    assert found == {"deep/er/run": (True, True), "bare": (True, False), "tested": (False, True)}


def test_a_run_itself_is_found(small_run: Path) -> None:
    (entry,) = find_runs(small_run)
    assert entry.folder == small_run
    assert entry.name == small_run.name


def test_a_missing_folder_has_no_runs(tmp_path: Path) -> None:
    assert find_runs(tmp_path / "gone") == []
