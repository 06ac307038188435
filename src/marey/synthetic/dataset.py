"""Draw the embedded data set: six actions by 25 actors in four scenarios, as files with KTH's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from marey.cores import usable_cores
from marey.data.clip import Clip, Manifest
from marey.data.manifest import read_manifest, write_manifest
from marey.errors import UnknownNameError, UsageError
from marey.synthetic.clip import ACTIONS, FRAME_RATE, SCENARIOS, draw
from marey.synthetic.drawing import claim, work_through
from marey.video import write_video

ACTORS = 25
TEST_ACTORS: tuple[int, ...] = (2, 3, 5, 6, 7, 8, 9, 10, 22)
"""The persons of KTH's test set (Schuldt, Laptev and Caputo, 2004); the other 16 are for training."""

VERSION = 2
"""Version of the drawing; files of another version are not mixed with new ones."""

FEW = 12
"""Maximum number of clips that are drawn in one process, which is faster than starting a second one."""

Progress = Callable[[int, int], None]
Job = tuple[Path, int, str, int, tuple[str, ...]]
"""Folder, actor, scenario, seed and actions: clips with the same background share a job."""


def make(
    out: str | Path,
    *,
    seed: int = 0,
    actors: int = ACTORS,
    scenarios: Sequence[str] = SCENARIOS,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> Manifest:
    """Draw the embedded data set: `OUT/<action>/person01_<action>_d1_uncomp.mp4`, ..., and `OUT/manifest.csv`.

    A clip depends only on the seed, its actor, action and scenario. Existing files are kept, so an interrupted run can
    be resumed. With all 25 actors the manifest has KTH's split.

    Args:
        out: the folder; created if needed.
        seed: seed of all random choices.
        actors: number of actors, from the first one.
        scenarios: the scenarios to draw, of `SCENARIOS`.
        workers: number of processes; the number of usable cores if None. Several are started by `spawn`, so a calling
            script needs the guard `if __name__ == "__main__"`.
        on_progress: called with the number of finished files and the number of files.

    Raises:
        UsageError: a number is out of range, or the folder contains figures of another seed or version.
        UnknownNameError: there is no such scenario.
    """
    out = Path(out)
    if not 1 <= actors <= ACTORS:
        raise UsageError(f"actors must be from 1 to {ACTORS}, not {actors}")
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, not {seed}")
    if workers is not None and workers < 1:
        raise UsageError(f"workers must be 1 or more, not {workers}")
    if not scenarios:
        raise UsageError(f"no scenarios are named: choose from {', '.join(SCENARIOS)}")
    for scenario in scenarios:
        if scenario not in SCENARIOS:
            raise UnknownNameError("scenario", scenario, SCENARIOS)
    clips = tuple(_clips(out, actors, [scenario for scenario in SCENARIOS if scenario in scenarios]))
    claim(out, {"version": VERSION, "seed": seed}, [clip.path for clip in clips])
    _draw_missing(out, seed, actors, scenarios, len(clips), workers or usable_cores(), on_progress)
    write_manifest(Manifest(clips, out, "marey data make", "the actor"), out / "manifest.csv")
    return read_manifest(out / "manifest.csv")


def clip_path(out: Path, actor: int, action: str, scenario: str) -> Path:
    """Return the path of a clip, with KTH's name."""
    return out / action / f"person{actor:02d}_{action}_{scenario}_uncomp.mp4"


def _clips(out: Path, actors: int, scenarios: Sequence[str]) -> Iterator[Clip]:
    for action in ACTIONS:
        for actor in range(1, actors + 1):
            for scenario in scenarios:
                part = "test" if actor in TEST_ACTORS else "train"
                yield Clip(
                    path=clip_path(out, actor, action, scenario),
                    label=action,
                    group=f"person{actor:02d}",
                    split=part if actors == ACTORS else None,  # type: ignore[arg-type]
                )


def _draw_missing(
    out: Path,
    seed: int,
    actors: int,
    scenarios: Sequence[str],
    total: int,
    workers: int,
    on_progress: Progress | None,
) -> None:
    jobs: list[Job] = []
    for actor in range(1, actors + 1):
        for scenario in dict.fromkeys(scenarios):
            missing = tuple(a for a in ACTIONS if not clip_path(out, actor, a, scenario).exists())
            if missing:
                jobs.append((out, actor, scenario, seed, missing))
    left = sum(len(job[-1]) for job in jobs)
    report = on_progress or (lambda done, total: None)
    report(total - left, total)
    for drawn in work_through(jobs, _draw_job, workers=1 if left <= FEW else workers):
        left -= drawn
        report(total - left, total)


def _draw_job(job: Job) -> int:
    out, actor, scenario, seed, actions = job
    for action in actions:
        path = clip_path(out, actor, action, scenario)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, draw(action, actor=actor, scenario=scenario, seed=seed), frame_rate=FRAME_RATE)
    return len(actions)
