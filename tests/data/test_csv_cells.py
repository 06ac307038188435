from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from marey.data import Clip, Manifest, load_data, write_manifest
from marey.data.csv_cells import CsvWriter, as_text, as_written

FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "- rest", "-nan x")


@pytest.mark.parametrize("cell", [*FORMULAS, "'=1", "''@x"])
def test_no_text_is_a_formula_and_all_read_back(cell: str) -> None:
    written = as_text(cell)
    assert written == "'" + cell
    assert as_written(written) == cell


@pytest.mark.parametrize("cell", ["-0.25", "+1", "-1e-9", "run", "it's", "'quoted'", "", "a=b", None, -3.5, 7])
def test_numbers_and_other_texts_stay(cell: object) -> None:
    assert as_text(cell) == cell
    if isinstance(cell, str):
        assert as_written(cell) == cell


def test_a_row_is_written_without_formulas() -> None:
    file = io.StringIO(newline="")
    CsvWriter(file).writerows([("=a", -1.5, None, "-2"), ("b", "@c", 3, "\t")])
    assert list(csv.reader(io.StringIO(file.getvalue(), newline=""))) == [
        ["'=a", "-1.5", "", "-2"],
        ["b", "'@c", "3", "'\t"],
    ]


def test_a_manifest_with_formulas_reads_back_the_same(tmp_path: Path) -> None:
    clips = []
    for number, label in enumerate(("=1+1", "@home", "-walk", "'=x")):
        path = tmp_path / f"-{number}.mp4"
        path.touch()
        clips.append(Clip(path, label=label, group="+g" if number else "-1"))
    manifest = Manifest(tuple(clips), root=tmp_path, source="a test", grouping="given")
    write_manifest(manifest, tmp_path / "clips.csv")
    text = (tmp_path / "clips.csv").read_text(encoding="utf-8")
    assert "\n-0.mp4" not in text
    assert ",-1," in text
    read = load_data(tmp_path / "clips.csv")
    assert [(clip.path.name, clip.label, clip.group) for clip in read.clips] == [
        (clip.path.name, clip.label, clip.group) for clip in clips
    ]
