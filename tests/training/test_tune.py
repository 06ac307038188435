from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from marey.data import Clip
from marey.errors import DatasetError, UsageError
from marey.training import Recipe, load_recipe
from marey.training.tune import Sampler, Study, sole_use, validation_folds

SPACE = "{training.mixup: {low: 0.0, high: 1.0}, training.epochs: {low: 1, high: 100}}"


def searched(space: str = SPACE) -> Recipe:
    return load_recipe("default-0.1", changes=[f"search={space}"])


def study(
    folder: Path, *, sampler: Sampler = "tpe", seed: int = 0, recipe: Recipe | None = None, data: str = "a"
) -> Study:
    return Study(folder / "study.db", recipe or searched(), identity={"data": data}, sampler=sampler, seed=seed)


def hill(recipe: Recipe, number: int) -> Iterator[float]:
    """A score whose top is at mixup 0.3 and 40 epochs, in three folds."""
    top = 1 - (recipe.training.mixup - 0.3) ** 2 - ((recipe.training.epochs - 40) / 100) ** 2
    yield from (top - 0.02, top - 0.01, top)


def search(folder: Path, trials: int, *, sampler: Sampler = "tpe", seed: int = 0) -> list[tuple[str, float | None]]:
    with closing(study(folder, sampler=sampler, seed=seed)) as found:
        while found.done < trials:
            found.run(hill)
        return [(str(trial.parameters), trial.score) for trial in found.trials]


def test_a_search_climbs_and_begins_with_the_recipe_as_it_is(tmp_path: Path) -> None:
    with closing(study(tmp_path)) as found:
        first = found.run(hill)
        assert first.parameters == {"training.mixup": 0.0, "training.epochs": 60}
        while found.done < 30:
            found.run(hill)
        best = found.best
        assert best is not None
        assert best.score is not None
        assert first.score is not None
        assert best.score > first.score + 0.05
        assert abs(best.parameters["training.mixup"] - 0.3) < 0.2
        tuned = found.recipe_of(best.parameters)
        assert tuned.training.epochs == best.parameters["training.epochs"]
        assert tuned.head == searched().head


def test_options_that_a_recipe_leaves_out_are_first_tried_as_the_head_takes_them(tmp_path: Path) -> None:
    recipe = load_recipe("order-blind")
    assert "dropout" not in recipe.head.options
    with closing(study(tmp_path, recipe=recipe)) as found:
        assert found.run(hill).parameters == {
            "head.options.dropout": 0.5,
            "training.learning_rate": 0.001,
            "training.weight_decay": 0.01,
            "training.label_smoothing": 0.1,
        }


@pytest.mark.long
@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_the_same_seed_gives_the_same_trials_stopped_or_not(tmp_path: Path, sampler: Sampler) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    (tmp_path / "other").mkdir()
    whole = search(tmp_path / "whole", 9, sampler=sampler)
    search(tmp_path / "stopped", 4, sampler=sampler)
    assert search(tmp_path / "stopped", 9, sampler=sampler) == whole
    assert search(tmp_path / "other", 9, sampler=sampler, seed=1) != whole


def test_a_grid_takes_each_point_once(tmp_path: Path) -> None:
    found = search(tmp_path, 9, sampler="grid")
    assert len(set(found)) == 9
    with closing(study(tmp_path, sampler="grid")) as again:
        assert again.size == again.done == 9


def test_what_falls_behind_is_given_up_early(tmp_path: Path) -> None:
    folds: list[int] = []

    def slow(recipe: Recipe, number: int) -> Iterator[float]:
        folds.append(0)
        for _ in range(5):
            folds[-1] += 1
            yield 0.9 if number < 5 else 0.1

    with closing(study(tmp_path)) as found:
        for _ in range(7):
            found.run(slow)
        assert [trial.state for trial in found.trials] == ["complete"] * 5 + ["pruned"] * 2
        assert folds == [5] * 5 + [2] * 2
        assert found.trials[-1].score == 0.1


def test_a_trial_that_cannot_be_run_has_its_reason_and_the_search_goes_on(tmp_path: Path) -> None:
    def fragile(recipe: Recipe, number: int) -> Iterator[float]:
        if number == 1:
            raise DatasetError("fewer than two classes are left")
        return hill(recipe, number)

    with closing(study(tmp_path)) as found:
        for _ in range(3):
            found.run(fragile)
        assert [trial.state for trial in found.trials] == ["complete", "failed", "complete"]
        assert found.trials[1].reason == "fewer than two classes are left"
        assert found.done == 3
        assert found.trials[1].parameters != found.trials[2].parameters


