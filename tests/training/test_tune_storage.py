"""A search that several processes share."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from test_tune import hill, searched

from marey.errors import UsageError
from marey.training import tune_storage
from marey.training.tune import Sampler, Study
from marey.training.tune_storage import SharedStorage


def shared(folder: Path, *, sampler: Sampler = "tpe", url: bool = False, seed: int = 0) -> Study:
    name = f"sqlite:///{folder / 'search.db'}" if url else str(folder / "search.log")
    return Study(SharedStorage(name), searched(), identity={"data": "a"}, sampler=sampler, seed=seed)


@pytest.mark.filterwarnings("ignore:.* is experimental")  # threads, as here, share the filters of a process
@pytest.mark.parametrize("url", [False, True])
def test_processes_that_share_a_search_try_each_point_of_a_grid_once(tmp_path: Path, url: bool) -> None:
    faults: list[BaseException] = []

    def work() -> None:
        try:
            with closing(shared(tmp_path, sampler="grid", url=url)) as found:
                while found.run_shared(hill, wanted=9) is not None:
                    pass
        except BaseException as error:
            faults.append(error)
            raise

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not faults, [repr(each) for each in faults]
    with closing(shared(tmp_path, sampler="grid", url=url)) as found:
        complete = [str(trial.parameters) for trial in found.trials if trial.state != "failed"]
        assert len(complete) == len(set(complete)) == found.done == 9


def test_one_process_alone_tries_what_a_search_of_its_own_would(tmp_path: Path) -> None:
    with closing(Study(tmp_path / "own.db", searched(), identity={}, sampler="tpe", seed=0)) as own:
        expected = [own.run(hill).parameters for _ in range(6)]
    with closing(shared(tmp_path)) as found:
        tried = [found.run_shared(hill, wanted=6) for _ in range(6)]
        assert [trial.parameters for trial in tried if trial is not None] == expected
        assert found.run_shared(hill, wanted=6) is None


def test_the_trial_of_a_process_that_was_killed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; import test_tune_storage as t\n"
        "s = t.shared(Path(sys.argv[1]))\n"
        "def die(recipe, number):\n"
        "    yield 0.5\n"
        "    os._exit(9)\n"
        "s.run_shared(die, wanted=1)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)]
    assert subprocess.run(command, check=False).returncode == 9  # noqa: S603
    with closing(shared(tmp_path)) as found:
        assert found.run_shared(hill, wanted=1) is None  # it may be alive
        monkeypatch.setattr(tune_storage, "DEAD_AFTER", 0.0)
        trial = found.run_shared(hill, wanted=1)
        assert trial is not None
        assert [each.state for each in found.trials] == ["failed", "complete"]
        assert trial.parameters == found.trials[0].parameters


def test_a_trial_at_work_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_storage, "BEAT", 0.01)
    seen = threading.Event()
    with closing(shared(tmp_path)) as found:
        places = found._places

        def slow(recipe: object, number: int) -> object:
            def signs() -> set[object]:
                return {trial.user_attrs.get("signs of life") for trial in places._study.get_trials(deepcopy=False)}

            first = signs()
            while signs() == first:
                pass
            seen.set()
            yield 0.5

        found.run_shared(slow, wanted=1)  # type: ignore[arg-type]
    assert seen.is_set()


@pytest.mark.parametrize(
    ("name", "word"),
    [
        (".", "is a folder"),
        ("nowhere/search.log", "does not exist"),
        ("postgresql://me:secret@127.0.0.1/search", "driver"),
        ("nosuch://127.0.0.1/search", "nosuch"),
    ],
)
def test_a_database_that_cannot_be_opened_is_refused_without_its_password(
    name: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=word) as caught:
        Study(SharedStorage(name), searched(), identity={}, sampler="tpe", seed=0)
    assert "secret" not in str(caught.value)
