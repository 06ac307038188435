"""`marey find`: the moments of videos that are most like a clip."""

from __future__ import annotations

import csv
import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image

from conftest import CallMarey
from marey import commands
from marey.encoders import FeatureCache, cache_home
from marey.errors import UsageError, VideoError
from marey.synthetic import FRAME_RATE, draw
from marey.video import write_video


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of a standing person, a second of waving from 4 s on, and three of standing; not to be changed."""
    folder = tmp_path_factory.mktemp("long")
    acts = (("standing", 4.0), ("handwaving", 1.0), ("standing", 3.0))
    frames = [frame for act, seconds in acts for frame in draw(act, actor=2, duration=seconds)]
    write_video(folder / "day.mp4", torch.stack(frames), frame_rate=FRAME_RATE)
    return folder / "day.mp4"


@pytest.fixture(scope="module")
def wave(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of another person who waves; not to be changed."""
    path = tmp_path_factory.mktemp("query") / "wave.mp4"
    write_video(path, draw("handwaving", actor=3, duration=1.0), frame_rate=FRAME_RATE)
    return path


def test_the_moment_of_a_long_video_is_found_at_its_time(small_run: Path, wave: Path, long_video: Path) -> None:
    best, *_ = commands.find(small_run, wave, long_video).hits
    assert best.path == long_video
    assert 3.4 <= best.start <= 4.3
    assert 4.7 <= best.end <= 5.6


def test_segments_come_by_falling_similarity_and_do_not_overlap(small_run: Path, wave: Path, long_video: Path) -> None:
    hits = commands.find(small_run, wave, long_video, top=100).hits
    assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)
    by_time = sorted(hits, key=lambda hit: hit.start)
    assert all(first.end <= second.start + 1e-6 for first, second in pairwise(by_time))
    assert all(-1 <= hit.similarity <= 1 for hit in hits)
    assert all(0 <= hit.start < hit.end <= 8.001 for hit in hits)


def test_a_copy_of_the_query_is_found_with_similarity_one_under_its_other_name_and_span(
    small_run: Path, small_set: Path, tmp_path: Path
) -> None:
    query = next(iter(sorted(small_set.glob("walking/*.mp4"))))
    others = tmp_path / "others"
    shutil.copytree(small_set, others)
    copy = others / "walking" / query.name
    with copy.open("ab") as file:  # another content that shows the same
        file.write((16).to_bytes(4, "big") + b"free" + bytes(8))
    best, second, *_ = commands.find(small_run, query, others).hits
    assert best.path == copy
    assert best.similarity == pytest.approx(1.0, abs=1e-5)
    assert second.similarity < 0.99
    assert second.path.parent.name == "walking"


def test_the_querys_own_place_is_no_answer(small_run: Path, small_set: Path, long_video: Path) -> None:
    query = next(iter(sorted(small_set.glob("walking/*.mp4"))))
    assert query not in [hit.path for hit in commands.find(small_run, query, small_set, top=100).hits]
    hits = commands.find(small_run, long_video, long_video, start=4.0, end=5.0, top=100).hits
    assert hits
    assert all(hit.end <= 4.0 + 1e-6 or hit.start >= 5.0 - 1e-6 for hit in hits)


