from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marey.data import Clip, Manifest, load_data, read_manifest, write_manifest
from marey.errors import DatasetError


def table(folder: Path, text: str, *, files: str = "a.mp4 b.mp4", encoding: str = "utf-8") -> Path:
    for name in files.split():
        (folder / name).touch()
    path = folder / "list.csv"
    path.write_bytes(text.encode(encoding))
    return path


def error_of(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        read_manifest(path)
    return str(caught.value)


def test_a_manifest_needs_paths_only(tmp_path: Path) -> None:
    manifest = read_manifest(table(tmp_path, "path\na.mp4\nb.mp4\n"))
    assert manifest.clips == (Clip(tmp_path / "a.mp4"), Clip(tmp_path / "b.mp4"))
    assert manifest.root == tmp_path
    assert "list.csv" in manifest.source
    assert manifest.grouping == "no groups known: every file is its own group"


def test_every_column_is_read(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label,group,start,end,split\na.mp4,walk,p1,0.5,2,train\nb.mp4,run,,,,\n")
    manifest = read_manifest(path)
    assert manifest.clips == (
        Clip(tmp_path / "a.mp4", "walk", "p1", 0.5, 2.0, "train"),
        Clip(tmp_path / "b.mp4", "run"),
    )
    assert manifest.grouping == ("groups from the column 'group': 1 group; 1 file without one, each its own group")


def test_a_spreadsheet_s_byte_order_mark_line_ends_and_empty_lines_do_no_harm(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        'Path, Label\r\na.mp4,"walk, slowly"\r\n,\r\n\r\nb.mp4,"say ""hi"""\r\n',
        encoding="utf-8-sig",
    )
    assert [clip.label for clip in read_manifest(path).clips] == ["walk, slowly", 'say "hi"']


def test_names_with_spaces_commas_and_other_alphabets_come_back(tmp_path: Path) -> None:
    names = ["a b.mp4", "ходьба, медленно.mp4", '"歩く".mp4', " été.mp4"]
    for name in names:
        (tmp_path / name).touch()
    clips = tuple(Clip(tmp_path / name, f"label, {index}", f"g {index}") for index, name in enumerate(names))
    for suffix in (".csv", ".parquet"):
        write_manifest(Manifest(clips, tmp_path, "", ""), tmp_path / f"list{suffix}")
        assert read_manifest(tmp_path / f"list{suffix}").clips == clips


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name in ("in/a.mp4", "out/b.mp4"):
        (tmp_path / name).touch()
    clips = (
        Clip(tmp_path / "in/a.mp4", "walk", "p1", 0.1, 1 / 3, "train"),
        Clip(tmp_path / "in/a.mp4", "run", None, 1 / 3, None, "val"),
        Clip(tmp_path / "out/b.mp4", "run", "p2", None, 86_399.123456789, "test"),
    )
    path = tmp_path / "in" / f"list{suffix}"
    write_manifest(Manifest(clips, tmp_path, "", ""), path)
    assert read_manifest(path).clips == clips
    assert [child.name for child in sorted((tmp_path / "in").iterdir())] == ["a.mp4", path.name]


def test_a_manifest_travels_with_the_files_below_it(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "walk").mkdir(parents=True)
    (here / "walk" / "a.mp4").touch()
    write_manifest(Manifest((Clip(here / "walk" / "a.mp4", "walk"),), here, "", ""), here / "list.csv")
    assert (here / "list.csv").read_text().splitlines()[1] == "walk/a.mp4,walk,,,,"
    here.rename(there)
    assert read_manifest(there / "list.csv").clips[0].path == there / "walk" / "a.mp4"


def test_a_data_frame_written_as_parquet_is_read(tmp_path: Path) -> None:
    table(tmp_path, "")
    frame = pa.table(
        {
            "path": pa.array(["a.mp4", "b.mp4"]).dictionary_encode(),
            "label": pa.array([0, 1]),
            "start": pa.array([math.nan, 1.0]),
            "end": pa.array([None, 2], pa.int64()),
        }
    )
    pq.write_table(frame, tmp_path / "list.parquet")
    assert read_manifest(tmp_path / "list.parquet").clips == (
        Clip(tmp_path / "a.mp4", "0"),
        Clip(tmp_path / "b.mp4", "1", None, 1.0, 2.0),
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("c.mp4,walk,,,,", ["'c.mp4'", "not there"]),
        ("dir,walk,,,,", ["names the folder 'dir'"]),
        ("sub\\a.mp4,walk,,,,", ["'sub\\\\a.mp4'", "forward slashes"]),
        (f"{'x' * 5000}.mp4,walk,,,,", ["not there"]),
        (",walk,,,,", ["no path"]),
        ("b.mp4,walk,,5,3,", ["starts at 5 and ends at 3", "after the start"]),
        ("b.mp4,walk,,5,5,", ["starts at 5 and ends at 5"]),
        ("b.mp4,walk,,,0,", ["starts at 0 and ends at 0"]),
        ("b.mp4,walk,,-1,3,", ["start '-1'", "from 0"]),
        ("b.mp4,walk,,1,-3,", ["end '-3'"]),
        ('b.mp4,walk,,"1,5",3,', ["start '1,5'", "with a point"]),
        ("b.mp4,walk,,0:75,3,", ["start '0:75'", "hh:mm:ss"]),
        ("b.mp4,walk,,nan,3,", ["start 'nan'"]),
        ("b.mp4,walk,,0,inf,", ["end 'inf'"]),
        ("b.mp4,walk,,,,dev", ["split 'dev'", "train, val, test"]),
        ("b.mp4,,,,,", ["no label"]),
        ("b.mp4, ,,,,", ["no label"]),
        ("b.mp4,walk", ["2 values where the header has 6", "(b.mp4,walk)"]),
        ("b.mp4,walk, slowly,,,,", ["7 values where the header has 6", "quote a value that holds a comma"]),
        ("a.mp4,run,,,,", ["repeats row 2"]),
    ],
)
def test_a_bad_row_is_named_with_its_value_and_the_way_out(tmp_path: Path, row: str, said: list[str]) -> None:
    (tmp_path / "dir").mkdir()
    message = error_of(table(tmp_path, f"path,label,group,start,end,split\na.mp4,walk,,,,\n{row}\n"))
    assert "row 3 " in message
    for words in said:
        assert words in message


def test_all_bad_rows_are_named_at_once_in_their_order(tmp_path: Path) -> None:
    message = error_of(table(tmp_path, "path,label,start\na.mp4,walk,x\nb.mp4\n\nc.mp4,,-2\n"))
    assert [line.split(" has ")[0].split(" names ")[0].strip() for line in message.splitlines()[1:]] == [
        "row 2",
        "row 3",
        "row 5",
        "row 5",
        "row 5",
    ]


def test_many_bad_rows_are_counted(tmp_path: Path) -> None:
    message = error_of(table(tmp_path, "path\n" + "".join(f"{index}.mp4\n" for index in range(25))))
    assert len(message.splitlines()) == 12
    assert message.endswith("and 15 more")


def test_a_missing_file_is_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    manifest = read_manifest(table(tmp_path, "path\nc.mp4\n"), missing="keep")
    assert manifest.clips == (Clip(tmp_path / "c.mp4"),)


def test_spans_of_one_file_are_clips_of_their_own(tmp_path: Path) -> None:
    manifest = read_manifest(table(tmp_path, "path,start,end\na.mp4,0,1\na.mp4,1,2\n"))
    assert [clip.id for clip in manifest.clips] == [f"{tmp_path.as_posix()}/a.mp4@{span}" for span in ("0-1", "1-2")]


@pytest.mark.parametrize("name", ["validation", "Valid", " VAL "])
def test_other_tools_names_of_the_validation_part_are_understood(tmp_path: Path, name: str) -> None:
    assert read_manifest(table(tmp_path, f"path,split\na.mp4,{name}\n")).clips[0].split == "val"


@pytest.mark.parametrize(
    ("header", "meant"),
    [("path,lable", "label"), ("path,subject", "group"), ("path,class", "label"), ("path,subset", "split")],
)
def test_a_misnamed_column_is_refused_with_the_name_that_was_meant(tmp_path: Path, header: str, meant: str) -> None:
    message = error_of(table(tmp_path, f"{header}\na.mp4,x\n"))
    assert f"did you mean '{meant}'?" in message
    assert repr(header.split(",")[1]) in message


def test_another_column_is_left_aside_and_that_is_said(tmp_path: Path) -> None:
    path = table(tmp_path, "path,site,fps,label,action,\na.mp4,Lyon,25,walk,7,\n")
    manifest = read_manifest(path)
    assert manifest.clips == (Clip(tmp_path / "a.mp4", "walk"),)
    assert manifest.notes == ("columns left aside: 'site', 'fps', 'action', ''",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path;label\na.mp4;walk\n", "separated by semicolons"),
        ("path\tlabel\na.mp4\twalk\n", "separated by tabs"),
        ("filename,label\na.mp4,walk\n", "did you mean 'path'?"),
        ("x,y\na.mp4,walk\n", "no column 'path', only 'x', 'y'"),
        ("path,label,label\na.mp4,walk,run\n", "'label' twice"),
        ("", "is empty"),
        ("path,label\n", "lists no clips"),
        ('path,label\n"a.mp4,walk\n', "not a CSV file"),
    ],
)
def test_a_table_that_is_no_manifest_is_refused_with_the_reason(tmp_path: Path, text: str, said: str) -> None:
    assert said in error_of(table(tmp_path, text))


