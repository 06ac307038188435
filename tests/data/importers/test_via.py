from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from annotated import imported, rows, touch, write_json

from marey.errors import DatasetError

HEADER = (
    "\ufeff# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)\n"
    "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n"
)


def project(*entries: dict[str, Any]) -> dict[str, Any]:
    return {
        "project": {"pname": "gestures", "vid_list": ["1", "2"]},
        "attribute": {"1": {"aname": "action", "type": 3, "options": {"0": "walk", "1": "wave"}}, "2": {"options": {}}},
        "file": {"1": {"fid": 1, "fname": "a.mp4", "src": "file:///home/x/a.mp4"}, "2": {"fid": 2, "fname": "b.mp4"}},
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": [2]}},
        "metadata": {f"1_{number}": entry for number, entry in enumerate(entries)},
    }


def entry(vid: str, z: Any, **values: str) -> dict[str, Any]:
    return {"vid": vid, "flg": 0, "z": z, "xy": [], "av": {key[1:]: value for key, value in values.items()}}


def test_segments_of_a_project_are_clips_in_seconds(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "sub/b.mp4")
    made = project(
        entry("1", [0.5, 1.75], _1="0"),
        entry("1", [2, 3.25], _2="typed words"),
        entry("2", [], _1="1"),
        entry("1", [2.5], _1="1"),
        entry("1", [4, 5]),
    )
    found = imported(write_json(tmp_path / "via.json", made), "via")
    assert rows(found) == [
        ("a.mp4", "walk", 0.5, 1.75),
        ("a.mp4", "typed words", 2.0, 3.25),
        ("b.mp4", "wave", None, None),
    ]
    assert "1 of single frames left aside; 1 without a label left aside" in found.notes[0]


def test_the_export_as_a_table_says_the_same(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    lines = ('"1_x","[""a.mp4""]","0","[0.5,1.75]","[]","{""TEMPORAL-SEGMENTS"":""walk""}"',)
    (tmp_path / "via.csv").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    assert rows(imported(tmp_path / "via.csv", "via")) == [("a.mp4", "walk", 0.5, 1.75)]


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (entry("1", ["x", 2], _1="0"), "the annotation 1_0 has 'x' where a number is expected"),
        (entry("1", [1, 2, 3], _1="0"), "has 3 times"),
        (entry("1", "soon", _1="0"), "has the times 'soon'"),
        (entry("1", [2, 1], _1="0"), "the end comes after it"),
        (entry("1", [1, 2], _1="0,1"), "has the labels walk and wave: a clip has one label"),
        (entry("9", [1, 2], _1="0"), "names no file"),
        (entry("1", [1, 2]) | {"av": {"1": ["0"]}}, "1 without a label left aside"),
    ],
)
def test_what_cannot_be_used_is_named(one: Any, message: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    with pytest.raises(DatasetError, match=message):
        imported(write_json(tmp_path / "via.json", project(one)), "via")


@pytest.mark.parametrize(
    "line", ["1_x,2", '"1_x","[""a.mp4""","0","[1,2]","[]","{}"', '"1_x", "a"b", 0,"[1,2]","[]","{}"']
)
def test_a_damaged_table_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "via.csv").write_text(HEADER + line + "\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="export again"):
        imported(tmp_path / "via.csv", "via")
