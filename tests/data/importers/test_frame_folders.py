from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from marey.data.importers.frame_folders import has_images, read_frame_folders
from marey.data.text import natural_key
from marey.errors import DatasetError, VideoError


def save(path: Path, shade: int = 0, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), shade, np.uint8)).convert(mode).save(path)


def shades(root: Path, name: str) -> list[int]:
    (clip,) = [clip for clip in read_frame_folders(root).clips if clip.name == name]
    return [int(frame.max()) for frame in clip.frames()]


def test_class_folders_hold_clip_folders_whose_frames_are_in_natural_order(tmp_path: Path) -> None:
    for number in random.Random(0).sample(range(1, 13), 12):  # noqa: S311
        save(tmp_path / "große Schritte" / "clip 10" / f"frame{number}.png", number)
        save(tmp_path / "große Schritte" / "clip 2" / f"{number}.bmp", number + 100)
        save(tmp_path / "laufen" / "deep" / "clip" / f"{number:04d}.tiff", number)
    (tmp_path / "laufen" / "notes.txt").touch()
    (tmp_path / "laufen" / "deep" / "clip" / "Thumbs.db").touch()
    save(tmp_path / "laufen" / ".hidden" / "1.png")
    found = read_frame_folders(tmp_path)
    assert [(clip.name, clip.label, clip.split) for clip in found.clips] == [
        ("große Schritte/clip 2", "große Schritte", None),
        ("große Schritte/clip 10", "große Schritte", None),
        ("laufen/deep/clip", "laufen", None),
    ]
    assert found.notes == ()
    assert shades(tmp_path, "große Schritte/clip 10") == list(range(1, 13))
    assert shades(tmp_path, "große Schritte/clip 2") == list(range(101, 113))


def test_names_are_sorted_as_people_number_them() -> None:
    names = ["f10", "f2", "f1b", "a", "10", "9", "f2b1"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "f1b", "f2", "f2b1", "f10"]


def test_folders_called_train_and_test_are_the_split(tmp_path: Path) -> None:
    for split, part in (("Train", "train"), ("validation", "val"), ("test", "test")):
        save(tmp_path / split / "run" / part / "1.png")
    clips = read_frame_folders(tmp_path).clips
    assert sorted((clip.split, clip.label, clip.name) for clip in clips if clip.split) == [
        ("test", "run", "test/run/test"),
        ("train", "run", "Train/run/train"),
        ("val", "run", "validation/run/val"),
    ]


def test_a_folder_of_clip_folders_has_no_labels_and_says_so(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "1.png")
    found = read_frame_folders(tmp_path)
    assert [clip.label for clip in found.clips] == [None, None]
    assert "no labels known" in found.notes[0]


def test_a_manifest_names_labels_groups_and_splits(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        save(tmp_path / "x" / name / "1.png")
    (tmp_path / "manifest.csv").write_text("path,label,group,split\nx/a,run,anna,train\nx/b,walk,ben,test\n")
    found = read_frame_folders(tmp_path)
    assert [(clip.name, clip.label, clip.group, clip.split) for clip in found.clips] == [
        ("x/a", "run", "anna", "train"),
        ("x/b", "walk", "ben", "test"),
    ]
    assert found.notes == ("1 folder left aside that manifest.csv does not name",)
    (tmp_path / "manifest.csv").write_text("path,label\nx/d,run\n")
    with pytest.raises(DatasetError, match="there is no folder of images there"):
        read_frame_folders(tmp_path)
    (tmp_path / "manifest.csv").write_text("path,label,start\nx/a,run,1\n")
    with pytest.raises(DatasetError, match="is read whole"):
        read_frame_folders(tmp_path)


def test_gaps_in_the_numbers_are_said(tmp_path: Path) -> None:
    for number in (3, 4, 7):
        save(tmp_path / "run" / "a" / f"{number}.png", number)
    save(tmp_path / "run" / "b" / "3.png")
    assert "have gaps in 1 clip (run/a)" in read_frame_folders(tmp_path).notes[0]
    assert shades(tmp_path, "run/a") == [3, 4, 7]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "LA"])
