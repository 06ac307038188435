from __future__ import annotations

import pickle
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from marey import commands
from marey.data import CATALOG, Clip, Manifest, load_data
from marey.errors import UnknownNameError, UsageError
from marey.synthetic import ACTIONS, RESTS, TEST_ACTORS, draw, make_untrimmed
from marey.synthetic.untrimmed import Video, _draw_video, plan_video
from marey.video import decode, probe


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Two videos of an actor, with rests."""
    return make_untrimmed(tmp_path_factory.mktemp("films"), actors=1, rest=0.3, workers=1)


def rows_of(manifest: Manifest) -> dict[Path, list[Clip]]:
    rows: dict[Path, list[Clip]] = defaultdict(list)
    for clip in manifest.clips:
        rows[clip.path].append(clip)
    return rows


def plans(rest: float, seed: int = 0) -> list[Video]:
    return [
        plan_video(Path(), actor, scenario, number, seed=seed, rest=rest)
        for actor in range(1, 26)
        for number, scenario in ((1, "d1"), (2, "d4"))
    ]


def test_the_manifest_says_what_is_seen_when(films: Manifest) -> None:
    assert [path.name for path in rows_of(films)] == ["person01_d1_1.mp4", "person01_d2_2.mp4"]
    assert load_data(films.root).clips == films.clips
    for path, rows in rows_of(films).items():
        assert 3 <= len(rows) <= 7
        for clip in rows:
            assert clip.label in ACTIONS
            assert (clip.group, clip.split) == ("person01", None)
            assert clip.start is not None
            assert clip.end is not None
            assert 2.0 <= clip.end - clip.start <= 8.0
        assert all((one.end or 0) <= (other.start or 0) for one, other in pairwise(rows))
        assert (rows[-1].end or 0) <= probe(path).duration + 1e-6


def test_each_span_shows_its_action_from_its_first_frame_to_its_last(films: Manifest) -> None:
    plan = plan_video(films.root, 1, "d1", 1, rest=0.3)
    for span in plan.spans:
        drawn = draw(span.kind, actor=1, duration=(span.end - span.start) / 25, take=span.take).float()
        ends = np.array([span.start, span.end - 1]) / 25 + 0.01
        shown = decode(plan.path, ends).data.float()
        assert (shown - drawn[[0, -1]]).abs().mean() < 6
    assert plan.spans[-1].end == round(probe(plan.path).duration * 25)


def test_body_place_and_clothes_are_those_of_the_embedded_clips_and_the_moment_is_another() -> None:
    clip, take, other = (draw("boxing", actor=3, scenario="d4", duration=1.0, take=take).float() for take in (0, 1, 2))
    assert torch.equal(clip, draw("boxing", actor=3, scenario="d4", duration=1.0).float())
    middle = [frames.median(dim=0).values for frames in (clip, take, other)]
    assert all((a - b).abs().median() < 4 for a, b in pairwise(middle))  # the place
    assert (clip - take).abs().amax(dim=(1, 2, 3)).min() > 60  # the arms are elsewhere
    assert (take - other).abs().amax(dim=(1, 2, 3)).min() > 60


def test_all_actions_come_before_one_comes_again_and_none_twice_in_a_row() -> None:
    for film in plans(rest=0.0):
        kinds = [span.kind for span in film.spans]
        assert 6 <= len(kinds) <= 8
        assert set(kinds[:6]) == set(ACTIONS)
        assert all(one != other for one, other in pairwise(kinds))
        assert [span.start for span in film.spans] == [0, *(span.end for span in film.spans[:-1])]
        assert len({span.take for span in film.spans}) == len(kinds)


@pytest.mark.parametrize("rest", [0.1, 0.3, 0.5])
def test_rests_are_the_share_that_was_asked_for_and_never_neighbours(rest: float) -> None:
    films = plans(rest)
    kinds = [[span.kind for span in film.spans] for film in films]
    for spans in kinds:
        assert sum(kind in RESTS for kind in spans) == round(rest * len(spans))
        assert not any(one in RESTS and other in RESTS for one, other in pairwise(spans))
    every = [kind for spans in kinds for kind in spans]
    assert set(every) == {*ACTIONS, *RESTS}
    assert any(spans[0] in RESTS for spans in kinds)
    assert any(spans[-1] in RESTS for spans in kinds)


def test_the_plan_depends_on_seed_actor_scenario_and_number() -> None:
    base = plan_video(Path(), 1, "d1", 1)
    assert plan_video(Path(), 1, "d1", 1) == base
    for other in (
        plan_video(Path(), 2, "d1", 1),
        plan_video(Path(), 1, "d2", 1),
        plan_video(Path(), 1, "d1", 2),
        plan_video(Path(), 1, "d1", 1, seed=1),
    ):
        assert [(span.kind, span.end) for span in other.spans] != [(span.kind, span.end) for span in base.spans]


def test_nobody_is_seen_in_an_empty_span_and_nobody_moves_in_a_standing_one() -> None:
    empty, standing, waving = (
        draw(kind, actor=2, scenario="d4", duration=2.0).float() for kind in ("empty", "standing", "handwaving")
    )
    place = empty.median(dim=0).values
    assert ((standing.median(dim=0).values - place).abs().amax(dim=0) > 40).float().mean() > 0.01
    assert ((empty - place).abs().amax(dim=(0, 1)) > 40).float().mean() < 0.001

    def moved(frames: torch.Tensor) -> float:
        return float(((frames - frames[0]).abs().amax(dim=(0, 1)) > 60).float().mean())

    assert moved(standing) < 0.2 * moved(waving)


def test_a_film_is_drawn_in_another_process_as_here() -> None:
    film = plan_video(Path(), 1, "d1", 1)
    assert pickle.loads(pickle.dumps(film)) == film  # noqa: S301
    assert pickle.loads(pickle.dumps(_draw_video)) is _draw_video  # noqa: S301


@pytest.mark.long
def test_an_interrupted_run_goes_on_where_it_was(films: Manifest, tmp_path: Path) -> None:
    first, second = rows_of(films)
    for file in (first, films.root / "figures.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    kept = (tmp_path / first.name).stat().st_mtime_ns
    seen: list[tuple[int, int]] = []
    make_untrimmed(tmp_path, actors=1, rest=0.3, workers=1, on_progress=lambda *count: seen.append(count))
    assert seen == [(1, 2), (2, 2)]
    assert (tmp_path / first.name).stat().st_mtime_ns == kept
    assert (tmp_path / second.name).read_bytes() == second.read_bytes()


def test_other_figures_are_not_mixed_with_these(films: Manifest, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds figures of .*'rest': 0\.3.*choose another folder"):
        make_untrimmed(films.root, actors=1, workers=1)
    (tmp_path / "figures.json").write_text('{"version": 1, "seed": 0}')  # as the clips have it
    with pytest.raises(UsageError, match="choose another folder"):
        make_untrimmed(tmp_path, actors=1, workers=1)


def test_all_actors_come_with_the_split_of_kth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only the table is of interest: empty files stand for the video.
    monkeypatch.setattr("marey.synthetic.untrimmed.write_video", lambda path, frames, *, frame_rate: path.touch())
    manifest = make_untrimmed(tmp_path, workers=1)
    files = rows_of(manifest)
    assert len(files) == 50
    assert {clip.group for clip in manifest.clips if clip.split == "test"} == {f"person{n:02d}" for n in TEST_ACTORS}
    assert {clip.split for clip in manifest.clips} == {"train", "test"}
    assert {path.name.split("_")[1] for path in files} == {"d1", "d2", "d3", "d4"}
    assert all(
        one.name.split("_")[1] != other.name.split("_")[1] for one, other in zip(*[iter(files)] * 2, strict=True)
    )
    seconds = sum((clip.end or 0) - (clip.start or 0) for clip in manifest.clips if clip.split == "test")
    assert 500 < seconds < 800


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actors": 0}, "actors must be from 1 to 25, not 0"),
        ({"actors": 26}, "actors must be from 1 to 25, not 26"),
        ({"videos": 0}, "videos must be 1 or more, not 0"),
        ({"seed": -1}, "seed must be 0 or more, not -1"),
        ({"workers": -2}, "workers must be 1 or more, not -2"),
        ({"rest": 0.6}, "rest must be from 0 to 0.5, not 0.6"),
        ({"rest": float("nan")}, "rest must be from 0 to 0.5, not nan"),
        ({"scenarios": ()}, "no scenarios are named"),
    ],
)
def test_numbers_that_cannot_be_are_refused(change: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        make_untrimmed(tmp_path / "out", **change)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_an_unknown_scenario_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="d5"):
        make_untrimmed(tmp_path, scenarios=("d5",))


def test_the_verb_draws_them_where_their_name_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAREY_DATA", str(tmp_path))
    monkeypatch.setattr("marey.synthetic.untrimmed.write_video", lambda path, frames, *, frame_rate: path.touch())
    assert not CATALOG["embedded-untrimmed"].is_here
    made = commands.data.make(untrimmed=True, rest=0.2, actors=2, workers=1)
    assert made.path == tmp_path / "embedded-untrimmed" / "manifest.csv"
    assert load_data("embedded-untrimmed").clips == made.manifest.clips
    assert made.as_dict()["files"] == 4
    with pytest.raises(UsageError, match="add --untrimmed"):
        commands.data.make(tmp_path / "clips", rest=0.2)
