from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from html_page import Page
from marey.data import Leak
from marey.evaluation import ClipResult, Evaluation
from marey.reports import answer, write_report

SCRIPT = "<script>alert('x')</script>"


def evaluation(
    labels: tuple[str, ...] = ("boxing", "running", "walking"),
    *,
    failed: int = 0,
    leaks: tuple[Leak, ...] = (),
    grouped: bool = True,
    clips: int = 20,
    excluded: tuple[str, ...] = (),
) -> Evaluation:
    generator = np.random.default_rng(0)
    rows = []
    for clip in range(clips):
        given = tuple(generator.dirichlet(np.ones(len(labels))).tolist())
        group = f"p{clip % 5}" if grouped else None
        name, label = f"clips/{clip}.avi", labels[clip % len(labels)]
        rows.append(
            ClipResult(name, name, label, group, None, None, "truncated", "ends after 1.2 s")
            if clip < failed
            else ClipResult(name, name, label, group, clip % 5, given)
        )
    return Evaluation(labels, tuple(rows), leaks, "leave one group out, 5 folds", "c0ffee", 7, excluded)


def image_of(row: ClipResult) -> npt.NDArray[np.uint8] | None:
    return None if row.clip.endswith("3.avi") else np.full((480, 900, 3), 30, dtype=np.uint8)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_report_is_one_file(tmp_path: Path) -> None:
    histories = [{"train_loss": [1.0, 0.5], "val_loss": [1.0, 0.7], "val_macro_f1": [0.4, 0.6]}]
    path = write_report(
        evaluation(),
        tmp_path / "run",
        title="Arm gestures",
        recipe_text="encoder: tf_efficientnet_lite0",
        histories=histories,
        facts={"marey": "0.1.0"},
        mistake_image=image_of,
    )
    assert path == tmp_path / "run" / "report.html"
    page = Page(read(path))
    assert "script" not in page.tags
    assert "link" not in page.tags
    for image in page.images:
        assert str(image["src"]).startswith("data:image/")
        assert image["alt"]
    assert not re.search(r"https?://", read(path))
    for words in ("Arm gestures", "encoder: tf_efficientnet_lite0", "c0ffee", "leave one group out, 5 folds"):
        assert words in read(path)
    plots = {file.name for file in (path.parent / "plots").iterdir()}
    assert {"confusion.png", "per_class.png", "reliability.png", "curves.png", "mistake_01.png"} <= plots
    with Image.open(path.parent / "plots" / "mistake_01.png") as picture:
        assert picture.size == (640, 341)


def test_the_answer_comes_first_with_its_interval(tmp_path: Path) -> None:
    text = re.sub(r"<[^>]+>", "", read(write_report(evaluation(), tmp_path, title="t")).split("</header>")[0])
    assert answer(evaluation().metrics) in " ".join(text.split())


def test_labels_and_paths_of_strangers_are_text_and_nothing_else(tmp_path: Path) -> None:
    rows = (
        ClipResult(f"{SCRIPT}.avi", "x", SCRIPT, SCRIPT, 0, (0.1, 0.9)),
        ClipResult("bytes\udcff.avi", "x", '"><img src=x>', SCRIPT, 0, (0.1, 0.9)),
        ClipResult(f"{SCRIPT}2.avi", "x", SCRIPT, "p2", 0, None, "corrupt", SCRIPT),
    )
    leaks = (Leak("group", SCRIPT, ("a",), ("b",)),)
    strange = Evaluation((SCRIPT, '"><img src=x>'), rows, leaks, SCRIPT, SCRIPT, 0, (SCRIPT,))
    path = write_report(
        strange, tmp_path, title=SCRIPT, recipe_text=SCRIPT, facts={SCRIPT: SCRIPT}, mistake_image=image_of
    )
    page = Page(read(path))
    assert "script" not in page.tags
    assert all(str(image["src"]).startswith("data:image/") for image in page.images)
    assert "&lt;script&gt;alert(" in read(path)


def test_leaks_and_failed_clips_are_said_in_boxes_before_the_numbers(tmp_path: Path) -> None:
    leaks = (Leak("group", "p1", ("a.avi",), ("b.avi",)),)
    text = read(write_report(evaluation(failed=2, leaks=leaks), tmp_path, title="t"))
    before = text.split('id="numbers"')[0]
    assert before.count('<aside class="warning"') == 2
    assert "1 group (p1) is on both sides of the split" in before
    assert "2 clips could not be used" in before
    assert text.count("leaking split") == 2  # beside the answer, and beside the accuracy
    assert "ends after 1.2 s" in text


def test_an_honest_report_without_failures_has_no_warning(tmp_path: Path) -> None:
    text = read(write_report(evaluation(), tmp_path, title="t"))
    assert '<aside class="warning"' not in text
    assert "leaking split" not in text
    assert 'id="failed"' not in text


@pytest.mark.parametrize(
    "case",
    [
        evaluation(grouped=False),
        evaluation(clips=1),
        evaluation(clips=1, failed=1),
        evaluation(failed=20),
        evaluation(("a", "b"), clips=2),
        evaluation(excluded=("broken clip.avi",)),
    ],
    ids=["no groups", "one clip", "one failed clip", "all failed", "two clips", "excluded"],
)
def test_a_report_can_be_made_of_every_kind_of_test_set(case: Evaluation, tmp_path: Path) -> None:
    text = read(write_report(case, tmp_path, title="t", histories=[], mistake_image=image_of))
    Page(text)
    assert all(name in text for name in case.excluded)
    assert ("No groups are known" in text) == (case.rows[0].group is None)


def test_a_perfect_model_has_no_mistakes_and_is_not_called_certain(tmp_path: Path) -> None:
    rows = tuple(ClipResult(f"{clip}", f"{clip}", "a", f"p{clip}", None, (0.9, 0.1)) for clip in range(8))
    text = read(write_report(Evaluation(("a", "b"), rows, (), "", "", 0), tmp_path, title="t"))
    assert "The most confident mistakes" not in text
    assert "the interval is the exact one" in text


def test_a_second_report_leaves_no_picture_of_the_first(tmp_path: Path) -> None:
    histories = [{"train_loss": [1.0, 0.5]}]
    write_report(evaluation(), tmp_path, title="t", mistake_image=image_of, mistakes=9, histories=histories)
    first = len(list((tmp_path / "plots").glob("mistake_*.png")))
    write_report(evaluation(), tmp_path, title="t", mistake_image=image_of, mistakes=2)
    assert len(list((tmp_path / "plots").glob("mistake_*.png"))) <= 2 < first
    assert not (tmp_path / "plots" / "curves.png").exists()


def test_the_same_report_twice_has_the_same_bytes(tmp_path: Path) -> None:
    one = write_report(evaluation(), tmp_path / "one", title="t", mistake_image=image_of)
    two = write_report(evaluation(), tmp_path / "two", title="t", mistake_image=image_of)
    assert one.read_bytes() == two.read_bytes()
