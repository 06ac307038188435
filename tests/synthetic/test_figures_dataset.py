from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from marey.data import Manifest, load_data
from marey.errors import UnknownNameError, UsageError
from marey.synthetic import ACTIONS, FRAMES, TEST_ACTORS, draw, make
from marey.video import decode, probe


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return make(tmp_path_factory.mktemp("figures"), actors=2, scenarios=("d1",), workers=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.mp4"))}


def test_files_have_the_names_of_kth(figures: Manifest) -> None:
    names = {clip.path.relative_to(figures.root).as_posix() for clip in figures.clips}

    assert names == {f"{a}/person{n:02d}_{a}_d1_uncomp.mp4" for a in ACTIONS for n in (1, 2)}
    assert {clip.group for clip in figures.clips} == {"person01", "person02"}
    assert {clip.split for clip in figures.clips} == {None}
    assert load_data(figures.root).clips == figures.clips


def test_every_file_is_small_video_at_25_frames_a_second(figures: Manifest) -> None:
    for clip in figures.clips:
        info = probe(clip.path)

        assert (info.width, info.height) == (160, 120)
        assert info.frame_rate == pytest.approx(25)
        assert info.duration == pytest.approx(FRAMES / 25, abs=0.01)
        assert info.faults == ()


@pytest.mark.long
def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_processes(
    figures: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marey.synthetic.dataset.FEW", 0)
    make(tmp_path, actors=2, scenarios=("d1",), workers=2)

    assert contents(tmp_path) == contents(figures.root)


@pytest.mark.long
def test_a_script_that_draws_in_several_processes_needs_no_guard(figures: Manifest, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from marey.synthetic import dataset\n"
        "dataset.FEW = 0\n"
        f"dataset.make({str(tmp_path / 'drawn')!r}, actors=2, scenarios=('d1',), workers=2)\n"
        "print('drawn')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)  # noqa: S603

    assert (done.returncode, done.stdout) == (0, "drawn\n"), done.stderr
    assert contents(tmp_path / "drawn") == contents(figures.root)


@pytest.mark.long
def test_a_subset_holds_the_same_files(figures: Manifest, tmp_path: Path) -> None:
    make(tmp_path, actors=1, scenarios=("d1",), workers=1)
    whole = contents(figures.root)

    assert contents(tmp_path) == {name: data for name, data in whole.items() if "person01" in name}


@pytest.mark.long
def test_an_interrupted_run_goes_on_where_it_was(figures: Manifest, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 6:
            raise StopError

    with pytest.raises(StopError):
        make(tmp_path, actors=2, scenarios=("d1",), workers=1, on_progress=stop)
    drawn = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    seen: list[tuple[int, int]] = []
    make(tmp_path, actors=2, scenarios=("d1",), workers=1, on_progress=lambda *count: seen.append(count))

    assert len(drawn) == 6
    assert {path: path.stat().st_mtime_ns for path in drawn} == drawn
    assert seen == [(6, 12), (12, 12)]
    assert contents(tmp_path) == contents(figures.root)


def test_another_seed_does_not_mix_with_what_is_there(figures: Manifest) -> None:
    with pytest.raises(UsageError, match="choose another folder"):
        make(figures.root, seed=1, actors=2, scenarios=("d1",), workers=1)


def test_files_of_others_are_not_taken_for_ours(tmp_path: Path) -> None:
    path = tmp_path / "boxing" / "person01_boxing_d1_uncomp.mp4"
    path.parent.mkdir()
    path.write_bytes(b"a film of someone else")
    with pytest.raises(UsageError, match=r"no figures\.json"):
        make(tmp_path, actors=1, scenarios=("d1",), workers=1)

    assert path.read_bytes() == b"a film of someone else"


def test_all_actors_come_with_the_split_of_kth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def touch(path: Path, frames: torch.Tensor, *, frame_rate: float) -> None:
        path.touch()

    # Only the table is of interest: 150 empty files stand for the video.
    monkeypatch.setattr("marey.synthetic.dataset.write_video", touch)
    monkeypatch.setattr("marey.synthetic.dataset.draw", lambda *args, **kwargs: torch.empty(0))
    manifest = make(tmp_path, scenarios=("d1",), workers=1)

    assert len(manifest.clips) == 150
    assert {clip.group for clip in manifest.clips if clip.split == "test"} == {
        f"person{actor:02d}" for actor in TEST_ACTORS
    }
    assert sum(clip.split == "train" for clip in manifest.clips) == 16 * 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actors": 0}, "actors must be from 1 to 25, not 0"),
        ({"actors": 26}, "actors must be from 1 to 25, not 26"),
        ({"seed": -1}, "seed must be 0 or more, not -1"),
        ({"workers": 0}, "workers must be 1 or more, not 0"),
        ({"scenarios": ()}, "no scenarios are named"),
    ],
)
def test_numbers_that_cannot_be_are_refused(change: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        make(tmp_path / "out", **change)  # type: ignore[arg-type]

    assert not (tmp_path / "out").exists()


def test_an_unknown_scenario_or_action_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="d5"):
        make(tmp_path, scenarios=("d5",))
    with pytest.raises(UnknownNameError, match="did you mean 'walking'"):
        draw("walkin", actor=1)


def test_a_clip_decodes_to_what_was_drawn(figures: Manifest) -> None:
    drawn = draw("handwaving", actor=1, scenario="d1").float()
    path = figures.root / "handwaving" / "person01_handwaving_d1_uncomp.mp4"
    shown = decode(path, np.arange(FRAMES) / 25 + 0.01).data.float()

    assert (shown - drawn).abs().mean() < 6


def test_a_walk_is_seen_in_most_frames_and_leaves_the_view_in_some() -> None:
    for action in ("walking", "jogging", "running"):
        frames = draw(action, actor=5, scenario="d1").float()
        background = frames.median(dim=0).values
        moving = ((frames - background).abs().amax(dim=1) > 40).float().mean(dim=(1, 2))

        assert (moving > 0.01).float().mean() > 0.6
        assert (moving < 0.002).float().mean() > 0.05


def test_a_longer_clip_and_a_larger_one_can_be_drawn() -> None:
    assert draw("boxing", actor=1, duration=5.0).shape == (125, 3, 120, 160)
    assert draw("running", actor=1, scenario="d4", duration=0.2, scale=2).shape == (5, 3, 240, 320)
    with pytest.raises(UsageError, match="duration"):
        draw("running", actor=1, duration=0.0)
