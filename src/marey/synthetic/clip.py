"""Draw one clip: the frames of an actor, an action and a scenario."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from marey.errors import UnknownNameError, UsageError
from marey.synthetic.body import Array, Body, Joints, Manner
from marey.synthetic.figure import View
from marey.synthetic.gait import make_gait
from marey.synthetic.gestures import GESTURES
from marey.synthetic.render import render
from marey.synthetic.scene import HEIGHT, WIDTH, Clothes, Scene, paint_place

PASSES: dict[str, int] = {"walking": 1, "jogging": 2, "running": 3}
"""Number of times that the actor crosses the view in `FRAMES` frames: the only difference between the three."""
ACTIONS: tuple[str, ...] = ("walking", "jogging", "running", "boxing", "handwaving", "handclapping")
RESTS: tuple[str, ...] = ("standing", "empty")
"""States between actions: the actor stands still, or is absent."""
SCENARIOS: tuple[str, ...] = ("d1", "d2", "d3", "d4")
FRAME_RATE = 25.0
FRAMES = 100
UNEVEN = 3
"""Frames by which the pauses of a jog differ from their mean: half the step of a sample of 16 frames."""
SIZE = (HEIGHT, WIDTH)


def draw(
    action: str,
    *,
    actor: int,
    scenario: str = "d1",
    seed: int = 0,
    duration: float = FRAMES / FRAME_RATE,
    scale: int = 1,
    take: int = 0,
) -> torch.Tensor:
    """Return the frames of an articulated figure.

    Walking, jogging and running of an actor in a scenario consist of the same images: the actor crosses the view at
    `FRAMES` positions, empty frames included, once when walking, twice when jogging, three times when running, and
    each pass shows every second or third position in turn. So the unordered frames of the three are the same except
    for the camera's noise and shake; only their order, the speed, differs.

    Args:
        action: one of `ACTIONS`, or of `RESTS`.
        actor: number from 1, which determines body, manner and clothes.
        scenario: one of `SCENARIOS`: outdoors, change of scale, other clothes, indoors.
        seed: seed of all random choices.
        duration: seconds.
        scale: multiple of 160x120 pixels.
        take: each starts the action at another phase; body, background and clothes are the same.

    Returns:
        uint8 RGB frames `(T, 3, H, W)` at `FRAME_RATE`.

    Raises:
        UnknownNameError: there is no such action or scenario.
        UsageError: a number is out of range.
    """
    acted = act(action, actor=actor, scenario=scenario, seed=seed, duration=duration, scale=scale, take=take)
    frames = render(
        acted.scene,
        acted.body,
        acted.joints,
        place=_place(actor, scenario, seed, scale),
        present=acted.present,
        view=acted.view,
        rng=acted.rng,
        scale=scale,
    )
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class Act:
    """The content of a clip, before it is drawn.

    Attributes:
        scene: camera, light and clothes.
        body: of the actor.
        joints: in the world.
        present: (T,), whether the actor is in view.
        view: motion of the camera.
        rng: generator of what is still to be drawn.
    """

    scene: Scene
    body: Body
    joints: Joints
    present: npt.NDArray[np.bool_]
    view: View
    rng: np.random.Generator


def act(action: str, *, actor: int, scenario: str, seed: int, duration: float, scale: int, take: int) -> Act:
    """Return what happens in a clip; arguments and errors as for `draw`."""
    kinds = (*ACTIONS, *RESTS)
    if action not in kinds:
        raise UnknownNameError("action", action, kinds)
    if scenario not in SCENARIOS:
        raise UnknownNameError("scenario", scenario, SCENARIOS)
    for name, value, least in (("actor", actor, 1), ("seed", seed, 0), ("scale", scale, 1), ("take", take, 0)):
        if value < least:
            raise UsageError(f"{name} must be {least} or more, not {value}")
    count = round(duration * FRAME_RATE)
    if count < 1:
        raise UsageError(f"duration must be {1 / FRAME_RATE} seconds or more, not {duration}")

    body, manner, scene = cast(actor=actor, scenario=scenario, seed=seed)
    rng = _rng(seed, 2, actor, SCENARIOS.index(scenario), kinds.index(action), *([take] if take else []))
    if action in PASSES:
        positions = np.resize(crossing(PASSES[action], scene.empty, rng), count)
        joints = walk(body, manner, scene, positions)
        present = positions >= 0
    else:
        joints = perform("standing" if action == "empty" else action, body, manner, scene, count, rng)
        present = np.full(count, action != "empty")
    view = hold(scene, count, rng, zooming=action not in PASSES)
    return Act(scene, body, joints, present, view, rng)


def cast(*, actor: int, scenario: str, seed: int) -> tuple[Body, Manner, Scene]:
    """Return the body, the manner and the scene that the six actions of an actor in a scenario share."""
    rng = _rng(seed, 0, actor)
    body, manner = Body.random(rng), Manner.random(rng)
    clothes = Clothes.random(rng, disguise=False)
    rng = _rng(seed, 1, actor, SCENARIOS.index(scenario))
    if scenario == "d3":
        other = Clothes.random(rng, disguise=True)
        clothes = Clothes(
            **{name: getattr(other, name) for name in Clothes.__slots__} | {"skin": clothes.skin, "hair": clothes.hair}
        )
    return body, manner, Scene.random(rng, scenario, body, clothes)


def crossing(passes: int, empty: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the position on the path for each of `FRAMES` frames, -1 while nobody is in view.

    Every position is shown once, whatever the number of passes: pass `j` shows the positions `j, j + passes, ...`. The
    empty frames, also the same number, are between the passes, and the clip starts at a random frame.
    """
    absent = round(empty * FRAMES)
    seen = np.arange(FRAMES - absent)
    pauses = np.diff(np.rint(np.linspace(0, absent, passes + 1)).astype(np.int64))
    if passes == 2:
        # After equal pauses, evenly sampled frames would show the same positions in both passes, which would reveal
        # jogging by half the number of positions.
        pauses += (UNEVEN, -UNEVEN)
    parts = [part for j in range(passes) for part in (seen[j::passes], np.full(pauses[j], -1))]
    return np.roll(np.concatenate(parts), int(rng.integers(FRAMES)))


