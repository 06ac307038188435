from __future__ import annotations

import csv
import io
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from marey.cli.tables import comparison_table
from marey.evaluation import Difference, Interval, PooledScores
from marey.reports import Cost, Entry, TrainingTime, comparison_summary, write_comparison
from marey.reports.comparison import seconds, short, signed
from marey.reports.comparison_plot import Mark, plot_comparison

SCRIPT = "<script>alert('x')</script>"


def entry(
    name: str,
    accuracy: float,
    *,
    p: float | None = None,
    flops: int = 10**9,
    description: str = "",
    leak: str | None = None,
    whole: bool = True,
) -> Entry:
    interval = Interval("groups", 10, accuracy=(accuracy - 0.1, min(1.0, accuracy + 0.05)), macro_f1=(0.2, 0.9))
    return Entry(
        name,
        description,
        pooled=PooledScores(180, accuracy, accuracy - 0.01, interval),
        seeds={0: (accuracy, accuracy), 1: (accuracy, 0.5)},
        cost=Cost(115_206, 3_370_000, flops, 1.91, 8, "cpu"),
        time=TrainingTime(61.3, 3840, 4.4, whole),
        behind=None if p is None else Difference(180, 10, 0.9 - accuracy, (0.01, 0.2), p / 2),
        p=p,
        leak=leak,
    )


BEST, WORSE, LEVEL = entry("best", 0.9), entry("worse", 0.6, p=0.002), entry("level", 0.88, p=0.6)
FAILED = Entry("far", "An encoder that is not here.", failure="the pretrained weights are not on this machine")


def page(out: Path, *entries: Entry, title: str = "3 recipes on clips") -> str:
    write_comparison(
        entries, out, title=title, protocol="leave one group out", notes=["A note."], facts={"seeds": "0, 1"}
    )
    return (out / "compare.html").read_text(encoding="utf-8")


def test_the_page_names_the_best_recipe_and_the_significantly_worse_ones(tmp_path: Path) -> None:
    text = page(tmp_path, BEST, LEVEL, WORSE)
    assert "best is best. worse is significantly worse. level may be as good" in text
    assert "<strong>0.002</strong>" in text
    assert "0.6</td>" in text
    assert text.index(">best</th>") < text.index(">level</th>") < text.index(">worse</th>")
    assert 'href="worse/seed-1/report.html"' in text
    for part in ("0.900", "[0.80, 0.95]", "-0.300", "115 k", "3.37 M", "1 G", "61 s", "cold", "4.4 s", "A note."):
        assert part in text


def test_the_page_contains_its_plot_and_loads_nothing(tmp_path: Path) -> None:
    text = page(tmp_path, BEST, WORSE)
    assert 'src="data:image/png;base64,' in text
    assert not re.search(r'(src|href)="(https?:)?//', text)
    with Image.open(tmp_path / "compare.png") as image:
        assert image.width > 600


def test_untrusted_names_are_escaped(tmp_path: Path) -> None:
    text = page(tmp_path, entry(SCRIPT, 0.9, description=SCRIPT), Entry(SCRIPT, "", failure=SCRIPT), title=SCRIPT)
    assert "<script" not in text


def test_a_recipe_that_failed_is_shown_with_its_reason(tmp_path: Path) -> None:
    text = page(tmp_path, BEST, FAILED)
    assert "1 recipe could not be run" in text
    assert "the pretrained weights are not on this machine" in text
    alone = page(tmp_path, FAILED)
    assert "No recipe could be run." in alone
    assert not (tmp_path / "compare.png").exists()


def test_a_leaking_split_is_shown_beside_the_number(tmp_path: Path) -> None:
    text = page(tmp_path, entry("best", 0.9, leak="3 groups are on both sides of the split"), WORSE)
    assert "3 groups are on both sides" in text
    assert text.count('class="badge"') == 1


def test_an_interruption_is_shown_beside_the_time(tmp_path: Path) -> None:
    assert "cold, interrupted" in page(tmp_path, entry("best", 0.9, whole=False))


def test_the_files_contain_every_number_of_the_page(tmp_path: Path) -> None:
    page(tmp_path, BEST, WORSE, FAILED)
    with (tmp_path / "compare.csv").open(newline="", encoding="utf-8") as file:
        best, worse, far = csv.DictReader(file)
    assert (best["recipe"], best["accuracy"], best["accuracy_low"], best["p_holm"]) == ("best", "0.9", "0.8", "")
    assert (worse["p_holm"], worse["flops_a_clip"], worse["cache"], worse["seeds"]) == (
        "0.002",
        "1000000000",
        "cold",
        "2",
    )
    assert (far["accuracy"], far["failure"]) == ("", FAILED.failure)
    values = json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))
    assert values["protocol"] == "leave one group out"
    assert [recipe["recipe"] for recipe in values["recipes"]] == ["best", "worse", "far"]
    assert values["recipes"][1]["behind"]["p"] == 0.001
    assert values["recipes"][0]["seeds"]["1"] == [0.9, 0.5]
    assert not list(tmp_path.glob(".*"))


def test_the_table_for_a_terminal_has_a_row_a_recipe() -> None:
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(comparison_table([BEST, WORSE, FAILED]))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "0.900 [0.80, 0.95]" in text
    assert "-0.300" in text
    assert "could not be run" in text


def test_the_result_is_one_sentence() -> None:
    assert comparison_summary([BEST]) == "best is the only recipe that was run."
    assert comparison_summary([BEST, LEVEL]) == "best is best. level may be as good: the difference is not significant."
    both = comparison_summary([BEST, WORSE, entry("poor", 0.5, p=0.01)])
    assert both == "best is best. worse and poor are significantly worse."
    alike = comparison_summary([BEST, entry("other", 0.9, p=1.0), WORSE])
    assert alike == "best and other are equally good, and best. worse is significantly worse."


@pytest.mark.parametrize(
    ("number", "text"), [(7, "7"), (7_694, "7.69 k"), (24.6e9, "24.6 G"), (999.9e9, "1,000 G"), (None, "–")]
)
def test_large_numbers_are_short(number: float | None, text: str) -> None:
    assert short(number) == text


def test_long_durations_are_in_minutes_or_hours() -> None:
    numbers = (0.44, 9.97, 61.3, 99.6, 312.0, 1456.0, 7200.0, 36e5, None)
    texts = ["0.4 s", "10 s", "61 s", "1.7 min", "5.2 min", "24 min", "2.0 h", "1,000 h", "–"]
    assert [seconds(number) for number in numbers] == texts


def test_overlapping_names_and_points_are_moved_apart() -> None:
    marks = [Mark(f"recipe {number}", 0.8, (0.7, 0.9), 2e9) for number in range(12)]
    figure = plot_comparison([*marks, Mark("$x_1^2$ 走る", 0.2, None, 1e6)])
    (axes,) = figure.axes
    names = sorted(text.xyann[1] for text in axes.texts)  # type: ignore[attr-defined]
    assert min(high - low for low, high in pairwise(names)) > 0.04
    assert 0 <= names[0] <= names[-1] <= 1
    points = {tuple(map(float, dots.get_offsets()[0])) for dots in axes.collections if len(dots.get_offsets()) == 1}  # type: ignore[index, arg-type]
    assert len(points - {(0.0, 0.0)}) == 13  # lines lie there


def test_a_difference_of_zero_has_no_sign() -> None:
    assert [signed(number, 2) for number in (0.129, -0.3, -0.001, 0.0)] == ["+0.13", "-0.30", "0.00", "0.00"]
