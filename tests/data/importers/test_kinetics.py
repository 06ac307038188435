from __future__ import annotations

from pathlib import Path

import pytest
from annotated import imported, rows, touch

from marey import commands
from marey.errors import DatasetError

FORM = "kinetics"
HEADER = "label,youtube_id,time_start,time_end,split\n"


def write(folder: Path, *lines: str) -> Path:
    path = folder / "kinetics400_train.csv"
    path.write_text("\ufeff" + HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_clip_that_was_cut_is_a_file_and_one_of_a_whole_video_is_a_span(tmp_path: Path) -> None:
    touch(tmp_path, "walking/-dQw4w9WgXcQ_000010_000020.mp4", "waving/b_c.webm")
    source = write(
        tmp_path, "walking,-dQw4w9WgXcQ,10,20,train", "waving,b_c,0:01:00,70,validate", "waving,b_c,5,15,val"
    )
    found = imported(source, FORM)
    assert rows(found) == [
        ("-dQw4w9WgXcQ_000010_000020.mp4", "walking", None, None),
        ("b_c.webm", "waving", 60.0, 70.0),
        ("b_c.webm", "waving", 5.0, 15.0),
    ]
    assert [clip.split for clip in found.manifest.clips] == ["train", "val", "val"]


def test_videos_that_are_gone_from_youtube_stop_the_import_or_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a_000010_000020.mp4")
    source = write(tmp_path, "walking,a,10,20,train", "walking,gone,10,20,train")
    with pytest.raises(DatasetError, match="1 listed videos are not there: gone"):
        commands.exchange.import_data(source, out=tmp_path / "out.csv")
    made = commands.exchange.import_data(source, out=tmp_path / "out.csv", on_error="skip")
    assert len(made.manifest.clips) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("walking,a,ten,20,train", "row 2 has the time_start 'ten'"),
        ("walking,,1,2,train", "row 2 has no youtube_id"),
        ("walking,a,1,2", "row 2 has 4 values where the header has 5"),
        ("walking,a,20,10,train", "starts at 20 s and ends at 10 s"),
    ],
)
def test_what_cannot_be_used_is_named(line: str, message: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    with pytest.raises(DatasetError, match=message):
        imported(write(tmp_path, line), FORM)