def test_a_table_in_another_encoding_is_refused_with_the_way_out(tmp_path: Path) -> None:
    assert "CSV UTF-8" in error_of(table(tmp_path, "path,label\na.mp4,été\n", encoding="latin-1"))


def test_a_manifest_that_is_not_there_or_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in error_of(tmp_path / "none.csv")
    assert "cannot be read as Parquet" in error_of(tmp_path / "none.parquet")
    (tmp_path / "list.parquet").write_text("path\na.mp4\n")
    assert "cannot be read as Parquet" in error_of(tmp_path / "list.parquet")
    assert ".csv or .parquet" in error_of(tmp_path / "list.txt")
    with pytest.raises(DatasetError, match=r"\.csv or \.parquet"):
        write_manifest(Manifest((), tmp_path, "", ""), tmp_path / "list.json")


def test_labels_that_differ_only_in_case_are_refused_with_their_rows(tmp_path: Path) -> None:
    message = error_of(table(tmp_path, "path,label\na.mp4,Walk\nb.mp4,walk\n"))
    assert "'Walk' (row 2 of" in message
    assert "'walk' (row 3 of" in message


def test_a_label_is_the_same_however_its_accents_are_encoded(tmp_path: Path) -> None:
    manifest = read_manifest(table(tmp_path, "path,label\na.mp4,caf\u00e9\nb.mp4,cafe\u0301\n"))
    assert manifest.labels == ("caf\u00e9",)


