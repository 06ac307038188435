from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from marey.errors import UsageError, VideoError
from marey.video import SHORT_POLICIES, Sampling
from marey.video.sampling import ShortPolicy


def test_uniform_takes_the_middle_of_equal_segments() -> None:
    timestamps = Sampling(count=4).timestamps(2.0, 4.0)
    np.testing.assert_allclose(timestamps, [2.25, 2.75, 3.25, 3.75])
    assert timestamps.dtype == np.float64


def test_uniform_random_takes_one_timestamp_of_each_segment() -> None:
    sampling = Sampling(count=8, position="random")
    timestamps = sampling.timestamps(0.0, 4.0, generator=np.random.default_rng(0))
    assert (timestamps // 0.5 == np.arange(8)).all()
    again = sampling.timestamps(0.0, 4.0, generator=np.random.default_rng(0))
    other = sampling.timestamps(0.0, 4.0, generator=np.random.default_rng(1))
    assert (timestamps == again).all()
    assert (timestamps != other).any()


def test_dense_samples_the_middle_of_the_clip_at_a_fixed_rate() -> None:
    timestamps = Sampling(kind="dense", count=4, rate=8.0).timestamps(0.0, 2.0)
    np.testing.assert_allclose(np.diff(timestamps), 1 / 8)
    assert timestamps.mean() == pytest.approx(1.0)


def test_dense_random_moves_the_window_and_keeps_the_rate() -> None:
    sampling = Sampling(kind="dense", count=4, rate=8.0, position="random")
    generator = np.random.default_rng(0)
    windows = np.stack([sampling.timestamps(1.0, 3.0, generator=generator) for _ in range(50)])
    np.testing.assert_allclose(np.diff(windows), 1 / 8)
    assert windows.min() >= 1.0
    assert windows.max() < 3.0
    assert windows[:, 0].std() > 0.2


def test_dense_over_the_whole_clip_is_uniform() -> None:
    dense = Sampling(kind="dense", count=10, rate=5.0).timestamps(0.5, 2.5)
    np.testing.assert_allclose(dense, Sampling(count=10).timestamps(0.5, 2.5))


@pytest.mark.parametrize(
    ("short", "taken"), [("clamp", [0, 1, 2, 2, 2]), ("repeat", [0, 0, 1, 1, 2]), ("wrap", [0, 1, 2, 0, 1])]
)
def test_short_clips_follow_the_policy(short: ShortPolicy, taken: list[int]) -> None:
    fitting = np.array([0.05, 0.15, 0.25])
    timestamps = Sampling(kind="dense", count=5, rate=10.0, short=short).timestamps(0.0, 0.3)
    np.testing.assert_allclose(timestamps, fitting[taken])
    assert f"{' '.join(map(str, taken))}" in (SHORT_POLICIES[short].__doc__ or "")


def test_a_clip_shorter_than_one_step_is_sampled_in_its_middle() -> None:
    timestamps = Sampling(kind="dense", count=3, rate=2.0).timestamps(1.0, 1.2)
    np.testing.assert_allclose(timestamps, [1.1, 1.1, 1.1])


def test_the_policy_error_refuses_short_clips() -> None:
    sampling = Sampling(kind="dense", count=5, rate=10.0, short="error")
    with pytest.raises(VideoError, match=r"a.mp4: too_short: 5 timestamps at 10 per second take 0.500 s") as caught:
        sampling.timestamps(0.0, 0.3, path="a.mp4")
    assert caught.value.reason == "too_short"
    assert len(sampling.timestamps(0.0, 0.5)) == 5


def test_timestamps_stay_inside_the_span() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        start = generator.uniform(-5, 1e6)
        end = start + 10 ** generator.uniform(-6, 4)
        kind = str(generator.choice(["uniform", "dense"]))
        sampling = Sampling.model_validate(
            {
                "kind": kind,
                "count": int(generator.integers(1, 40)),
                "rate": 10 ** generator.uniform(-2, 3) if kind == "dense" else None,
                "position": str(generator.choice(["middle", "random"])),
                "short": str(generator.choice(["clamp", "repeat", "wrap"])),
            }
        )
        timestamps = sampling.timestamps(start, end, generator=generator)
        assert timestamps.shape == (sampling.count,)
        assert (timestamps >= start).all()
        assert (timestamps < end).all()


@pytest.mark.parametrize("span", [(1.0, 1.0), (2.0, 1.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_invalid_spans_are_refused_with_their_values(span: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match=str(span[1])):
        Sampling().timestamps(*span)


def test_random_sampling_needs_a_generator() -> None:
    with pytest.raises(UsageError, match="default_rng"):
        Sampling(position="random").timestamps(0.0, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"kind": "dense"},
        {"kind": "dense", "rate": 0.0},
        {"kind": "dense", "rate": float("nan")},
        {"rate": 5.0},
        {"kind": "every"},
        {"short": "loop"},
        {"frames": 8},
    ],
)
def test_invalid_rules_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Sampling.model_validate(wrong)


def test_sampling_is_the_same_after_json() -> None:
    sampling = Sampling(kind="dense", count=8, rate=12.5, short="wrap")
    assert Sampling.model_validate_json(sampling.model_dump_json()) == sampling


def test_further_views_take_other_timestamps_of_the_same_segments() -> None:
    sampling = Sampling(count=4)
    looks = np.stack([sampling.timestamps(0.0, 4.0, part=(number, 5)) for number in range(5)])
    np.testing.assert_allclose(looks[:, 0], [0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_array_equal(np.floor(looks), np.broadcast_to(np.arange(4), (5, 4)))
    np.testing.assert_array_equal(sampling.timestamps(0.0, 4.0), looks[2])


def test_dense_views_are_spread_over_the_clip_and_a_single_one_is_in_its_middle() -> None:
    sampling = Sampling(kind="dense", count=2, rate=2.0)
    starts = [sampling.timestamps(0.0, 7.0, part=(number, 3))[0] - 0.25 for number in range(3)]
    np.testing.assert_allclose(starts, [1.0, 3.0, 5.0])
    np.testing.assert_allclose(sampling.timestamps(0.0, 7.0)[0] - 0.25, 3.0)
