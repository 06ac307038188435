from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from marey.prediction import Predictor
from marey.service import Layout
from waiting import PATIENCE, wait_until

pytest_plugins = ["service_fixtures"]

Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def expected(small_run: Path, small_set: Path) -> dict[Path, dict[str, float]]:
    clips = sorted(small_set.rglob("*.mp4"))[::2]
    found = Predictor(small_run).predict(clips)
    return {
        clip: dict(zip(each.labels, each.probabilities, strict=True)) for clip, each in zip(clips, found, strict=True)
    }


def probabilities(answer: dict[str, Any]) -> dict[str, float]:
    return {each["label"]: each["probability"] for each in answer["top"]}


def test_an_answer_is_what_the_predictor_says_to_the_same_file(
    http: httpx.Client, expected: dict[Path, dict[str, float]]
) -> None:
    for clip, wanted in expected.items():
        with clip.open("rb") as file:
            answer = http.post("/predict", files={"file": (clip.name, file)}).json()
        assert probabilities(answer) == pytest.approx(wanted, abs=1e-5)
        assert answer["label"] == max(wanted, key=lambda label: wanted[label])
        assert answer["confidence"] == pytest.approx(max(wanted.values()), abs=1e-5)
        assert answer["source"] == clip.name


def test_the_body_may_be_the_video_itself(http: httpx.Client, clip: Path, predict: Ask) -> None:
    form = predict(str(http.base_url).rstrip("/")).json()
    for kind in ("video/mp4", "application/octet-stream"):
        plain = http.post("/predict", content=clip.read_bytes(), headers={"Content-Type": kind}).json()
        assert plain["top"] == form["top"]


def test_of_a_form_only_the_part_called_file_is_taken(http: httpx.Client, clip: Path) -> None:
    reply = http.post("/predict", files={"file": ("a.mp4", clip.read_bytes())}, data={"note": "x" * 1000})
    assert reply.status_code == 200
    assert reply.json()["source"] == "a.mp4"


def test_below_the_threshold_the_label_is_null_and_the_probabilities_stay(http: httpx.Client, clip: Path) -> None:
    known, none = (
        http.post(f"/predict?threshold={threshold}", files={"file": clip.read_bytes()}).json() for threshold in (0, 1)
    )
    assert (known["label"], none["label"]) == (known["top"][0]["label"], None)
    assert (none["confidence"], none["top"]) == (known["confidence"], known["top"])
    for wrong in ("-0.1", "1.1", "nan", "much"):
        reply = http.post(f"/predict?threshold={wrong}", files={"file": clip.read_bytes()})
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid")


def test_no_more_classes_are_given_than_asked_for(http: httpx.Client, clip: Path) -> None:
    reply = http.post("/predict?top=1", files={"file": clip.read_bytes()})
    assert len(reply.json()["top"]) == 1


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(
            Layout(decoders=2, encoders=2, threads=1, batch=4, batch_wait=0.0),
            id="two encoders",
            marks=pytest.mark.long,
        ),
        pytest.param(
            Layout(decoders=1, encoders=1, threads=1, batch=8, batch_wait=0.05), id="one encoder that lingers"
        ),
        pytest.param(
            Layout(decoders=2, encoders=2, threads=1, batch=2, batch_wait=0.0, share="stream"),
            id="a stream a thread",
            marks=pytest.mark.long,
        ),
    ],
)
def test_of_many_callers_each_gets_the_answer_to_its_own_clip(
    serve: Any, tmp_path: Path, layout: Layout, expected: dict[Path, dict[str, float]]
) -> None:
    def call(url: str) -> list[tuple[Path, httpx.Response]]:
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            return [
                (clip, client.post("/predict", files={"file": (clip.name, clip.read_bytes())})) for clip in expected
            ]

    with serve(tmp_path / "jobs", layout=layout) as running, ThreadPoolExecutor(8) as pool:
        answers = [pair for found in pool.map(call, [running.url] * 8) for pair in found]
        metrics = httpx.get(f"{running.url}/metrics").text
    assert len(answers) == 8 * len(expected)
    for clip, reply in answers:
        assert reply.status_code == 200
        assert reply.json()["source"] == clip.name
        assert probabilities(reply.json()) == pytest.approx(expected[clip], abs=1e-5)
    counted = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    batches, clips = (float(counted[f"marey_batch_clips_{what}"]) for what in ("count", "sum"))
    assert clips >= max(batches, len(answers))  # how many went together depends on what else the machine does
    assert float(counted['marey_clips_total{model="small",outcome="labelled"}']) == len(answers)
    assert float(counted['marey_confidence_count{model="small"}']) == len(answers)
    confidences = [max(probabilities(reply.json()).values()) for _, reply in answers]
    assert float(counted['marey_confidence_sum{model="small"}']) == pytest.approx(sum(confidences), abs=1e-3)
    unfamiliar = sum(reply.json()["unknown"] for _, reply in answers)
    assert float(counted['marey_unfamiliar_clips_total{model="small"}']) == unfamiliar


def test_a_bad_file_harms_nobody_who_asks_at_the_same_time(
    running: Any, predict: Ask, expected: dict[Path, dict[str, float]]
) -> None:
    clips = list(expected)
    good = clips[0].read_bytes()
    sent = [b"no video", good, good[: len(good) // 2], clips[1].read_bytes(), b"\x00" * 5000, good] * 3
    with ThreadPoolExecutor(len(sent)) as pool:
        replies = list(pool.map(lambda content: predict(running.url, content), sent))
    assert [reply.status_code for reply in replies] == [415, 200, 422, 200, 415, 200] * 3
    assert [reply.json().get("code") for reply in replies[:3]] == ["not_video", None, "truncated"]
    for reply, content in zip(replies, sent, strict=True):
        if reply.status_code == 200:
            clip = clips[0] if content == good else clips[1]
            assert probabilities(reply.json()) == pytest.approx(expected[clip], abs=1e-5)


def test_nothing_is_left_of_an_upload_and_nothing_goes_to_the_cache(
    running: Any, predict: Ask, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    assert predict(running.url).status_code == 200
    assert predict(running.url, b"no video").status_code == 415
    wait_until(lambda: not list((running.jobs / "uploads").iterdir()))
    assert not (tmp_path / "cache").exists()


def test_several_models_answer_by_name(serve: Any, small_run: Path, tmp_path: Path, predict: Ask) -> None:
    runs = tmp_path / "runs"
    for name in ("first", "second"):
        (runs / name).mkdir(parents=True)
        (runs / name / "model").symlink_to(small_run / "model")
    (runs / "notes").mkdir()
    with serve(tmp_path / "jobs", models=[runs]) as running:
        listed = httpx.get(f"{running.url}/models").json()
        assert [(model["name"], model["default"]) for model in listed] == [("first", True), ("second", False)]
        assert listed[0]["labels"] == ["boxing", "walking"]
        assert predict(running.url).json()["model"] == "first"
        assert predict(running.url, params={"model": "second"}).json()["model"] == "second"
        refused = predict(running.url, params={"model": "secnd"})
        assert refused.status_code == 404
        assert "'second'" in refused.json()["detail"]
