"""The embedded data set as untrimmed video: actions of an actor one after the other, with what is true when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from marey.cores import usable_cores
from marey.data.clip import Clip, Manifest
from marey.data.figures.clip import ACTIONS, FRAME_RATE, RESTS, SCENARIOS, draw
from marey.data.figures.dataset import ACTORS, TEST_ACTORS, Progress
from marey.data.figures.drawing import claim, work_through
from marey.data.manifest import read_manifest, write_manifest
from marey.errors import UnknownNameError, UsageError
from marey.video import write_video

VERSION: Final = 2
"""Of the drawing: files of another version are not mixed with new ones."""

VIDEOS: Final = 2
"""Of each actor, each in another scenario."""

SPANS: Final = (6, 8)
"""How many spans a video has, at least and at most."""

SECONDS: Final = (2.0, 8.0)
"""How long a span is, at least and at most."""

MOST_REST: Final = 0.5


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a video in which one thing is seen.

    Attributes:
        kind: one of `ACTIONS`, or of `RESTS`, which carry no label.
        start: its first frame.
        end: the frame after its last one.
        take: which drawing of the action it is.
    """

    kind: str
    start: int
    end: int
    take: int


@dataclass(frozen=True, slots=True)
class Film:
    """A video to draw."""

    path: Path
    actor: int
    scenario: str
    seed: int
    spans: tuple[Span, ...]


def make_untrimmed(
    out: str | Path,
    *,
    seed: int = 0,
    actors: int = ACTORS,
    videos: int = VIDEOS,
    scenarios: Sequence[str] = SCENARIOS,
    rest: float = 0.0,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> Manifest:
    """Draw untrimmed video: `OUT/person01_d1_1.mp4`, ..., and `OUT/manifest.csv` with a row for each action.

    A video has 6 to 8 spans of 2 to 8 seconds, joined by cuts; all six actions come before one comes again, and none
    comes twice in a row. Body, place and clothes are those of the embedded clips of the same actor and seed. A video
    depends on the seed, its actor, its scenario, its number and `rest` alone. Files that are there already are kept.
    With all 25 actors the manifest has KTH's split.

    Args:
        out: the folder; made if needed.
        seed: of all that is drawn by chance.
        actors: how many, the first ones.
        videos: how many of each actor; the scenarios take turns.
        scenarios: those of `SCENARIOS` to draw.
        rest: share of the spans, at most one half, in which the actor stands or is not there; they have no row.
        workers: processes; the number of usable cores if None. More than one start by `spawn`, so a script that calls
            this needs the guard `if __name__ == "__main__"`.
        on_progress: called with the number of videos that are there and the number there will be.

    Raises:
        UsageError: a number out of range, or a folder that holds other figures.
        UnknownNameError: no such scenario.
    """
    out = Path(out)
    if not 1 <= actors <= ACTORS:
        raise UsageError(f"actors must be from 1 to {ACTORS}, not {actors}")
    for name, value, least in (("seed", seed, 0), ("videos", videos, 1), ("workers", workers or 1, 1)):
        if value < least:
            raise UsageError(f"{name} must be {least} or more, not {value}")
    if not 0 <= rest <= MOST_REST:
        raise UsageError(f"rest must be from 0 to {MOST_REST}, not {rest}")
    if not scenarios:
        raise UsageError(f"no scenarios are named: choose from {', '.join(SCENARIOS)}")
    for scenario in scenarios:
        if scenario not in SCENARIOS:
            raise UnknownNameError("scenario", scenario, SCENARIOS)
    chosen = [scenario for scenario in SCENARIOS if scenario in scenarios]
    films = [
        plan_film(out, actor, chosen[(actor - 1 + number - 1) % len(chosen)], number, seed=seed, rest=rest)
        for actor in range(1, actors + 1)
        for number in range(1, videos + 1)
    ]
    claim(out, {"version": VERSION, "seed": seed, "untrimmed": {"rest": rest}}, [film.path for film in films])
    missing = [film for film in films if not film.path.exists()]
    done = len(films) - len(missing)
    report = on_progress or (lambda done, total: None)
    report(done, len(films))
    processes = (workers or usable_cores()) if len(missing) > 1 else 1
    for drawn in work_through(missing, _draw_film, workers=processes):
        done += drawn
        report(done, len(films))
    clips = tuple(clip for film in films for clip in _rows(film, split=actors == ACTORS))
    write_manifest(Manifest(clips, out, "marey data make --untrimmed", "the actor"), out / "manifest.csv")
    return read_manifest(out / "manifest.csv")


def plan_film(out: Path, actor: int, scenario: str, number: int, *, seed: int = 0, rest: float = 0.0) -> Film:
    """What is seen in a video of an actor, and when.

    Args:
        out: the folder of the video.
        actor: from 1.
        scenario: one of `SCENARIOS`.
        number: of the video, from 1.
        seed: of all that is drawn by chance.
        rest: share of the spans without an action.
    """
    rng = np.random.default_rng(
        np.random.SeedSequence(seed, spawn_key=(3, actor, SCENARIOS.index(scenario), number, round(rest * 1000)))
    )
    count = int(rng.integers(SPANS[0], SPANS[1] + 1))
    resting = round(rest * count)
    # Rests are as many of the places before, between and after the actions, so that no two are neighbours.
    places = set(rng.choice(count - resting + 1, size=resting, replace=False).tolist())
    kinds: list[str] = []
    for place, action in enumerate([*_in_turn(count - resting, rng), None]):
        kinds += [str(rng.choice(RESTS))] if place in places else []
        kinds += [action] if action is not None else []
    shortest, longest = (round(seconds * FRAME_RATE) for seconds in SECONDS)
    ends = np.cumsum(rng.integers(shortest, longest + 1, size=count)).tolist()
    spans = tuple(
        Span(kind, start, end, 1 + number * SPANS[1] + place)
        for place, (kind, start, end) in enumerate(zip(kinds, [0, *ends], ends, strict=False))
    )
    return Film(out / f"person{actor:02d}_{scenario}_{number}.mp4", actor, scenario, seed, spans)


def _in_turn(count: int, rng: np.random.Generator) -> list[str]:
    """So many actions: all of them in some order, then all again in another one, and none twice in a row."""
    order: list[str] = []
    while len(order) < count:
        turn = rng.permutation(ACTIONS).tolist()
        if order and turn[0] == order[-1]:
            turn.reverse()
        order += turn
    return order[:count]


def _rows(film: Film, *, split: bool) -> Iterator[Clip]:
    part = "test" if film.actor in TEST_ACTORS else "train"
    for span in film.spans:
        if span.kind in ACTIONS:
            yield Clip(
                path=film.path,
                label=span.kind,
                group=f"person{film.actor:02d}",
                start=round(span.start / FRAME_RATE, 2),
                end=round(span.end / FRAME_RATE, 2),
                split=part if split else None,  # type: ignore[arg-type]
            )


def _draw_film(film: Film) -> int:
    write_video(film.path, _frames(film), frame_rate=FRAME_RATE)
    return 1


def _frames(film: Film) -> Iterator[torch.Tensor]:
    for span in film.spans:
        yield from draw(
            span.kind,
            actor=film.actor,
            scenario=film.scenario,
            seed=film.seed,
            duration=(span.end - span.start) / FRAME_RATE,
            take=span.take,
        )
