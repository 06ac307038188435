"""Clips that were cut from one film, put on both sides of a split by chance: it is found, and said at every number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from marey import commands
from marey.synthetic import FRAME_RATE, draw
from marey.video import write_video

ACTIONS, CUTS = ("boxing", "walking"), 4  # of each action in a film
SECONDS = 0.6


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two films of one person each, both actions in turn, and all their cuts as files of UCF101's names."""
    root = tmp_path_factory.mktemp("films")
    for film in (1, 2):
        cuts = []
        for number in range(len(ACTIONS) * CUTS):
            action = ACTIONS[number % 2]
            cuts.append(draw(action, actor=film, duration=SECONDS, take=number))
            name = action.capitalize()
            (root / "cuts" / name).mkdir(parents=True, exist_ok=True)
            cut = root / "cuts" / name / f"v_{name}_g{film:02d}_c{number // 2 + 1:02d}.mp4"
            write_video(cut, cuts[-1], frame_rate=FRAME_RATE)
        write_video(root / f"film{film}.mp4", torch.cat(cuts), frame_rate=FRAME_RATE)
    return root


def manifest(root: Path, name: str, *, groups: bool, overlap: float) -> Path:
    """The spans of the cuts in the films; each begins `overlap` seconds before the one before it ends."""
    lines = ["path,label,group,start,end"]
    for film in (1, 2):
        for number in range(len(ACTIONS) * CUTS):
            start, end = number * SECONDS, (number + 1) * SECONDS
            group = f"cut {film}-{number}" if groups else ""
            lines.append(f"film{film}.mp4,{ACTIONS[number % 2]},{group},{max(0.0, start - overlap):.2f},{end:.2f}")
    (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root / name


def said_of(data: Path, out: Path, changes: list[str], call_marey: Callable[..., Any]) -> str:
    """What is said of a split by chance: the sentence, which has to stand everywhere."""
    ended = call_marey("data", "split", data, "--by", "clip", "--out", out / "split.csv")
    assert ended.code == 0
    assert "this split leaks" in ended.out
    words = [word for change in changes for word in ("--set", change)]
    ended = call_marey("train", out / "split.csv", "--out", out / "run", *words)
    assert ended.code == 0
    note = json.loads((out / "run" / "metrics.json").read_text(encoding="utf-8"))["leaks"]["note"]
    assert f"leaking split: {note}" in ended.out
    assert note in (out / "run" / "report.html").read_text(encoding="utf-8")
    return str(note)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # so that no sentence is broken


@pytest.fixture
def quick(small_changes: list[str]) -> list[str]:
    return [*small_changes, "training.inner_folds=1"]


@pytest.mark.usefixtures("wide")
def test_spans_of_one_film(films: Path, quick: list[str], tmp_path: Path, call_marey: Callable[..., Any]) -> None:
    spans = manifest(films, "spans.csv", groups=False, overlap=0.0)
    note = said_of(spans, tmp_path, quick, call_marey)
    assert "film1.mp4" in note
    assert "on both sides of the split: this number is too high for new video" in note


@pytest.mark.long
@pytest.mark.usefixtures("wide")
def test_cuts_as_files_whose_names_say_the_film(
    films: Path, quick: list[str], tmp_path: Path, call_marey: Callable[..., Any]
) -> None:
    note = said_of(films / "cuts", tmp_path, quick, call_marey)
    assert "Boxing_g01" in note


@pytest.mark.long
@pytest.mark.usefixtures("wide")
def test_spans_that_overlap_whatever_group_they_are_given(
    films: Path, quick: list[str], tmp_path: Path, call_marey: Callable[..., Any]
) -> None:
    spans = manifest(films, "overlapping.csv", groups=True, overlap=0.3)
    note = said_of(spans, tmp_path, quick, call_marey)
    assert note.startswith("2 identical files are on both sides")


def test_a_split_by_group_of_the_same_clips_does_not_leak(films: Path, tmp_path: Path) -> None:
    spans = manifest(films, "spans.csv", groups=False, overlap=0.0)
    for number, data in enumerate((spans, films / "cuts")):
        found = commands.data.split(str(data), out=tmp_path / f"{number}.csv", test=0.5)
        assert not any("leaks" in note for note in found.notes)