@pytest.mark.long
def test_a_trial_that_was_killed_is_marked_failed_and_its_values_are_tried_again(tmp_path: Path) -> None:
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; import test_tune as t\n"
        "s = t.study(Path(sys.argv[1])); s.run(t.hill); s.run(t.hill)\n"
        "def die(recipe, number):\n"
        "    yield 0.5\n"
        "    os._exit(9)\n"
        "s.run(die)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)]
    assert subprocess.run(command, check=False).returncode == 9  # noqa: S603
    with closing(study(tmp_path)) as found:
        killed = found.trials[2]
        assert (killed.state, killed.reason, found.done) == ("failed", None, 2)
        assert found.run(hill).parameters == killed.parameters
        found.run(hill)
        after = [str(trial.parameters) for trial in found.trials if trial.state != "failed"]
    (tmp_path / "whole").mkdir()
    assert after == [parameters for parameters, _ in search(tmp_path / "whole", 4)]


def test_ctrl_c_marks_the_trial_failed_and_is_handed_on(tmp_path: Path) -> None:
    def stopped(recipe: Recipe, number: int) -> Iterator[float]:
        yield 0.5
        raise KeyboardInterrupt

    with closing(study(tmp_path)) as found:
        with pytest.raises(KeyboardInterrupt):
            found.run(stopped)
        assert (found.trials[0].state, found.done) == ("failed", 0)


def test_choices_of_lists_come_back_as_they_were_given(tmp_path: Path) -> None:
    recipe = searched("{encoder.grid: {choices: [[3, 2], [1, 1], null]}, training.epochs: {low: 1, high: 9}}")
    with closing(study(tmp_path, recipe=recipe, sampler="grid")) as found:
        for _ in range(9):
            trial = found.run(hill)
            assert trial.parameters["encoder.grid"] in ((3, 2), (1, 1), None)
            assert found.recipe_of(trial.parameters).encoder.grid == trial.parameters["encoder.grid"]


@pytest.mark.long
def test_what_the_score_depends_on_is_found(tmp_path: Path) -> None:
    def steep(recipe: Recipe, number: int) -> Iterator[float]:
        yield recipe.training.mixup

    with closing(study(tmp_path, sampler="random")) as found:
        assert found.importances() == {}
        for _ in range(12):
            found.run(steep)
        importances = found.importances()
    assert next(iter(importances)) == "training.mixup"
    assert sum(importances.values()) == pytest.approx(1.0)


def test_another_search_in_the_same_place_is_refused(tmp_path: Path) -> None:
    study(tmp_path).close()
    with pytest.raises(UsageError, match="holds a search that differs in its data; choose another --out"):
        study(tmp_path, data="b")
    study(tmp_path).close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("this is no database" * 100)
    with pytest.raises(UsageError, match="is no study"):
        study(tmp_path)


def test_a_recipe_that_says_nothing_of_a_search_is_refused_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"does not say what to search(.|\n)*search:\n  training.learning_rate"):
        study(tmp_path, recipe=searched("{}"))


def test_two_at_once_are_refused_and_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    hold = (
        "import sys; from filelock import FileLock\n"
        "lock = FileLock(sys.argv[1]); lock.acquire()\n"  # as `sole_use` does it
        "print('held', flush=True); sys.stdin.read()\n"
    )
    lock = tmp_path / "study.lock"
    command = [sys.executable, "-c", hold, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:  # noqa: S603
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="another search is at work"), sole_use(lock):
            pass
        other.kill()
    with sole_use(lock):
        pass


def clips(groups: int, *, each: int = 4) -> list[Clip]:
    return [
        Clip(Path(f"{group}_{number}.mp4"), label=("boxing", "walking")[number % 2], group=f"person{group:02d}")
        for group in range(groups)
        for number in range(each)
    ]


def test_trials_are_scored_on_whole_groups_each_once() -> None:
    people = clips(7)
    for folds, count in ((None, 5), ("3", 3), ("group", 7)):
        found = validation_folds(people, validation=(), folds=folds, seed=0)
        assert len(found) == count
        assert sorted(index for fold in found for index in fold.val) == list(range(28))
        for fold in found:
            assert not {people[index].group for index in fold.val} & {people[index].group for index in fold.train}
    assert len(validation_folds(clips(3), validation=(), folds=None, seed=0)) == 3


def test_the_validation_part_that_data_names_is_taken_unless_folds_are_asked_for() -> None:
    people = clips(6)
    own = range(16, 24)
    (fold,) = validation_folds(people, validation=own, folds=None, seed=0)
    assert (fold.train, fold.val) == (tuple(range(16)), tuple(own))
    assert len(validation_folds(people, validation=own, folds="2", seed=0)) == 2
    with pytest.raises(UsageError, match="folds='people' is neither 'group' nor a number"):
        validation_folds(people, validation=own, folds="people", seed=0)


def test_trials_of_equal_scores_have_no_importances(tmp_path: Path) -> None:
    with closing(study(tmp_path)) as found:
        for score in (0.5, 0.5, 0.5, 0.25):
            assert found.importances() == {}
            found.run(lambda recipe, number, score=score: iter((score,)))  # type: ignore[misc]
