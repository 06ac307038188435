"""Write drawn files: a folder that belongs to one drawing, and the processes that fill it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import joblib

from marey.atomic import write_atomic
from marey.errors import UsageError

NOTE = "figures.json"

Job = TypeVar("Job")


def claim(out: Path, mine: Mapping[str, object], files: Iterable[Path]) -> None:
    """Reserve a folder for one drawing, and create the folders of its files.

    Args:
        out: the folder.
        mine: what identifies this drawing: its version and its seed.
        files: the files that will be drawn.

    Raises:
        UsageError: the folder contains another drawing, or files with these names from elsewhere.
    """
    files = list(files)
    note = out / NOTE
    if note.exists():
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except ValueError:
            found = "unreadable"
        if found != mine:
            raise UsageError(f"{out} holds figures of {found}, not of {mine}: choose another folder, or empty it")
        return
    if any(file.exists() for file in files):
        raise UsageError(f"{out} holds clips with these names but no {NOTE}: choose another folder, or empty it")
    for folder in {out, *(file.parent for file in files)}:
        folder.mkdir(parents=True, exist_ok=True)
    write_atomic(note, json.dumps(mine) + "\n")


def _work_in(folder: Path, work: Callable[[Job], int], job: Job) -> int:
    """Run a job in a working folder: joblib's processes are used again, and keep the one that they began in."""
    os.chdir(folder)
    return work(job)


def work_through(jobs: Sequence[Job], work: Callable[[Job], int], *, workers: int) -> Iterator[int]:
    """Run jobs, here or in several processes, and yield the result of each as soon as it is finished.

    Args:
        jobs: the jobs.
        work: a function of a module that runs one job.
        workers: number of processes.
    """
    if workers == 1:
        yield from map(work, jobs)
        return
    # joblib's processes never run the caller's script again: a notebook, a page and a script without a guard may call
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        drawn = joblib.Parallel(min(workers, len(jobs)), return_as="generator_unordered")
        yield from drawn(joblib.delayed(_work_in)(Path.cwd(), work, job) for job in jobs)