def test_clips_with_and_without_labels_are_not_written_together(tmp_path: Path) -> None:
    clips = (Clip(tmp_path / "a.mp4", "walk"), Clip(tmp_path / "b.mp4"))
    with pytest.raises(DatasetError, match=r"1 of 2 clips have no label .*b\.mp4"):
        write_manifest(Manifest(clips, tmp_path, "", ""), tmp_path / "list.csv")
    assert list(tmp_path.iterdir()) == []


def test_groups_of_known_file_names_are_found_in_a_manifest(tmp_path: Path) -> None:
    files = "person01_walking_d1.avi person02_walking_d1.avi"
    path = table(tmp_path, "path\n" + files.replace(" ", "\n"), files=files)
    assert load_data(path).grouping == "groups by the pattern 'kth': 2 groups"


def test_times_may_be_written_as_a_clock_shows_them(tmp_path: Path) -> None:
    path = table(tmp_path, 'path,start,end\na.mp4,0:05,00:01:02.5\na.mp4,1:00:00,"01:00:01,250"\n')
    assert [(clip.start, clip.end) for clip in read_manifest(path).clips] == [(5.0, 62.5), (3600.0, 3601.25)]


def test_frames_become_seconds_by_the_files_own_timestamps(two_rates: Path, tmp_path: Path) -> None:
    lines = [f"{two_rates / name}.mp4,walk,{span}" for name in ("steady", "slower") for span in ("0,24", "25,29")]
    path = table(tmp_path, "path,label,start_frame,end_frame\n" + "\n".join(lines) + "\n")
    manifest = read_manifest(path)
    spans = [(round(clip.start or 0.0, 3), round(clip.end or 0.0, 3)) for clip in manifest.clips]
    assert spans == [(0.0, 1.0), (1.0, 1.2), (0.0, 1.0), (1.0, 1.5)]
    assert manifest.notes == (
        "start_frame and end_frame are converted to seconds by the timestamps of each file; frames count from 0, and "
        "the end frame belongs to the clip",
    )
    write_manifest(manifest, tmp_path / "seconds.csv")
    assert [clip.end for clip in read_manifest(tmp_path / "seconds.csv").clips] == [clip.end for clip in manifest.clips]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (",,0,51", "row 2 has the frames 0 to 51, and the file has 50"),
        (",,9,8", "row 2 has the frames 9 to 8"),
        (",,x,8", "row 2 has the frames 'x' and '8'"),
        (",,3,", "row 2 has the frames '3' and None"),
        ("1,2,3,4", "row 2 has seconds and frames"),
    ],
)
def test_frames_that_are_not_there_are_named(cells: str, message: str, two_rates: Path, tmp_path: Path) -> None:
    path = table(tmp_path, f"path,start,end,start_frame,end_frame\n{two_rates / 'steady.mp4'},{cells}\n")
    assert message in error_of(path)


def test_a_file_whose_frames_cannot_be_counted_stays_in_the_manifest(tmp_path: Path) -> None:
    path = table(tmp_path, "path,start_frame,end_frame\na.mp4,0,24\na.mp4,25,49\n")
    assert [(clip.start, clip.end) for clip in read_manifest(path).clips] == [(0.0, 1.0), (1.0, 2.0)]


@pytest.mark.parametrize(
    "text",
    [
        'path,label\na.mp4,walk\nb.mp4,wave\nc.mp4,"walk,wave"\n',
        "path,label\na.mp4,walk\nb.mp4,wave\nc.mp4,wave|walk\n",
        "path,labels\na.mp4,walk\nb.mp4,walk|wave\n",
    ],
)
def test_several_labels_of_one_clip_are_no_class(text: str, tmp_path: Path) -> None:
    message = error_of(table(tmp_path, text, files="a.mp4 b.mp4 c.mp4"))
    assert "a clip has one label: keep one of them, or make a clip of each span (start, end)" in message


def test_a_comma_in_a_label_whose_parts_are_no_classes_is_a_comma(tmp_path: Path) -> None:
    path = table(tmp_path, 'path,label\na.mp4,"sit down, slowly"\nb.mp4,sit down\n')
    assert read_manifest(path).labels == ("sit down", "sit down, slowly")
