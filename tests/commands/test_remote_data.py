"""Data sets on other machines: listed, extracted, trained on, evaluated and predicted where they lie."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from marey import commands
from marey.commands.steps.predictions import Predictions
from marey.data import load_data, read_manifest, write_manifest
from marey.errors import DatasetError, UsageError
from marey.prediction import find_clips
from remote_servers import Web, forget, put, serve, serve_s3

pytest.importorskip("aiohttp", reason="aiohttp is not installed")

SECRET = "s3cr3t"  # noqa: S105


@pytest.fixture(scope="module")
def web(small_set: Path) -> Iterator[Web]:
    """A web server with the clips of `small_set` below /set."""
    with serve() as server:
        server.files = {f"/set/{path.relative_to(small_set)}": path.read_bytes() for path in small_set.glob("*/*.mp4")}
        yield server
    forget()


@pytest.fixture(scope="module")
def s3(small_set: Path) -> Iterator[str]:
    """An S3 server with the clips of `small_set` in s3://videos/set."""
    with pytest.MonkeyPatch.context() as patch, serve_s3(patch) as endpoint:
        for path in small_set.glob("*/*.mp4"):
            put(endpoint, "videos", f"set/{path.relative_to(small_set)}", path.read_bytes())
        put(endpoint, "videos", "set/boxing/.hidden/a.mp4", b"")
        put(endpoint, "videos", "set/notes.txt", b"notes")
        put(endpoint, "videos", "set/stray.mp4", b"stray")
        yield endpoint


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_prefix_of_s3_is_a_folder_of_class_folders(s3: str, small_set: Path) -> None:
    here, there = load_data(small_set), load_data("s3://videos/set/")
    assert [(clip.path.name, clip.label, clip.group) for clip in there.clips] == [
        (clip.path.name, clip.label, clip.group) for clip in here.clips
    ]
    assert there.clips[0].id.startswith("s3://videos/set/boxing/")
    assert there.notes == ("1 video left aside beside the class folders: stray.mp4",)
    with pytest.raises(DatasetError, match="no videos in the class folders of s3://videos/none"):
        load_data("s3://videos/none")
    with pytest.raises(DatasetError, match="cannot be listed: missing"):
        load_data("s3://no-such-bucket/set")


def test_train_val_and_test_of_a_prefix_are_its_split(s3: str) -> None:
    for place in ("train/a/1.mp4", "train/b/2.mp4", "test/a/3.mp4", "test/b/4.mp4"):
        put(s3, "other", place, b"x")
    assert [(clip.label, clip.split) for clip in load_data("s3://other").clips] == [
        ("a", "test"),
        ("b", "test"),
        ("a", "train"),
        ("b", "train"),
    ]


def test_pages_of_links_are_a_folder_of_class_folders(web: Web, small_set: Path) -> None:
    found = load_data(f"{web.url}/set")
    assert [clip.path.name for clip in found.clips] == [clip.path.name for clip in load_data(small_set).clips]


def test_a_model_is_trained_evaluated_and_used_on_s3(s3: str, small_changes: list[str], tmp_path: Path) -> None:
    data = "s3://videos/set"
    filled = commands.extract(data, recipe="default-0.1", set=small_changes)
    assert (filled.clips, filled.failed) == (12, {})
    commands.train(data, recipe="default-0.1", out=tmp_path / "run", set=small_changes)
    commands.evaluate(tmp_path / "run", out=tmp_path / "evaluation")
    tested = rows_of(tmp_path / "evaluation" / "predictions.csv")
    found = commands.predict(
        tmp_path / "run", [row["path"] for row in tested], csv=tmp_path / "labels.csv", unknown="never"
    )
    assert isinstance(found, Predictions)
    by_name = {row["path"]: row["confidence"] for row in tested}
    for each in found.predictions:
        assert each.source.startswith("s3://videos/set/")
        assert each.confidence == pytest.approx(float(by_name[each.source]), abs=1e-5)


def test_sources_of_predict_may_be_patterns_and_folders_of_s3(s3: str) -> None:
    assert len(find_clips(["s3://videos/set/boxing/*.mp4"])) == 6
    assert len(find_clips(["s3://videos/set/walking"])) == 6
    with pytest.raises(DatasetError, match=r"no file matches 's3://videos/set/\*.avi'"):
        find_clips(["s3://videos/set/*.avi"])


def test_a_file_that_cannot_be_read_has_its_reason_and_the_others_go_on(
    web: Web, small_changes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marey.video.remote_web._WAIT", 0.001)
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    *clips, gone, denied, old, busy = sorted(web.files)[-6:]
    web.answers = {
        gone: (404, b""),
        denied: (403, b"<Code>AccessDenied</Code>"),
        old: (403, b"<Message>Request has expired</Message>"),
        busy: (503, b""),
    }
    table = tmp_path / "signed.csv"
    urls = [f"{web.url}{path}?X-Amz-Signature={SECRET}" for path in (*clips, gone, denied, old, busy)]
    table.write_text("path,label\n" + "".join(f"{url},walking\n" for url in urls), encoding="utf-8")
    found = commands.extract(str(table), set=small_changes)
    web.answers = {}
    assert (found.clips, len(found.failed)) == (6, 4)
    reasons = {Path(name).name: why.partition(":")[0] for name, why in found.failed.items()}
    assert [reasons[Path(path).name] for path in (gone, denied, old, busy)] == [
        "missing",
        "forbidden",
        "expired",
        "unreachable",
    ]
    assert SECRET not in str(found.as_dict())


def test_a_signature_is_in_no_file_of_a_run(
    web: Web, small_changes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    rows = [f"{path.rpartition('/')[2]},{path.split('/')[2]}" for path in sorted(web.files)]
    signed = "".join(
        f"{web.url}/set/{label}/{name}?X-Amz-Signature={SECRET},{label}\n"
        for name, label in (row.split(",") for row in rows)
    )
    web.files["/signed.csv"] = f"path,label\n{signed}".encode()
    url = f"http://me:{SECRET}@{web.url.removeprefix('http://')}/signed.csv?token={SECRET}"
    try:
        manifest = read_manifest(url)
        commands.train(url, recipe="default-0.1", out=tmp_path / "run", set=small_changes)
    finally:
        del web.files["/signed.csv"]
    assert len(manifest.clips) == 12
    write_manifest(manifest, tmp_path / "copy.csv")
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


def test_rows_whose_urls_differ_only_in_the_query_are_refused(web: Web, tmp_path: Path) -> None:
    table = tmp_path / "m.csv"
    rows = "".join(f"{web.url}/get?id={number},a,{number},{number + 1}\n" for number in (1, 2))
    table.write_text(f"path,label,start,end\n{rows}", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"row 3 names .*/get by another query than a row before"):
        read_manifest(table)


def test_a_web_file_is_read_in_place_where_that_is_asked_for(web: Web, small_run: Path, small_set: Path) -> None:
    name = "walking/person01_walking_d1_uncomp.mp4"
    here = commands.predict(small_run, small_set / name)
    there = commands.predict(small_run, f"{web.url}/set/{name}", in_place=True)
    both = commands.predict(small_run, [f"{web.url}/set/{name}", small_set / name])
    assert isinstance(here, Predictions)
    assert isinstance(there, Predictions)
    assert isinstance(both, Predictions)
    confidence = here.predictions[0].confidence
    for found in (*there.predictions, *both.predictions):
        assert found.confidence == pytest.approx(confidence, abs=1e-6)
    with pytest.raises(UsageError, match="--in-place reads files at URLs"):
        commands.predict(small_run, small_set / name, in_place=True)
