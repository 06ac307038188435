from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marey import commands
from marey.data import read_manifest
from marey.data.zoo.registry import PUBLISHED
from marey.errors import UsageError
from marey.progress import Reporter, Stage

Call = Callable[..., Any]


class Heard(Reporter):
    """Keeps what it was told: the stages that are open and closed, and the last count of each."""

    def __init__(self) -> None:
        self.stages: dict[str, tuple[int, int]] = {}
        self.open = 0

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        heard = self

        class Counting(Stage):
            def advance(self, done: int, note: str = "") -> None:
                heard.stages[title] = (done, total)

        assert self.open == 0, "a terminal shows one bar at a time"
        self.open += 1
        yield Counting()
        self.open -= 1


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAREY_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def brought(tmp_path: Path, small_set: Path) -> Path:
    """A folder with UT-Interaction's archive, of real clips: 6 classes in 4 sequences."""
    clips = sorted(small_set.rglob("*.mp4"))
    folder = tmp_path / "brought"
    folder.mkdir()
    with zipfile.ZipFile(folder / "ut-interaction_segmented_set1.zip", "w") as archive:
        for number in range(24):
            content = clips[number % 12].read_bytes() + bytes(number)  # no two are the same
            archive.writestr(f"segmented_set1/{number}_{number // 6 + 1}_{number % 6}.avi", content)
    return folder


def test_a_data_set_is_got_and_then_goes_by_its_name(home: Path, brought: Path) -> None:
    heard = Heard()
    got = commands.data.get("ut-interaction-set1", source_dir=brought, reporter=heard)
    assert got.path == home / "ut-interaction-set1" / "manifest.csv"
    assert got.as_dict()["labels"] == dict.fromkeys(("handshake", "hug", "kick", "point", "punch", "push"), 4)
    assert "leave one sequence out" in got.notes[-1]
    assert heard.open == 0
    assert list(heard.stages) == [
        "checking ut-interaction_segmented_set1.zip (MB)",
        "unpacking ut-interaction_segmented_set1.zip (MB)",
    ]
    assert all(done == total for done, total in heard.stages.values())
    assert commands.data.scan("ut-interaction-set1").usable
    listed = {named["name"]: named for named in commands.data.list_data().as_dict()}
    assert listed["ut-interaction-set1"]["here"]
    assert not listed["ut-interaction-set2"]["here"]
    assert "leave one sequence out" in listed["ut-interaction-set2"]["protocol"]


def test_a_random_split_by_clip_is_there_and_said_to_leak(home: Path, brought: Path, tmp_path: Path) -> None:
    commands.data.get("ut-interaction-set1", source_dir=brought)
    eighty = commands.data.split("ut-interaction-set1", out=tmp_path / "80.csv", by="clip", test=0.25)
    assert eighty.as_dict()["splits"] == {"train": 18, "test": 6}
    assert any("this split leaks: 4 groups and 0 identical files are on both sides" in note for note in eighty.notes)
    three = commands.data.split("ut-interaction-set1", out=tmp_path / "3.csv", by="clip", test=0.25, val=0.25, seed=1)
    assert three.as_dict()["splits"] == {"train": 12, "val": 6, "test": 6}
    assert [clip.group for clip in read_manifest(three.path).clips] == [clip.group for clip in three.manifest.clips]
    by_group = commands.data.split("ut-interaction-set1", out=tmp_path / "group.csv", test=0.25)
    assert not any("leak" in note for note in by_group.notes)


def test_the_same_seed_gives_the_same_split_by_clip(home: Path, brought: Path, tmp_path: Path) -> None:
    commands.data.get("ut-interaction-set1", source_dir=brought)
    splits = [
        commands.data.split("ut-interaction-set1", out=tmp_path / f"{number}.csv", by="clip", seed=seed).manifest.clips
        for number, seed in enumerate((0, 0, 1))
    ]
    assert splits[0] == splits[1]
    assert splits[0] != splits[2]


def test_names_are_listed_on_the_screen_and_in_json(call_marey: Call, home: Path) -> None:
    listed = json.loads(call_marey("data", "list", "--json").out)
    names = {named["name"] for named in listed}
    assert names >= {"ucf101", "ucf101-3", "hmdb51-2", "ucf50", "ucf11", "kth", "kth-whole", "weizmann"}
    assert names >= {"ut-interaction-set1", "ut-interaction-set2", "ucf-hmdb-10", "ucf101-25", "embedded"}
    shown = call_marey("data", "list").out
    assert "marey data get hmdb51-2" in shown


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("ucf-101", 2, "no data set is called 'ucf-101'; did you mean 'ucf101'"),
        ("embedded", 2, "run 'marey data make'"),
        ("ucf101-25", 3, "not here yet: ucf101; run 'marey data get ucf101' first"),
        ("weizmann", 3, "bend.zip cannot be downloaded (http://127.0.0.1:9/bend.zip: "),
    ],
)
def test_what_cannot_be_got_ends_in_one_sentence(
    call_marey: Call, home: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int, said: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    nowhere = tuple(
        replace(archive, file=replace(archive.file, urls=(f"http://127.0.0.1:9/{archive.file.name}",)))
        for archive in PUBLISHED["weizmann"].archives
    )
    monkeypatch.setitem(PUBLISHED, "weizmann", replace(PUBLISHED["weizmann"], archives=nowhere))
    ended = call_marey("data", "get", name)
    assert ended.code == code
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert ended.out == ""


def test_an_installed_data_set_is_shown_and_got_no_second_time(call_marey: Call, home: Path, brought: Path) -> None:
    commands.data.get("ut-interaction-set1", source_dir=brought)
    shutil.rmtree(brought)
    again = call_marey("data", "get", "ut-interaction-set1")
    assert again.code == 0
    assert "handshake" in again.out
    assert "it is here already" in again.out
    with pytest.raises(UsageError, match="is made from"):
        commands.data.get("ucf101-25", source_dir=home)
