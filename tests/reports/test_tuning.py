from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from marey.evaluation import ClipResult, Evaluation, Metrics
from marey.reports import plot_history, write_tuning
from marey.training.tune import Trial

SCRIPT = "<script>alert('x')</script>"


def reached() -> Metrics:
    rows = tuple(ClipResult(f"{n}", f"{n}.avi", "ab"[n % 2], f"p{n % 3}", None, (0.9, 0.1)) for n in range(12))
    return Evaluation(("a", "b"), rows, (), "25% of the clips held out", "c0ffee", 0).metrics


TRIALS = (
    Trial(0, "complete", {"training.epochs": 60, "encoder.grid": (3, 2)}, 0.81, None),
    Trial(1, "failed", {"training.epochs": 5, "encoder.grid": None}, None, "no weights"),
    Trial(2, "pruned", {"training.epochs": 9, "encoder.grid": (1, 1)}, 0.4, None),
    Trial(3, "complete", {"training.epochs": 31, "encoder.grid": (3, 2)}, 0.92, None),
)


def page(
    out: Path, *trials: Trial, title: str = "default on clips", importances: dict[str, float] | None = None
) -> str:
    best = max((trial for trial in trials if trial.state == "complete"), key=lambda trial: trial.score or 0.0)
    write_tuning(
        trials, best, importances or {}, reached(), out, title=title, notes=["A note."], facts={"sampler": "tpe"}
    )
    return (out / "tune.html").read_text(encoding="utf-8")


def test_the_page_shows_the_best_values_and_their_test(tmp_path: Path) -> None:
    text = page(tmp_path, *TRIALS, importances={"training.epochs": 0.75, "encoder.grid": 0.25})
    assert "<strong>6 of 12</strong> clips correct (0.50, " in text
    assert "with the best of 3 trials, 25% of the clips held out" in text
    for part in ("<td>31</td>", "<td>(3, 2)</td>", "0.920", "0.810", "0.75", "failed: no weights", "pruned", "A note."):
        assert part in text
    assert text.count('src="data:image/png;base64,') == 2
    assert not re.search(r'(src|href)="(https?:)?//', text)
    for name in ("history.png", "importance.png"):
        with Image.open(tmp_path / name) as image:
            assert image.width > 600


def test_without_importances_there_is_no_plot_of_them(tmp_path: Path) -> None:
    page(tmp_path, *TRIALS, importances={"training.epochs": 1.0})
    text = page(tmp_path, TRIALS[0])
    assert text.count('src="data:image/png;base64,') == 1
    assert not (tmp_path / "importance.png").exists()


def test_untrusted_texts_are_escaped(tmp_path: Path) -> None:
    trials = (replace(TRIALS[0], parameters={SCRIPT: SCRIPT}), replace(TRIALS[1], reason=SCRIPT))
    assert "<script" not in page(tmp_path, *trials, title=SCRIPT, importances={SCRIPT: 1.0})


def test_the_file_contains_every_trial(tmp_path: Path) -> None:
    page(tmp_path, *TRIALS)
    values = json.loads((tmp_path / "tune.json").read_text(encoding="utf-8"))
    assert [trial["state"] for trial in values["trials"]] == ["complete", "failed", "pruned", "complete"]
    assert values["best"]["parameters"] == {"training.epochs": 31, "encoder.grid": [3, 2]}
    assert values["test"]["accuracy"] == 0.5


def test_the_history_has_a_dot_a_trial_and_the_best_so_far() -> None:
    (axes,) = plot_history(TRIALS).axes
    assert [len(np.asarray(dots.get_offsets())) for dots in axes.collections] == [2, 1]
    (line,) = axes.lines
    assert np.asarray(line.get_ydata()).tolist() == [0.81, 0.92, 0.92]
    assert axes.get_title(loc="left") == "Validation macro F1, best 0.920"
