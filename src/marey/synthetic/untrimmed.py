"""Draw the embedded data set as untrimmed video: several actions of an actor, with their times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from marey.cores import usable_cores
from marey.data.clip import Clip, Manifest
from marey.data.manifest import read_manifest, write_manifest
from marey.errors import UnknownNameError, UsageError
from marey.synthetic.clip import ACTIONS, FRAME_RATE, RESTS, SCENARIOS, draw
from marey.synthetic.dataset import ACTORS, TEST_ACTORS, Progress
from marey.synthetic.drawing import claim, work_through
from marey.video import write_video

VERSION: Final = 2
"""Version of the drawing; files of another version are not mixed with new ones."""

VIDEOS: Final = 2
"""Number of videos per actor, each in another scenario."""

SPANS: Final = (6, 8)
"""Minimum and maximum number of spans in a video."""

SECONDS: Final = (2.0, 8.0)
"""Minimum and maximum length of a span."""

MOST_REST: Final = 0.5


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a video with one action, or with none.

    Attributes:
        kind: one of `ACTIONS`, or of `RESTS`, which have no label.
        start: its first frame.
        end: the frame after its last one.
        take: number of the drawing of the action.
    """

    kind: str
    start: int
    end: int
    take: int


@dataclass(frozen=True, slots=True)
class Video:
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

    A video has 6 to 8 spans of 2 to 8 seconds, joined by cuts; all six actions occur before one is repeated, and none
    twice in a row. Body, background and clothes are those of the embedded clips of the same actor and seed. A video
    depends only on the seed, its actor, its scenario, its number and `rest`. Existing files are kept.
    With all 25 actors the manifest has KTH's split.

    Args:
        out: the folder; created if needed.
        seed: seed of all random choices.
        actors: number of actors, from the first one.
        videos: number of videos per actor; the scenarios alternate.
        scenarios: the scenarios to draw, of `SCENARIOS`.
        rest: share of the spans, at most one half, in which the actor stands still or is absent; they have no row.
        workers: number of processes; the number of usable cores if None. Several are started by `spawn`, so a calling
            script needs the guard `if __name__ == "__main__"`.
        on_progress: called with the number of finished videos and the number of videos.

    Raises:
        UsageError: a number is out of range, or the folder contains other figures.
        UnknownNameError: there is no such scenario.
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
    planned = [
        plan_video(out, actor, chosen[(actor - 1 + number - 1) % len(chosen)], number, seed=seed, rest=rest)
        for actor in range(1, actors + 1)
        for number in range(1, videos + 1)
    ]
    claim(out, {"version": VERSION, "seed": seed, "untrimmed": {"rest": rest}}, [video.path for video in planned])
    missing = [video for video in planned if not video.path.exists()]
    done = len(planned) - len(missing)
    report = on_progress or (lambda done, total: None)
    report(done, len(planned))
    processes = (workers or usable_cores()) if len(missing) > 1 else 1
    for drawn in work_through(missing, _draw_video, workers=processes):
        done += drawn
        report(done, len(planned))
    clips = tuple(clip for video in planned for clip in _rows(video, split=actors == ACTORS))
    write_manifest(Manifest(clips, out, "marey data make --untrimmed", "the actor"), out / "manifest.csv")
    return read_manifest(out / "manifest.csv")


def plan_video(out: Path, actor: int, scenario: str, number: int, *, seed: int = 0, rest: float = 0.0) -> Video:
    """Return the spans of a video of an actor.

    Args:
        out: the folder of the video.
        actor: from 1.
        scenario: one of `SCENARIOS`.
        number: number of the video, from 1.
        seed: seed of all random choices.
        rest: share of the spans without an action.
    """
    rng = np.random.default_rng(
        np.random.SeedSequence(seed, spawn_key=(3, actor, SCENARIOS.index(scenario), number, round(rest * 1000)))
    )
    count = int(rng.integers(SPANS[0], SPANS[1] + 1))
    resting = round(rest * count)
    # Each rest takes another gap before, between or after the actions, so that no two are neighbours.
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
    return Video(out / f"person{actor:02d}_{scenario}_{number}.mp4", actor, scenario, seed, spans)


def _in_turn(count: int, rng: np.random.Generator) -> list[str]:
    """Return `count` actions: all of them in random order, again and again, and none twice in a row."""
    order: list[str] = []
    while len(order) < count:
        turn = rng.permutation(ACTIONS).tolist()
        if order and turn[0] == order[-1]:
            turn.reverse()
        order += turn
    return order[:count]


def _rows(video: Video, *, split: bool) -> Iterator[Clip]:
    part = "test" if video.actor in TEST_ACTORS else "train"
    for span in video.spans:
        if span.kind in ACTIONS:
            yield Clip(
                path=video.path,
                label=span.kind,
                group=f"person{video.actor:02d}",
                start=round(span.start / FRAME_RATE, 2),
                end=round(span.end / FRAME_RATE, 2),
                split=part if split else None,  # type: ignore[arg-type]
            )


def _draw_video(video: Video) -> int:
    write_video(video.path, _frames(video), frame_rate=FRAME_RATE)
    return 1


def _frames(video: Video) -> Iterator[torch.Tensor]:
    for span in video.spans:
        yield from draw(
            span.kind,
            actor=video.actor,
            scenario=video.scenario,
            seed=video.seed,
            duration=(span.end - span.start) / FRAME_RATE,
            take=span.take,
        )
