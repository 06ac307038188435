from __future__ import annotations

from pathlib import Path

import pytest

from marey.data import Clip, Manifest, assign_groups, load_data, propose_group_regex
from marey.errors import DatasetError, UsageError


def named(*names: str) -> Manifest:
    return Manifest(tuple(Clip(Path("root") / name) for name in names), Path("root"), "", "")


def groups(manifest: Manifest) -> list[str | None]:
    return [clip.group for clip in manifest.clips]


@pytest.mark.parametrize(
    ("pattern", "name", "group"),
    [
        ("kth", "walking/person01_walking_d1_uncomp.avi", "person01"),
        ("kth", "person25_handclapping_d4.mp4", "person25"),
        ("ucf101", "v_ApplyEyeMakeup_g01_c01.avi", "ApplyEyeMakeup_g01"),
        ("ucf101", "v_BaseballPitch_g01_c01.avi", "BaseballPitch_g01"),
        ("hmdb51", "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "April_09"),
        ("hmdb51", "A_Beautiful_Mind_1_shake_hands_u_nm_np2_le_med_1.avi", "A_Beautiful_Mind_1"),
        ("hmdb51", "AHF_longsword_against_Rapier_and_Dagger_Fight_sword_f_cm_np2_ri_bad_0.avi",
         "AHF_longsword_against_Rapier_and_Dagger_Fight"),
        ("hmdb51", "Blade_Of_Fury_-_Scene_1_sword_exercise_f_cm_np1_ri_med_3.avi", "Blade_Of_Fury_-_Scene_1"),
        ("hmdb51", "50_FIRST_DATES_kick_f_cm_np1_ba_med_19.avi", "50_FIRST_DATES"),
        ("hmdb51", "funny_soccer_commercial_kick_ball_f_cm_np1_fr_med_0.avi", "funny_soccer_commercial"),
        ("hmdb51", "(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0.avi", "(Rad)Schlag_die_Bank!"),
        ("hmdb51", "Schnaaper_Crew__Eisbaden(2007)hit_f_cm_np1_le_bad_3.avi",
         "Schnaaper_Crew__Eisbaden(2007)"),
        ("ut-interaction", "push/set1_17_3_0.avi", "set1_3"),
        ("ut-interaction", "set1_48_9_3.avi", "set1_9"),
    ],
)  # fmt: skip
def test_the_group_is_read_from_the_name_of_a_known_data_set(pattern: str, name: str, group: str) -> None:
    found = assign_groups(named(name))
    assert groups(found) == [group]
    assert found.grouping == f"groups by the pattern '{pattern}': 1 group"
    assert groups(assign_groups(named(name), group_regex=pattern)) == [group]


def test_source_videos_of_two_classes_are_two_though_they_have_one_number() -> None:
    assert len(set(groups(assign_groups(named("v_Archery_g01_c01.avi", "v_Biking_g01_c01.avi"))))) == 2


def test_a_pattern_counts_only_where_it_matches_every_name() -> None:
    found = assign_groups(named("person01_walking_d1.avi", "holiday.avi"))
    assert groups(found) == [None, None]
    assert found.grouping == "no groups known: every file is its own group"


def test_groups_come_from_the_first_capture_in_the_path_below_the_root() -> None:
    found = assign_groups(named("walk/anna/1.mp4", "run/anna/1.mp4", "run/bert/2.mp4"), group_regex=r"^\w+/(\w+)/(\d)")
    assert groups(found) == ["anna", "anna", "bert"]
    assert found.grouping == r"groups by the expression '^\w+/(\w+)/(\d)': 2 groups"


def test_a_column_wins_over_the_names_and_an_expression_over_both() -> None:
    clip = Clip(Path("root/person01_walking_d1.avi"), group="family")
    manifest = Manifest((clip,), Path("root"), "", "")
    assert groups(assign_groups(manifest)) == ["family"]
    assert groups(assign_groups(manifest, group_regex=r"_(d\d)")) == ["d1"]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        (r"(\d+)", "person01_walking_d1.avi"),
        ("kth", "person01_walking_d1.avi"),
        (r"PS7A\dP(\d)|hol", "PS7A1P1.avi"),
    ],
)
def test_clips_in_which_no_group_is_found_are_named(expression: str, found: str) -> None:
    with pytest.raises(DatasetError, match=r"in 5 of 6 clips: holiday_a.avi, .*holiday_c.avi and 2 more"):
        assign_groups(named(found, *(f"holiday_{letter}.avi" for letter in "abcde")), group_regex=expression)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("(", "not a regular expression"),
        ("(" * 3000 + ")" * 3000, "not a regular expression"),
        ("(a{99999999999})", "not a regular expression"),
        (r"person\d+", "captures nothing"),
        ("kht", "kth"),
    ],
)
def test_an_expression_that_cannot_group_is_wrong_use(expression: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        assign_groups(named("person01_walking_d1.avi"), group_regex=expression)


def test_the_real_sequences_are_found(shared_data: Path) -> None:
    manifest = load_data(shared_data / "ut-interaction-set1")
    assert manifest.grouping == "groups by the pattern 'ut-interaction': 10 groups"
    assert set(manifest.groups) == {f"set1_{sequence}" for sequence in range(1, 11)}


def test_the_real_people_are_found(shared_data: Path) -> None:
    folder = shared_data / "arm-gestures"
    assert load_data(folder).grouping == "no groups known: every file is its own group"
    assert load_data(folder, group_regex=r"PS7A\dP(\d)").groups == ("1", "2", "3")


@pytest.mark.parametrize(("name", "count"), [("kth", 1), ("ucf101", 2)])
def test_the_real_samples_are_found(shared_data: Path, name: str, count: int) -> None:
    files = sorted((shared_data / "samples" / name).glob("*.avi"))
    manifest = assign_groups(Manifest(tuple(Clip(path) for path in files), shared_data, "", ""))
    assert f"'{name}': {count} group" in manifest.grouping


@pytest.mark.parametrize(
    ("names", "expression_finds"),
    [
        (("walk/anna_01.mp4", "walk/ben_01.mp4", "run/anna_02.mp4", "run/ben_02.mp4"), ("anna", "ben")),
        (("a/x_P01_t1.avi", "b/x_P01_t2.avi", "a/x_P02_t1.avi", "b/y_P02_t2.avi"), ("P01", "P02")),
        (
            ("subject_1/a/1.mp4", "subject_1/b/1.mp4", "subject_2/a/1.mp4", "subject_2/b/2.mp4"),
            ("subject_1", "subject_2"),
        ),
        (("a/video3-1.mp4", "b/video3-2.mp4", "a/video4-1.mp4", "b/video4-2.mp4"), ("video3", "video4")),
    ],
)
def test_an_expression_is_proposed_where_file_names_show_groups(
    names: tuple[str, ...], expression_finds: tuple[str, ...]
) -> None:
    manifest = labelled(*names)
    proposed = propose_group_regex(manifest)
    assert proposed is not None
    assert proposed[1] == expression_finds
    assert set(groups(assign_groups(manifest, group_regex=proposed[0]))) == set(expression_finds)


@pytest.mark.parametrize(
    "names",
    [
        ("walk/walk_01.mp4", "walk/walk_02.mp4", "run/run_01.mp4", "run/run_02.mp4"),  # the label by another name
        ("walk/a.mp4", "run/b.mp4", "run/c.mp4", "walk/d.mp4"),
        ("walk/anna_01.mp4", "run/ben_01.mp4", "walk/cem_01.mp4", "run/dora_01.mp4"),  # one clip each
    ],
)
def test_nothing_is_proposed_where_file_names_show_no_groups(names: tuple[str, ...]) -> None:
    assert propose_group_regex(labelled(*names)) is None


def labelled(*names: str) -> Manifest:
    clips = tuple(Clip(Path("root") / name, label=Path(name).parts[-2]) for name in names)
    return Manifest(clips, Path("root"), "", "")