def test_a_second_search_encodes_nothing_and_gives_the_same(
    small_run: Path, wave: Path, long_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = commands.find(small_run, wave, long_video)
    count = sum(1 for _ in (cache_home() / "features").rglob("*.safetensors"))
    stored: list[str] = []
    monkeypatch.setattr(FeatureCache, "put", lambda self, key, features: stored.append(key))
    assert commands.find(small_run, wave, long_video).hits == before.hits
    assert (stored, count > 0) == ([], True)


def test_a_mirrored_query_finds_the_mirror_image(small_run: Path, tmp_path: Path) -> None:
    frames = torch.stack(list(draw("walking", actor=1, duration=1.0)))
    write_video(tmp_path / "left.mp4", frames, frame_rate=FRAME_RATE)
    write_video(tmp_path / "right.mp4", frames.flip(-1), frame_rate=FRAME_RATE)
    (plain,) = commands.find(small_run, tmp_path / "left.mp4", tmp_path / "right.mp4").hits
    (both,) = commands.find(small_run, tmp_path / "left.mp4", tmp_path / "right.mp4", mirror=True).hits
    assert both.similarity > plain.similarity
    assert both.similarity > 0.9


@pytest.mark.parametrize("head", ["bilstm", "mean"])
def test_models_with_other_heads_search_too(
    small_set: Path, small_changes: list[str], wave: Path, long_video: Path, tmp_path: Path, head: str
) -> None:
    changes = [*small_changes, f"head.name={head}", "head.options={}", "training.epochs=1", "training.inner_folds=1"]
    commands.train(small_set, recipe="default-0.1", out=tmp_path / "run", set=changes)
    best, *_ = commands.find(tmp_path / "run", wave, long_video).hits
    assert 3.4 <= best.start <= 4.3


def test_a_recipe_searches_without_training(
    small_changes: list[str], wave: Path, long_video: Path, tmp_path: Path
) -> None:
    from marey.training import load_recipe

    recipe = tmp_path / "small.yaml"
    recipe.write_text(load_recipe("default-0.1", changes=small_changes).to_yaml())
    best, *_ = commands.find(recipe, wave, long_video).hits
    assert 3.4 <= best.start <= 4.3


def test_a_name_that_is_nothing_is_refused_with_near_names(wave: Path, long_video: Path) -> None:
    with pytest.raises(
        UsageError, match=r"'defualt' is no run or model folder, no recipe and no encoder.*'default-0.1'"
    ):
        commands.find("defualt", wave, long_video)
    with pytest.raises(UsageError, match="convlstm is a network trained on frames"):
        commands.find("convlstm", wave, long_video)


def test_a_video_that_cannot_be_used_is_named_and_the_others_are_searched(
    small_run: Path, wave: Path, long_video: Path, tmp_path: Path, call_marey: CallMarey
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    shutil.copy(long_video, tmp_path / "day.mp4")
    answer = commands.find(small_run, wave, tmp_path)
    assert [error.reason for error in answer.failed] == ["not_video"]
    assert answer.hits
    with pytest.raises(VideoError, match="not_video"):
        commands.find(small_run, tmp_path / "broken.mp4", tmp_path)
    done = call_marey("find", small_run, wave, "in", tmp_path / "broken.mp4")
    assert (done.code, "not_video" in done.out + done.err) == (3, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "top=0"),
        ({"min_similarity": 2.0}, "a cosine lies from -1 to 1"),
        ({"start": 3.0, "end": 2.0}, "start=3, end=2: a query begins at 0 or later"),
        ({"window": 0.0}, "a window has 0.1 to 3600 seconds"),
        ({"sheet": "hits.mp4"}, "a sheet is written as"),
    ],
)
def test_impossible_options_are_refused(
    small_run: Path, wave: Path, long_video: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        commands.find(small_run, wave, long_video, **options)  # type: ignore[arg-type]


def test_a_query_that_begins_after_the_end_of_its_file_is_refused(
    small_run: Path, wave: Path, long_video: Path, small_set: Path
) -> None:
    with pytest.raises(VideoError, match="too_short"):
        commands.find(small_run, wave, long_video, start=30.0)
    with pytest.raises(UsageError, match="is a folder: give one video file"):
        commands.find(small_run, small_set, long_video)


def test_the_command_line_writes_table_json_csv_and_sheet(
    call_marey: CallMarey, small_run: Path, wave: Path, long_video: Path, tmp_path: Path
) -> None:
    files = ("--csv", tmp_path / "hits.csv", "--sheet", tmp_path / "hits.png")
    done = call_marey("find", small_run, wave, "in", long_video, "--top", "3", *files)
    assert done.code == 0, done.err
    assert "similarity" in done.out
    assert "day.mp4" in done.out
    answer = json.loads(call_marey("find", small_run, wave, "in", long_video, "--top", "3", "--json").out)
    rows = list(csv.DictReader((tmp_path / "hits.csv").read_text().splitlines()))
    assert [float(row["start"]) for row in rows] == pytest.approx([hit["start"] for hit in answer["hits"]])
    assert (answer["videos"], answer["failed"], answer["window"]) == (1, [], 1.0)
    with Image.open(tmp_path / "hits.png") as sheet:
        assert sheet.width > 3 * 240


def test_nothing_that_similar_is_said_so(call_marey: CallMarey, small_run: Path, wave: Path, long_video: Path) -> None:
    done = call_marey("find", small_run, wave, long_video, "--min-similarity", "0.9999")
    assert (done.code, "nothing is that similar" in done.out + done.err) == (0, True)
