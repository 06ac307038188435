"""Databases of hyperparameter searches: a file of one process, or a database that many share."""

from __future__ import annotations

import random
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from marey.errors import UsageError, first_line
from marey.extras import install_command
from marey.remote_path import shown_text

if TYPE_CHECKING:
    import optuna

BEAT: Final = 10.0  # s between two signs of life of a trial
DEAD_AFTER: Final = 90.0  # s without one

REASON: Final = "reason"
"""Attribute of a trial that could not be run."""

_TRIES: Final = 3
_SEEN: Final = "signs of life"
_PLACE: Final = "place"


@dataclass(frozen=True)
class SharedStorage:
    """A database that several processes use at the same time, on one machine or on many.

    Attributes:
        name: an SQLAlchemy URL, such as postgresql://user@host/database; or a file in a folder that all see, in which
            Optuna keeps a journal.
    """

    name: str

    def __str__(self) -> str:
        return shown_text(self.name)


def open_storage(where: Path | SharedStorage) -> Any:
    """Open the database of a search; made where there is none.

    Raises:
        UsageError: the driver of the database is not installed, or the folder of the journal does not exist.
    """
    storages = require_optuna().storages
    if isinstance(where, Path):
        from sqlalchemy.engine import URL

        return storages.RDBStorage(str(URL.create("sqlite", database=str(where))))
    try:
        if "://" in where.name:
            return _open_database(where.name)
        from optuna.storages.journal import JournalFileBackend

        path = Path(where.name).absolute()
        if path.is_dir():
            raise UsageError(f"{where} is a folder; name a file in it, such as {where}/search.log")
        if not path.parent.is_dir():
            raise UsageError(f"the folder of {where} does not exist; make it where all processes see it")
        return storages.JournalStorage(JournalFileBackend(str(path)))
    except ImportError as error:
        raise UsageError(f"{where} needs a driver that cannot be loaded ({first_line(error)}); install it") from error


def _open_database(url: str) -> Any:
    """Open a database; of processes that make its tables at the same time, all but one fail, and try again."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    for _ in range(_TRIES - 1):
        with suppress(IntegrityError, OperationalError, ProgrammingError):
            return require_optuna().storages.RDBStorage(url)
        time.sleep(random.uniform(0.1, 1.0))  # noqa: S311 - not the same for all
    return require_optuna().storages.RDBStorage(url)


def close_storage(storage: Any) -> None:
    """Close the database, where it is one that is to be closed."""
    if hasattr(storage, "engine"):
        storage.remove_session()
        storage.engine.dispose()


class Places:
    """Places of the trials of a shared search, one each: the place decides the seed, or the point of the grid.

    A trial whose process shows no sign of life for `DEAD_AFTER` seconds has failed, and its place is free again. That
    is judged by the clock of the one who watches, because the clocks of machines differ.

    Args:
        study: of Optuna.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._last: dict[int, tuple[Any, float]] = {}

    def take(self, wanted: int) -> tuple[optuna.Trial, int] | None:
        """Begin a trial at a free place; None where none of so many is free."""
        failed = require_optuna().trial.TrialState.FAIL
        self._free_dead()
        if self._first_free(wanted) is None:
            return None
        trial = self._study.ask()
        while (place := self._first_free(wanted)) is not None:
            trial.set_user_attr(_PLACE, place)
            if self._holders(place) == [trial.number]:
                return trial, place
            trial.set_user_attr(_PLACE, None)  # two have taken it at the same time
            time.sleep(random.uniform(0.0, 0.5))  # noqa: S311 - not the same for both
        self._study.tell(trial, state=failed, skip_if_finished=True)
        return None

    def _first_free(self, wanted: int) -> int | None:
        taken = {trial.user_attrs.get(_PLACE) for trial in self._kept()}
        return next((place for place in range(wanted) if place not in taken), None)

    def _holders(self, place: int) -> list[int]:
        return [trial.number for trial in self._kept() if trial.user_attrs.get(_PLACE) == place]

    def _kept(self) -> list[optuna.trial.FrozenTrial]:
        """Return the trials that keep their places: all but those whose process died."""
        failed = require_optuna().trial.TrialState.FAIL
        return [
            trial
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state != failed or REASON in trial.user_attrs
        ]

    def _free_dead(self) -> None:
        states, now = require_optuna().trial.TrialState, time.monotonic()
        for trial in self._study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            sign = trial.user_attrs.get(_SEEN)
            if trial.number not in self._last or self._last[trial.number][0] != sign:
                self._last[trial.number] = sign, now
            elif now - self._last[trial.number][1] > DEAD_AFTER:
                self._study.tell(trial.number, state=states.FAIL, skip_if_finished=True)


@contextmanager
def signs_of_life(trial: optuna.Trial) -> Iterator[None]:
    """Let the other processes see, inside the `with`, that this one is at work on a trial."""
    over = threading.Event()

    def beat() -> None:
        count = 0
        while not over.wait(BEAT):
            count += 1
            try:
                trial.set_user_attr(_SEEN, count)
            except Exception:  # noqa: S112 - of any database; the next beat tries again
                continue

    thread = threading.Thread(target=beat, daemon=True, name="signs of life")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def require_optuna() -> Any:
    """Return Optuna.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UsageError(f"a search needs Optuna, which is not installed: {install_command('tune')}") from error
    return optuna


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Hide Optuna's messages about its own interfaces and trials."""
    optuna = require_optuna()
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
