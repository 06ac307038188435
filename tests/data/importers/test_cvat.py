from __future__ import annotations

from pathlib import Path

import pytest
from annotated import imported, rows, touch

from marey.data import ImportOptions
from marey.errors import DatasetError

META = "<version>1.1</version><meta><task><id>7</id><name>gestures</name><source>steady.mp4</source></task></meta>"


def write(folder: Path, inside: str, *, before: str = "<?xml version='1.0' encoding='utf-8'?>") -> Path:
    path = folder / "annotations.xml"
    path.write_text(f"{before}<annotations>{inside}</annotations>", encoding="utf-8")
    return path


def box(frame: int | str, outside: int = 0, action: str = "") -> str:
    inner = f'<attribute name="Action">{action}</attribute>' if action else ""
    return f'<box frame="{frame}" outside="{outside}" keyframe="1" xtl="1" ytl="1" xbr="9" ybr="9">{inner}</box>'


def test_a_track_is_there_until_the_frame_before_it_is_outside(two_rates: Path, tmp_path: Path) -> None:
    track = f'<track id="0" label="walk">{box(0)}{box(10)}{box(25, 1)}{box(40)}{box(49)}</track>'
    found = imported(write(tmp_path, META + track), "cvat", ImportOptions(videos=two_rates))
    assert rows(found) == [("steady.mp4", "walk", 0.0, 1.0), ("steady.mp4", "walk", 1.6, 2.0)]
    assert found.notes[0].startswith("matched: 1 track; 1 of 1 video found")


def test_the_attribute_action_is_the_label_of_a_person(two_rates: Path, tmp_path: Path) -> None:
    track = f'<track id="0" label="person">{box(0, action="walk")}{box(25, action="wave")}{box(50, 1)}</track>'
    found = imported(write(tmp_path, META + track), "cvat", ImportOptions(videos=two_rates))
    assert rows(found) == [("steady.mp4", "walk", 0.0, 1.0), ("steady.mp4", "wave", 1.0, 2.0)]


def test_images_in_a_row_with_one_tag_are_a_span(two_rates: Path, tmp_path: Path) -> None:
    def image(number: int, label: str) -> str:
        return f'<image id="{number}" name="frame_{number:06d}"><tag label="{label}"/><box label="person"/></image>'

    every_fifth = META.replace("</task>", "<frame_filter>step=5</frame_filter></task>")
    inside = "".join(image(number, "walk" if number < 25 else "wave") for number in (0, 5, 10, 15, 20, 25, 35, 40))
    found = imported(write(tmp_path, every_fifth + inside), "cvat", ImportOptions(videos=two_rates))
    assert rows(found) == [
        ("steady.mp4", "walk", 0.0, 1.0),
        ("steady.mp4", "wave", 1.0, 1.2),
        ("steady.mp4", "wave", 1.4, 1.8),
    ]


def test_tracks_of_a_project_are_those_of_their_tasks_videos(two_rates: Path, tmp_path: Path) -> None:
    tasks = "".join(
        f"<task><id>{number}</id><source>{name}</source></task>"
        for number, name in ((3, "steady.mp4"), (4, "slower.mp4"))
    )
    inside = f"<meta><project><id>1</id><tasks>{tasks}</tasks></project></meta>" + "".join(
        f'<track id="{number}" label="walk" task_id="{number}">{box(0)}{box(25, 1)}</track>' for number in (3, 4)
    )
    found = imported(write(tmp_path, inside), "cvat", ImportOptions(videos=two_rates))
    assert rows(found) == [("steady.mp4", "walk", 0.0, 1.0), ("slower.mp4", "walk", 0.0, 1.0)]


BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("inside", "before", "message"),
    [
        (META + "<x>&b;</x>", BOMB, "declares a document type"),
        (META, '<!DOCTYPE a SYSTEM "file:///etc/passwd">', "declares a document type"),
        (META + "<x>" * 2000, "", "nests more than 32 elements"),
        (META + "<track>", "", "is no XML, or a damaged one"),
        (META, '<?xml version="1.0" encoding="utf-99"?>', "is no XML, or a damaged one"),
        ("<track/>", "", "names no video"),
        (META + f'<track id="0" label="walk">{box("x")}</track>', "", "track 0 has the frame 'x'"),
        (META + f'<track id="0" label="walk">{box("9" * 5000)}</track>', "", "track 0 has the frame '9999"),
        (META + f'<track id="0" label=" ">{box(0)}</track>', "", "name the action in words"),
        (META, "", "holds no annotation of a video"),
    ],
)
def test_damaged_and_hostile_xml_is_refused(inside: str, before: str, message: str, tmp_path: Path) -> None:
    touch(tmp_path, "steady.mp4")
    with pytest.raises(DatasetError, match=message):
        imported(write(tmp_path, inside, before=before), "cvat")
