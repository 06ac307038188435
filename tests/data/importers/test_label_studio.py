from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from annotated import imported, rows, touch, write_json

from marey import commands
from marey.data import ImportOptions, load_data
from marey.errors import DatasetError

FORM = "label studio"


def timeline(label: str, start: Any, end: Any) -> dict[str, Any]:
    value = {"ranges": [{"start": start, "end": end}], "timelinelabels": [label]}
    return {"id": "r1", "type": "timelinelabels", "from_name": "act", "to_name": "video", "value": value}


def task(video: str, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"video": video}, "annotations": [{"id": 1, "result": list(results), **more}]}


def test_ranges_of_frames_become_seconds_by_the_files_own_timestamps(two_rates: Path, tmp_path: Path) -> None:
    tasks = [
        task("/data/upload/1/1a2b3c4d-slower.mp4", timeline("walk", 1, 25), timeline("wave", 26, 30)),
        task("/data/local-files/?d=old%20place/steady.mp4", timeline("walk", 1, 50)),
    ]
    found = imported(write_json(tmp_path / "export.json", tasks), FORM, ImportOptions(videos=two_rates))
    assert rows(found) == [
        ("slower.mp4", "walk", 0.0, 1.0),
        ("slower.mp4", "wave", 1.0, 1.5),  # ten frames a second from there on
        ("steady.mp4", "walk", 0.0, 2.0),
    ]
    assert found.notes == (
        "matched: 2 tasks; 2 of 2 videos found, 2 by their names; 3 clips of 3 are spans; frames are converted to "
        "seconds by the timestamps of each file",
    )


def test_an_export_becomes_a_manifest_by_the_command(two_rates: Path, tmp_path: Path) -> None:
    source = write_json(
        tmp_path / "export.json", [task("steady.mp4", timeline("walk", 1, 25), timeline("wave", 26, 50))]
    )
    made = commands.exchange.import_data(source, out=tmp_path / "spans.csv", videos=two_rates)
    assert [(clip.label, clip.start, clip.end) for clip in load_data(made.path).clips] == [
        ("walk", 0.0, 1.0),
        ("wave", 1.0, 2.0),
    ]


def test_frames_counted_at_another_rate_are_converted_by_the_rate_that_is_stated(
    two_rates: Path, tmp_path: Path
) -> None:
    source = write_json(tmp_path / "export.json", [task("steady.mp4", timeline("walk", 31, 60))])
    with pytest.raises(DatasetError, match=r"task 7 has the frames 30 to 59, and the file has 50: .*--frame-rate"):
        imported(source, FORM, ImportOptions(videos=two_rates))
    found = imported(source, FORM, ImportOptions(videos=two_rates, frame_rate=30.0))
    assert rows(found) == [("steady.mp4", "walk", 1.0, 2.0)]
    assert "converted to seconds by 30 frames a second" in found.notes[0]


def test_a_box_is_there_from_an_enabled_keyframe_to_the_next_that_is_not(two_rates: Path, tmp_path: Path) -> None:
    def box(frames_count: int, *keys: tuple[int, bool]) -> dict[str, Any]:
        sequence = [{"frame": frame, "enabled": enabled, "x": 1, "time": 0} for frame, enabled in keys]
        return {
            "type": "videorectangle",
            "value": {"framesCount": frames_count, "sequence": sequence, "labels": ["walk"]},
        }

    tasks = [
        task("steady.mp4", box(50, (1, True), (10, True), (25, False), (41, True))),
        task("slower.mp4", box(103, (1, True), (30, False))),  # 3.44 s, which Label Studio took for 30 frames a second
    ]
    found = imported(write_json(tmp_path / "boxes.json", tasks), FORM, ImportOptions(videos=two_rates))
    assert rows(found) == [
        ("steady.mp4", "walk", 0.0, 1.0),
        ("steady.mp4", "walk", 1.6, 2.0),
        ("slower.mp4", "walk", 0.0, 1.0),
    ]


def test_choices_and_seconds_are_read_and_cancelled_annotations_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    choice = {"type": "choices", "value": {"choices": ["wave"]}}
    spoken = {"type": "labels", "value": {"start": 0.5, "end": 1.25, "labels": ["walk"]}}
    tasks = [
        task("https://host/x/a.mp4?key=1", choice),
        task("b.mp4", spoken),
        task("c.mp4", choice, was_cancelled=True),
    ]
    tasks[0]["annotations"].append(
        {"result": [{"type": "choices", "value": {"choices": ["walk"]}}], "ground_truth": True}
    )
    found = imported(write_json(tmp_path / "export.json", tasks), FORM)
    assert rows(found) == [("a.mp4", "walk", None, None), ("b.mp4", "walk", 0.5, 1.25)]
    assert (
        "3 tasks; 1 without an annotation of its time or kind left aside; 1 with several annotations" in found.notes[0]
    )


def test_the_short_export_is_read(two_rates: Path, tmp_path: Path) -> None:
    tasks = [
        {
            "id": 1,
            "annotator": 1,
            "video": "steady.mp4",
            "act": [{"ranges": [{"start": 1, "end": 25}], "timelinelabels": ["a"]}],
        },
        {"id": 2, "annotator": 1, "video": "slower.mp4", "choice": "b"},
    ]
    found = imported(write_json(tmp_path / "min.json", tasks), FORM, ImportOptions(videos=two_rates))
    assert rows(found) == [("steady.mp4", "a", 0.0, 1.0), ("slower.mp4", "b", None, None)]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([task("a.mp4", timeline("walk", "x", 5))], r"task 7, 'start' of a range, has 'x' where a number is expected"),
        ([task("a.mp4", timeline("walk", 1.5, 5))], "has 1.5 where a number of a frame is expected"),
        (
            [task("a.mp4", {"type": "labels", "value": {"start": 2, "end": 1, "labels": ["w"]}})],
            "the end comes after it",
        ),
        (
            [task("a.mp4", {"type": "choices", "value": {"choices": ["w", "v"]}})],
            "the labels w and v: a clip has one label",
        ),
        ([task("a.mp4", {"type": "choices", "value": {"choices": ["\ud800"]}})], "name the action in words"),
        ([{"id": 7, "data": {}, "annotations": [{"result": [timeline("w", 1, 2)]}]}], "task 7 names no video"),
        ([{"id": 7, "data": ["a.mp4"], "annotations": [{"result": [timeline("w", 1, 2)]}]}], "task 7 names no video"),
        (
            [
                task("a.mp4", {"type": "choices", "value": {"choices": ["w"]}}),
                task("a.mp4", {"type": "choices", "value": {"choices": ["v"]}}),
            ],
            "has the label 'v' of .*a.mp4, and task 7 has 'w'",
        ),
        ([task("a.mp4")], "holds no annotation of a video"),
        ([task("gone.mp4", {"type": "choices", "value": {"choices": ["w"]}})], "none of 1 listed video is there"),
    ],
)
def test_what_cannot_be_used_is_named(tasks: Any, message: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    with pytest.raises(DatasetError, match=message):
        imported(write_json(tmp_path / "export.json", tasks), FORM)
