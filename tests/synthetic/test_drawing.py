"""The processes that draw files."""

from __future__ import annotations

from pathlib import Path

import pytest

from marey.synthetic.drawing import work_through


def touch(path: Path) -> int:
    path.touch()
    return 1


def test_processes_that_are_used_again_work_in_the_folder_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert sum(work_through([Path("a"), Path("b")], touch, workers=2)) == 2
        assert {path.name for path in (tmp_path / name).iterdir()} == {"a", "b"}
