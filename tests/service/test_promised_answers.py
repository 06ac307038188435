"""Bounds on wrong answers, and sets of labels, over HTTP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from marey.client import Client
from marey.models import load_model, save_model
from marey.prediction import Predictor

pytest_plugins = ["service_fixtures"]


def test_a_bound_and_a_set_are_those_of_the_predictor_for_the_same_file(
    running: Any, small_run: Path, small_set: Path
) -> None:
    clips = sorted(small_set.rglob("*.mp4"))[::4]
    expected = Predictor(small_run).predict(clips, risk=0.2, sets=0.9)
    with Client(running.url) as service:
        for clip, wanted in zip(clips, expected, strict=True):
            found = service.predict(clip, risk=0.2, sets=0.9)
            assert (found.label, found.set) == (wanted.label, list(wanted.label_set))
            assert (found.set_level, found.set_guaranteed) == (0.9, wanted.set_guaranteed)
            assert found.risk is not None
            assert wanted.risk is not None
            assert found.risk.model_dump() == wanted.risk.as_dict()


def test_without_a_bound_nothing_is_promised(http: httpx.Client, clip: Path) -> None:
    answer = http.post("/predict", files={"file": clip.read_bytes()}).json()
    assert (answer["set"], answer["set_level"], answer["set_guaranteed"], answer["risk"]) == (None, None, None, None)


@pytest.mark.parametrize("query", ["risk=0", "risk=1", "sets=1.5", "sets=nan", "risk=0.1&threshold=0.5"])
def test_shares_that_cannot_be_are_refused(http: httpx.Client, clip: Path, query: str) -> None:
    refused = http.post(f"/predict?{query}", files={"file": clip.read_bytes()})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


def test_a_model_without_held_out_answers_promises_nothing_and_says_why(
    serve: Any, small_run: Path, clip: Path, tmp_path: Path
) -> None:
    save_model(replace(load_model(small_run), held_out=None), tmp_path / "plain")
    with serve(tmp_path / "jobs", models=[tmp_path / "plain"]) as served:
        refused = httpx.post(f"{served.url}/predict?risk=0.05", files={"file": clip.read_bytes()})
        assert (refused.status_code, refused.json()["code"]) == (422, "no_held_out_answers")
        assert "train it again" in refused.json()["detail"]
        assert httpx.post(f"{served.url}/predict", files={"file": clip.read_bytes()}).status_code == 200