def test_images_of_other_kinds_become_grey_or_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    for number in (1, 2):
        save(tmp_path / "run" / "a" / f"{number}.{suffix}", 255, mode=mode)
    (clip,) = read_frame_folders(tmp_path).clips
    found = list(clip.frames())
    assert all((frame == 255).all() for frame in found)
    assert {frame.shape for frame in found} == {(4, 6) if mode in "1L" else (4, 6, 3)}


def test_an_image_that_was_taken_turned_is_shown_upright(tmp_path: Path) -> None:
    (tmp_path / "run" / "a").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (6, 4)).save(tmp_path / "run" / "a" / "1.jpg", exif=exif)
    (clip,) = read_frame_folders(tmp_path).clips
    assert next(clip.frames()).shape == (6, 4, 3)


def damage(path: Path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("this is no image")
    elif how == "bomb":
        data = path.read_bytes()
        path.write_bytes(data[:16] + (200_000).to_bytes(4, "big") * 2 + data[24:])
    elif how == "size":
        save(path, size=(6, 5))
    elif how == "deep":
        Image.fromarray(np.zeros((4, 6), np.uint16)).save(path)
    elif how == "link":
        path.unlink()
        path.symlink_to(path.parent / "nowhere.png")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("cut", "corrupt: 2.png cannot be read"),
        ("empty", "corrupt: 2.png is no image that can be read, or an empty one"),
        ("text", "corrupt: 2.png is no image"),
        ("bomb", "corrupt|too_large: 2.png"),
        ("size", "corrupt: its frames are of different sizes: 2.png and 1.png have 5 x 6 and 4 x 6"),
        ("deep", "corrupt: 2.png has the mode I(;16)?; 8 bits per colour are read"),
    ],
)
def test_a_clip_with_an_image_that_cannot_be_used_is_named(tmp_path: Path, how: str, said: str) -> None:
    for number in (1, 2, 3):
        save(tmp_path / "run" / "a" / f"{number}.png", number)
    damage(tmp_path / "run" / "a" / "2.png", how)
    (clip,) = read_frame_folders(tmp_path).clips
    with pytest.raises(VideoError, match=said) as raised:
        list(clip.frames())
    assert raised.value.path == tmp_path / "run" / "a"


def test_grey_among_colour_is_coloured_and_colour_among_grey_is_named(tmp_path: Path) -> None:
    for clip, modes in (("a", ("RGB", "L")), ("b", ("L", "RGB"))):
        for number, mode in enumerate(modes):
            save(tmp_path / "run" / clip / f"{number}.png", 7, mode=mode)
    assert shades(tmp_path, "run/a") == [7, 7]
    with pytest.raises(VideoError, match=r"1\.png in colour"):
        shades(tmp_path, "run/b")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "holds no images"),
        (("notes.txt",), "holds no images"),
        (("1.png",), "holds images itself"),
        (("run/a_1.png", "run/b_1.png"), r"images with 2 name patterns \(a_#, b_#\)"),
        (("run/clip1_001.png", "run/clip2_001.png"), r"more than one image with the number 1 \(clip1_001"),
        (("run/a/1.png", "run/a/1.jpg"), "more than one image with the number 1"),
        (("run/a/1.png", "b/1.png"), r"some clips lie in a class folder and others do not \(b\)"),
        (("run/a/1.png", "Run/a/1.png"), "differ only in case"),
    ],
)
def test_what_is_laid_out_otherwise_is_refused_with_the_way_out(tmp_path: Path, names: Any, said: str) -> None:
    for name in names:
        if name.endswith(".txt"):
            (tmp_path / name).touch()
        else:
            save(tmp_path / name)
    with pytest.raises(DatasetError, match=said):
        read_frame_folders(tmp_path)


def test_links_that_go_round_end_and_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "run" / "a" / "1.png")
    (tmp_path / "run" / "loop").symlink_to(tmp_path)
    assert [clip.name for clip in read_frame_folders(tmp_path).clips] == ["run/a"]
    assert has_images(tmp_path)
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")  # noqa: PTH102
    with pytest.raises(DatasetError, match="not valid Unicode"):
        read_frame_folders(tmp_path)


def test_an_image_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    for number in (1, 2):
        save(tmp_path / "run" / "a" / f"{number}.png")
    damage(tmp_path / "run" / "a" / "2.png", "link")
    with pytest.raises(VideoError, match=r"2\.png cannot be read"):
        shades(tmp_path, "run/a")
