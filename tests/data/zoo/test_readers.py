from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from marey.data.clip import Clip
from marey.data.zoo.readers import (
    KTH_ACTIONS,
    WEIZMANN_ACTIONS,
    read_hmdb51,
    read_kth,
    read_ucf11,
    read_ucf50,
    read_ucf101,
    read_ut_interaction,
    read_weizmann,
)
from marey.data.zoo.registry import PUBLISHED, Files, Reader, Table
from marey.errors import DatasetError

SEQUENCES = """
In our experiments (Schuldt, Laptev and Caputo, ICPR 2004) we used the

Training:   person11, 12, 13, 14, 15, 16, 17, 18

person02_boxing_d1\t\tframes\t1-105, 106-228, 229-314, 315-428
person11_boxing_d4    \t\tframes\t1-106, 107-194, 195-250
person19_handwaving_d2    \tframes\t1-144
person13_handclapping_d3\t*missing*
person25_walking_d1\t\tframes\t1-100, 162-256
"""


def place(root: Path, names: Iterable[str], **texts: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, text in texts.items():
        (root / f"{name}.txt").parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.txt").write_text(text)
    return root


def rows(table: Table) -> list[tuple[str, str | None, str | None, str | None]]:
    return [(clip.path.name, clip.label, clip.group, clip.split) for clip in table.clips]


def read(reader: Reader, *roots: Path) -> dict[str, Table]:
    return dict(reader(Files(roots)))


def ucf101_lists() -> dict[str, str]:
    lists = {}
    for number in (1, 2, 3):
        test = f"v_HandStandPushups_g0{number}_c01.avi"
        train = [f"v_HandStandPushups_g0{other}_c01.avi" for other in (1, 2, 3) if other != number]
        lists[f"testlist0{number}"] = f"HandstandPushups/{test}\r\n"
        lists[f"trainlist0{number}"] = "".join(f"HandstandPushups/{name} 37\n" for name in train)
    return lists


def test_ucf101_has_three_splits_and_its_labels_are_those_of_the_lists(tmp_path: Path) -> None:
    names = [f"UCF-101/HandstandPushups/v_HandstandPushups_g0{number}_c01.avi" for number in (1, 2, 3)]
    tables = read(read_ucf101, place(tmp_path, names, **ucf101_lists()))
    for variant, tested in (("", "g01"), ("2", "g02"), ("3", "g03")):
        assert {clip.label for clip in tables[variant].clips} == {"HandstandPushups"}
        assert [clip.group for clip in tables[variant].clips if clip.split == "test"] == [f"HandstandPushups_{tested}"]
        assert Counter(clip.split for clip in tables[variant].clips) == {"train": 2, "test": 1}
        assert tables[variant].notes == ()


def test_listed_clips_that_are_not_there_are_counted_and_named(tmp_path: Path) -> None:
    place(tmp_path, ["v_HandStandPushups_g01_c01.avi"], **ucf101_lists())
    table = read(read_ucf101, tmp_path)[""]
    assert len(table.clips) == 1
    assert "2 of 3 listed clips are not there: v_HandStandPushups_g02_c01.avi" in table.notes[0]


def test_hmdb51_leaves_out_what_its_split_leaves_out(tmp_path: Path) -> None:
    films = ["April_09", "(Rad)Schlag_die_Bank!", "50_FIRST_DATES"]
    names = [f"{film}_brush_hair_u_nm_np1_ba_goo_0.avi" for film in films]
    lists = {
        f"splits/brush_hair_test_split{number}": "".join(
            f"{name} {(mark + number) % 3} \n" for mark, name in enumerate(names)
        )
        for number in (1, 2, 3)
    }
    (tmp_path / "splits").mkdir()
    tables = read(read_hmdb51, place(tmp_path, [f"brush_hair/{name}" for name in names], **lists))
    assert rows(tables[""]) == [
        (names[1], "brush_hair", "(Rad)Schlag_die_Bank!", "test"),
        (names[0], "brush_hair", "April_09", "train"),
    ]
    assert rows(tables["2"]) == [
        (names[2], "brush_hair", "50_FIRST_DATES", "train"),
        (names[0], "brush_hair", "April_09", "test"),
    ]
    assert len(tables["3"].clips) == 2
    assert tables[""].notes == ("1 clip of HMDB51 in neither part of split 1: left out, as published",)


def test_kth_has_its_segments_in_seconds_and_its_people_in_their_parts(tmp_path: Path) -> None:
    names = [
        "boxing/person02_boxing_d1_uncomp.avi",
        "boxing/person11_boxing_d4_uncomp.avi",
        "handwaving/person19_handwaving_d2_uncomp.avi",
        "running/person05_running_d1_uncomp.avi",
    ]
    tables = read(read_kth, place(tmp_path, names, **{"00sequences": SEQUENCES}))
    clips = tables[""].clips
    assert Counter((clip.label, clip.group, clip.split) for clip in clips) == {
        ("boxing", "person02", "test"): 4,
        ("boxing", "person11", "train"): 3,
        ("handwaving", "person19", "val"): 1,
    }
    assert [(clip.start, clip.end) for clip in clips[:2]] == [(0.0, 4.2), (4.2, 9.12)]  # 1-105, 106-228 at 25 a second
    assert tables[""].notes == (
        "1 of 4 listed files are not there: person25_walking_d1",
        "1 file without listed segments left out: person05_running_d1",
    )
    assert [(clip.group, clip.start) for clip in tables["whole"].clips] == [
        ("person02", None),
        ("person11", None),
        ("person19", None),
        ("person05", None),
    ]


def test_the_people_of_kth_are_parted_as_in_the_literature(tmp_path: Path) -> None:
    names = [f"person{person:02d}_walking_d1_uncomp.avi" for person in range(1, 26)]
    place(tmp_path, names, **{"00sequences": "person11_walking_d1 frames 1-9"})
    parts: dict[str | None, list[str | None]] = {"train": [], "val": [], "test": []}
    for clip in read(read_kth, tmp_path)["whole"].clips:
        parts[clip.split].append((clip.group or "").removeprefix("person"))
    assert parts["train"] == ["11", "12", "13", "14", "15", "16", "17", "18"]
    assert parts["val"] == ["01", "04", "19", "20", "21", "23", "24", "25"]
    assert parts["test"] == ["02", "03", "05", "06", "07", "08", "09", "10", "22"]


def test_weizmann_is_grouped_by_person_whoever_did_it_twice(tmp_path: Path) -> None:
    place(tmp_path, ["daria_wave1.avi", "daria_wave2.avi", "lena_walk1.avi", "lena_walk2.avi", "moshe_pjump.avi"])
    assert rows(read(read_weizmann, tmp_path)[""]) == [
        ("moshe_pjump.avi", "pjump", "moshe", None),
        ("lena_walk1.avi", "walk", "lena", None),
        ("lena_walk2.avi", "walk", "lena", None),
        ("daria_wave1.avi", "wave1", "daria", None),
        ("daria_wave2.avi", "wave2", "daria", None),
    ]


def test_ucf50_and_ucf11_take_the_class_from_the_folder(tmp_path: Path) -> None:
    place(tmp_path / "50", ["UCF50/Biking/v_Biking_g01_c02.avi", "UCF50/Billiards/v_Billards_g25_c01.avi"])
    assert rows(read(read_ucf50, tmp_path / "50")[""]) == [
        ("v_Biking_g01_c02.avi", "Biking", "Biking_g01", None),
        ("v_Billards_g25_c01.avi", "Billiards", "Billards_g25", None),
    ]
    place(
        tmp_path / "11",
        [
            "UCF11_updated_mpg/basketball/v_shooting_01/v_shooting_01_03.mpg",
            "UCF11_updated_mpg/basketball/Annotation/v_shooting_01_03.xgtf",
            "UCF11_updated_mpg/walking/v_walk_dog_25/v_walk_dog_25_01.mpg",
        ],
    )
    assert rows(read(read_ucf11, tmp_path / "11")[""]) == [
        ("v_shooting_01_03.mpg", "basketball", "basketball_01", None),
        ("v_walk_dog_25_01.mpg", "walking", "walking_25", None),
    ]


def test_the_sets_of_ut_interaction_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    place(tmp_path, ["segmented_set1/17_3_0.avi", "segmented_set2/17_13_5.avi", "other/set1_4_1_2.avi"])
    assert rows(read(read_ut_interaction(1), tmp_path)[""]) == [
        ("17_3_0.avi", "handshake", "set1_3", None),
        ("set1_4_1_2.avi", "kick", "set1_1", None),
    ]
    assert rows(read(read_ut_interaction(2), tmp_path)[""]) == [("17_13_5.avi", "push", "set2_13", None)]
    with pytest.raises(DatasetError, match="no clips of UT-Interaction's set 2"):
        read(read_ut_interaction(2), tmp_path / "segmented_set1")


def test_the_real_clips_of_ut_interaction_are_read(shared_data: Path) -> None:
    clips = read(read_ut_interaction(1), shared_data / "ut-interaction-set1")[""].clips
    assert Counter(clip.label for clip in clips) == dict.fromkeys(
        ("handshake", "hug", "kick", "point", "punch", "push"), 10
    )
    assert all(clip.label == clip.path.parent.name for clip in clips)


def test_hidden_files_copies_and_circles_of_links_are_passed_over(tmp_path: Path) -> None:
    place(tmp_path, ["a/daria_walk.avi", "b/daria_walk.avi", "a/._daria_run.avi", ".trash/ido_run.avi"])
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (clip,) = read(read_weizmann, tmp_path)[""].clips
    assert clip == Clip(tmp_path / "a" / "daria_walk.avi", "walk", "daria")
    assert list(Files([tmp_path]).matching(r".*\.avi").values()) == [clip.path]


@pytest.mark.parametrize(
    ("reader", "said"),
    [
        (read_ucf101, r"there is no trainlist01\.txt"),
        (read_hmdb51, "no lists of HMDB51's split 1"),
        (read_kth, "00seq"),
    ],
)
def test_lists_that_are_not_there_are_named(tmp_path: Path, reader: Reader, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        read(reader, tmp_path)


def test_lists_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"00sequences.txt lists no segments"):
        read(read_kth, place(tmp_path / "kth", ["person01_boxing_d1_uncomp.avi"], **{"00sequences": "<html>"}))
    place(tmp_path / "ucf", [], **ucf101_lists())
    with pytest.raises(DatasetError, match=r"none of the 3 listed videos is there \(v_HandStandPushups"):
        read(read_ucf101, tmp_path / "ucf")
    (tmp_path / "kth" / "00sequences.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DatasetError, match="not text in UTF-8"):
        read(read_kth, tmp_path / "kth")


@pytest.mark.parametrize(
    ("data", "examples"),
    [
        ("ucf101", ["trainlist01.txt", "v_Biking_g01_c02.avi"]),
        ("hmdb51", ["brush_hair_test_split1.txt", "April_09_brush_hair_u_nm_np1_ba_goo_0.avi"]),
        ("kth", ["00sequences.txt", *(f"person01_{action}_d1_uncomp.avi" for action in KTH_ACTIONS)]),
        ("weizmann", [f"ido_{action}.avi" for action in WEIZMANN_ACTIONS]),
    ],
)
def test_what_an_archive_holds_is_told_from_what_the_others_hold(
    tmp_path: Path, data: str, examples: list[str]
) -> None:
    for number, (archive, example) in enumerate(zip(PUBLISHED[data].archives, examples, strict=True)):
        here = Files([place(tmp_path / str(number), [example])])
        assert [other for other in PUBLISHED[data].archives if here.has(other.holds)] == [archive]