def walk(body: Body, manner: Manner, scene: Scene, positions: npt.NDArray[np.int64]) -> Joints:
    """Return the world joints of a walker at positions on the path, which starts and ends just out of sight."""
    gait = make_gait(body, manner)
    heading = scene.oblique if scene.direction > 0 else math.pi - scene.oblique
    across, away = math.cos(heading), math.sin(heading)
    ends = []
    for end in (-1.0, 1.0):  # the start and the end of the path
        side = end * scene.direction
        # The walker is out of sight when a third of the stature is past the edge; nearer walkers look larger.
        place = 0.0
        for _ in range(4):
            size = scene.camera.focal / (scene.distance + place * away)
            slope = side * (WIDTH / 2 + 0.36 * body.height * size) / scene.camera.focal
            place = slope * scene.distance / (across - slope * away)
        ends.append(place)
    seen = FRAMES - round(scene.empty * FRAMES)
    way = ends[0] + (ends[1] - ends[0]) * (np.maximum(positions, 0) + 0.5) / seen
    joints = gait.at(way / gait.stride + scene.texture % 997 / 997)
    return _place_figure(joints, heading, way * across, scene.distance + way * away)


def perform(action: str, body: Body, manner: Manner, scene: Scene, count: int, rng: np.random.Generator) -> Joints:
    """Return the world joints of a gesture on the spot: boxing from the side, the others from the front."""
    time = np.arange(count) / FRAME_RATE
    wander = 0.05 * np.sin(2 * np.pi * (rng.uniform(0.15, 0.4) * time + rng.random()))
    phase = rng.random() + manner.tempo * rng.uniform(0.96, 1.04) * time + wander
    if action == "boxing":
        turn = rng.uniform(-0.3, 0.3)
        heading = turn if scene.direction > 0 else math.pi - turn
    else:
        heading = -math.pi / 2 + rng.uniform(-0.22, 0.22)
    aside = rng.uniform(-0.35, 0.35)
    return _place_figure(
        GESTURES[action](body, manner, phase), heading, np.full(count, aside), np.full(count, 1.07 * scene.distance)
    )


def hold(scene: Scene, count: int, rng: np.random.Generator, *, zooming: bool) -> View:
    """Return the motion of a hand-held camera: its shake, a slow zoom, and the flicker of the light."""
    time = np.arange(count) / FRAME_RATE
    shift = np.zeros((count, 2))
    for axis in range(2):
        for strength in (1.0, 0.6, 0.3):
            pace = rng.uniform(0.2, 1.2) / strength
            shift[:, axis] += strength * np.sin(2 * np.pi * (pace * time + rng.random()))
    slow = np.sin(2 * np.pi * (rng.uniform(0.12, 0.25) * time + rng.random()))
    return View(
        zoom=1.0 + (scene.zoom if zooming else 0.0) * slow,
        shift=np.rint(scene.shake * shift * 4) / 4,
        gain=1.0 + scene.light.flicker * rng.standard_normal(count),
    )


def _place_figure(joints: Joints, heading: float, x: Array, z: Array) -> Joints:
    """Return the world joints of a figure; `heading` is in radians, from the right of the frame to the depth."""
    across, away = math.cos(heading), math.sin(heading)
    return {
        name: np.stack(
            [
                x + joint[:, 0] * across - joint[:, 2] * away,
                joint[:, 1],
                z + joint[:, 0] * away + joint[:, 2] * across,
            ],
            axis=1,
        )
        for name, joint in joints.items()
    }


@lru_cache(maxsize=1)
def _place(actor: int, scenario: str, seed: int, scale: int) -> npt.NDArray[np.float32]:
    return paint_place(cast(actor=actor, scenario=scenario, seed=seed)[2], scale=scale)


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
