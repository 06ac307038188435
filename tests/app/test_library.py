from __future__ import annotations

import shutil
from pathlib import Path

from marey.app.library import find_entries


def test_runs_and_models_are_found_wherever_they_lie(small_run: Path, tmp_path: Path) -> None:
    shutil.copytree(small_run, tmp_path / "deep" / "er" / "run")
    shutil.copytree(small_run / "model", tmp_path / "bare")
    (tmp_path / "tested").mkdir()
    for name in ("metrics.json", "predictions.csv"):
        shutil.copy(small_run / name, tmp_path / "tested")
    (tmp_path / "linked").symlink_to(small_run)
    shutil.copytree(small_run, tmp_path / ".hidden" / "run")
    (tmp_path / "half").mkdir()
    found = {entry.name: (entry.has_model, entry.has_results) for entry in find_entries(tmp_path)}
    assert found == {"deep/er/run": (True, True), "bare": (True, False), "tested": (False, True)}


def test_a_run_itself_is_found(small_run: Path) -> None:
    (entry,) = find_entries(small_run)
    assert entry.folder == small_run
    assert entry.name == small_run.name


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert find_entries(tmp_path / "gone") == []
