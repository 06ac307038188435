from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from annotated import imported, rows, touch, write_json

from marey.errors import DatasetError

FORM = "activitynet"


def database(**videos: Any) -> dict[str, Any]:
    return {"version": "VERSION 1.3", "taxonomy": [], "database": videos}


def video(*segments: Any, subset: str = "training") -> dict[str, Any]:
    annotations = [{"segment": [start, end], "label": label} for start, end, label in segments]
    return {"duration": 20.0, "subset": subset, "url": "https://host/x", "annotations": annotations}


def test_segments_are_clips_in_their_part_of_the_split(tmp_path: Path) -> None:
    touch(tmp_path, "v_sJULLKmNvAg.mkv", "videos/b-c.webm")
    made = database(
        sJULLKmNvAg=video((0.5, 2, "Walking"), (3.25, 4, "Waving")),
        **{"b-c": video((1, 2, "Waving"), subset="validation")},
        none=video(subset="testing"),
    )
    found = imported(write_json(tmp_path / "activity_net.v1-3.min.json", made), FORM)
    assert rows(found) == [
        ("v_sJULLKmNvAg.mkv", "Walking", 0.5, 2.0),
        ("v_sJULLKmNvAg.mkv", "Waving", 3.25, 4.0),
        ("b-c.webm", "Waving", 1.0, 2.0),
    ]
    assert [clip.split for clip in found.manifest.clips] == ["train", "train", "val"]
    assert "3 listed videos; 1 without segments left aside; 2 of 2 videos found" in found.notes[0]


def test_overlaps_with_another_label_are_counted_and_repeats_are_one_clip(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    made = database(a=video((1, 4, "Walking"), (1, 4, "Walking"), (2, 3, "Waving")))
    found = imported(write_json(tmp_path / "a.json", made), FORM)
    assert len(rows(found)) == 2
    assert "1 annotation said the same as another one; 1 span overlapped by one with another label" in found.notes[0]


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (video((float("nan"), 2, "w")), "the video a has nan where a number is expected"),
        (video((10**400, 2, "w")), "has a number of many digits where"),
        (video((3, 2, "w")), "the video a starts at 3 s and ends at 2 s"),
        (video((1, 2, 7)), "has the label '7': a name is expected"),
        ({"annotations": [{"segment": [1], "label": "w"}]}, r"has the segment \[1\]"),
        ("text", "holds no annotation of a video"),
    ],
)
def test_what_cannot_be_used_is_named(one: Any, message: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    with pytest.raises(DatasetError, match=message):
        imported(write_json(tmp_path / "a.json", database(a=one)), FORM)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\x00", '{"database": 3}', '"x"'])
def test_a_file_that_is_no_annotation_is_no_form_of_a_data_set(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match="is no form of a data set"):
        imported(tmp_path / "a.json", FORM)
