from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from marey.synthetic import ACTIONS, FRAMES, PASSES, SCENARIOS
from marey.synthetic.body import SIDES, Body, Manner, bend
from marey.synthetic.clip import cast, crossing, perform, walk
from marey.synthetic.gait import make_gait

ACTORS = (1, 2, 3, 4)


@pytest.mark.parametrize("actor", ACTORS)
def test_walking_jogging_and_running_show_the_same_instants_in_another_order(actor: int) -> None:
    _, _, scene = cast(actor=actor, scenario="d1", seed=0)
    orders = {action: crossing(passes, scene.empty, np.random.default_rng(actor)) for action, passes in PASSES.items()}

    walked = np.sort(orders["walking"])
    for action, order in orders.items():
        assert len(order) == FRAMES
        np.testing.assert_array_equal(np.sort(order), walked, err_msg=action)
    assert np.count_nonzero(walked < 0) == round(scene.empty * FRAMES)
    assert len(np.unique(walked[walked >= 0])) == np.count_nonzero(walked >= 0)


def test_a_jog_goes_twice_and_a_run_three_times_as_fast_as_a_walk() -> None:
    for passes in PASSES.values():
        order = crossing(passes, 0.12, np.random.default_rng(5))
        steps = np.diff(order)[(order[1:] >= 0) & (order[:-1] >= 0)]
        steps = steps[steps > 0]  # not the moment at which the clip begins anew

        assert set(steps.tolist()) == {passes}


@pytest.mark.parametrize("passes", PASSES.values())
def test_an_even_sample_of_sixteen_frames_meets_different_places(passes: int) -> None:
    sampled = ((np.arange(16) + 0.5) * FRAMES / 16).astype(int)
    for seed in range(20):
        places = np.sort(crossing(passes, 0.12, np.random.default_rng(seed))[sampled])
        gaps = np.diff(places[places >= 0])

        assert gaps.min() >= 2
        assert gaps.max() <= 10


def test_walkers_take_about_as_many_strides_a_second_as_people_do() -> None:
    paces = []
    for actor in range(1, 26):
        for scenario in SCENARIOS:
            body, manner, scene = cast(actor=actor, scenario=scenario, seed=0)
            seen = FRAMES - round(scene.empty * FRAMES)
            pelvis = walk(body, manner, scene, np.arange(seen))["pelvis"]
            metres = float(np.linalg.norm((pelvis[-1] - pelvis[0])[[0, 2]])) * seen / (seen - 1)
            paces.append(metres / make_gait(body, manner).stride * 25 / seen)

    assert min(paces) > 0.67
    assert max(paces) < 1.05
    assert max(paces) / min(paces) < 1.5  # so that a jog never has the pace of a run: their speeds are as 2 to 3


@pytest.mark.parametrize("actor", ACTORS)
def test_the_foot_that_carries_rests_on_the_ground(actor: int) -> None:
    body, manner, _ = cast(actor=actor, scenario="d1", seed=0)
    gait = make_gait(body, manner)
    phase = np.linspace(0, 1, 101)
    joints = gait.at(phase)
    for side, shift in (("left", 0.0), ("right", 0.5)):
        way = joints[f"{side}_toe"][:, 0] + phase * gait.stride
        stance = (np.mod(phase + shift, 1.0) > 0.10) & (np.mod(phase + shift, 1.0) < 0.50)
        for run in np.split(way[stance], np.flatnonzero(np.diff(np.flatnonzero(stance)) > 1) + 1):
            assert np.ptp(run) < 0.03  # metres; a pixel is about two centimetres
        assert np.abs(joints[f"{side}_toe"][stance, 1]).max() < 0.02


@pytest.mark.parametrize("actor", ACTORS)
def test_nobody_walks_below_the_ground(actor: int) -> None:
    body, manner, _ = cast(actor=actor, scenario="d1", seed=0)
    joints = make_gait(body, manner).joints

    assert min(float(curve[:, 1].min()) for curve in joints.values()) > -0.015


def test_a_stride_is_as_long_as_people_make_it() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        body, manner = Body.random(rng), Manner.random(rng)

        assert 0.78 < make_gait(body, manner).stride / body.height < 1.02


def test_the_pelvis_rises_and_falls_twice_in_a_stride() -> None:
    body, manner, _ = cast(actor=1, scenario="d1", seed=0)
    height = make_gait(body, manner).joints["pelvis"][:, 1]
    spectrum = np.abs(np.fft.rfft(height - height.mean()))

    assert int(spectrum.argmax()) == 2
    assert 0.02 < float(np.ptp(height)) < 0.08


@pytest.mark.parametrize("action", ACTIONS)
def test_bones_keep_their_length(action: str) -> None:
    body, manner, scene = cast(actor=3, scenario="d2", seed=1)
    if action in PASSES:
        joints = walk(body, manner, scene, np.arange(80))
    else:
        joints = perform(action, body, manner, scene, 80, np.random.default_rng(0))
    for side, _ in SIDES:
        for upper, lower, length in (
            ("hip", "knee", body.thigh),
            ("knee", "ankle", body.shank),
            ("shoulder", "elbow", body.upper_arm),
            ("elbow", "wrist", body.forearm),
        ):
            measured = np.linalg.norm(joints[f"{side}_{upper}"] - joints[f"{side}_{lower}"], axis=1)
            np.testing.assert_allclose(measured, length, rtol=0.03)


@pytest.mark.parametrize("action", [action for action in ACTIONS if action not in PASSES])
def test_feet_stand_still_during_a_gesture(action: str) -> None:
    body, manner, scene = cast(actor=6, scenario="d1", seed=0)
    joints = perform(action, body, manner, scene, 100, np.random.default_rng(0))
    for side, _ in SIDES:
        assert float(np.ptp(joints[f"{side}_toe"], axis=0).max()) < 0.01


def test_a_limb_that_cannot_reach_points_at_its_target() -> None:
    start: npt.NDArray[np.float64] = np.zeros((1, 3))
    middle, end = bend(start, np.array([[5.0, 0.0, 0.0]]), 0.3, 0.3, np.array([0.0, -1.0, 0.0]))

    assert end[0, 0] == pytest.approx(0.597)
    assert np.linalg.norm(end - middle) == pytest.approx(0.3)
