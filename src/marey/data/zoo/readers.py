"""The published data sets: their sources, and the readers from their names, lists and annotations to clips.

HMDB51's server was not reachable in 2025. Its URLs here are still the official ones; with archives from elsewhere,
give their folder with `--from`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from marey.data.clip import Clip, Part
from marey.data.groups import named_group
from marey.data.text import join_first, pluralize
from marey.data.zoo.download import RemoteFile
from marey.data.zoo.registry import Archive, Files, Reader, Table, register_dataset
from marey.errors import DatasetError

KTH_ACTIONS: Final = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
WEIZMANN_ACTIONS: Final = ("bend", "jack", "jump", "pjump", "run", "side", "skip", "walk", "wave1", "wave2")
UT_ACTIONS: Final = ("handshake", "hug", "kick", "point", "punch", "push")

_UCF_VIDEOS: Final = r"v_(\w+)_g(\d+)_c\d+\.avi"
_UCF11_VIDEOS: Final = r"v_\w+_(\d+)_\d+\.(?:mpg|avi)"
_HMDB51_VIDEOS: Final = r".+_[a-z]+_[cn]m_np\d+_[a-z]{2}_[a-z]{3}_\d+\.avi"
_UT_VIDEOS: Final = r"(?:set\d_)?\d+_(\d+)_([0-5])\.avi"

_UCF: Final = "https://www.crcv.ucf.edu/data"
_HMDB51: Final = "serre-lab.clps.brown.edu/wp-content/uploads/2013/10"
_KTH: Final = "https://www.csc.kth.se/cvap/actions"
_WEIZMANN: Final = "https://www.wisdom.weizmann.ac.il/~vision/VideoAnalysis/Demos/SpaceTimeActions/DB"
_UT: Final = "https://cvrc.ece.utexas.edu/SDHA2010/videos/competition_1"

_KTH_LIST: Final = "00sequences.txt"
_KTH_FRAME_RATE: Final = 25
_KTH_VALIDATION: Final = (1, 4, 19, 20, 21, 23, 24, 25)
_KTH_TEST: Final = (2, 3, 5, 6, 7, 8, 9, 10, 22)
_SPLITS: Final = ("", "2", "3")


def _archive(base: str, name: str, holds: str, *more: str, spared: tuple[str, ...] = ()) -> Archive:
    """Return the archive `name` below the URL `base`, or below one of `more` if that fails."""
    return Archive(RemoteFile(name, tuple(f"{url}/{name}" for url in (base, *more))), holds, spared)


@register_dataset(
    "ucf101",
    summary="UCF101: 13,320 clips of 101 actions from YouTube, 25 groups a class (6.9 GB, RAR)",
    protocol="the mean of the three official splits: ucf101, ucf101-2, ucf101-3 (Soomro, Zamir and Shah, 2012)",
    page="https://www.crcv.ucf.edu/data/UCF101.php",
    archives=(
        Archive(
            RemoteFile(
                "UCF101TrainTestSplits-RecognitionTask.zip",
                (f"{_UCF}/UCF101/UCF101TrainTestSplits-RecognitionTask.zip",),
                size=113_943,
                sha256="5c0d1a53b8ed364a2ac830a73f405e51bece7d98ce1254fd19ed4a36b224bd27",
            ),
            r"trainlist01\.txt",
        ),
        Archive(
            RemoteFile(
                "UCF101.rar",
                (f"{_UCF}/UCF101/UCF101.rar", "http://crcv.ucf.edu/data/UCF101/UCF101.rar"),
                size=6_932_971_618,
                sha256="ca8dfadb4c891cb11316f94d52b6b0ac2a11994e67a0cae227180cd160bd8e55",
            ),
            _UCF_VIDEOS,
        ),
    ),
    variants={"2": "UCF101 with its second official split", "3": "UCF101 with its third official split"},
)
def read_ucf101(files: Files) -> dict[str, Table]:
    """Read UCF101 with each of its three splits (trainlist01.txt, testlist01.txt, ...)."""
    videos = {path.name.lower(): path for path in files.matching(_UCF_VIDEOS).values()}
    tables = {}
    for number, variant in enumerate(_SPLITS, start=1):
        listed: dict[str, tuple[str, Part]] = {}
        for part, name in (("train", f"trainlist{number:02d}.txt"), ("test", f"testlist{number:02d}.txt")):
            for line in files.lines(name):
                label, _, video = line.split()[0].partition("/")
                listed[video] = (label, part)  # type: ignore[assignment]
        tables[variant] = _listed(listed, videos, "ucf101")
    return tables


@register_dataset(
    "hmdb51",
    summary="HMDB51: 6,766 clips of 51 actions from movies and the web (2.1 GB, RAR)",
    protocol=(
        "the mean of the three official splits: hmdb51, hmdb51-2, hmdb51-3; 70 training and 30 test clips a class, "
        "the others in neither (Kuehne et al., 2011)"
    ),
    page="https://serre.lab.brown.edu/hmdb51.html",
    archives=(
        _archive(f"https://{_HMDB51}", "test_train_splits.rar", r".+_test_split1\.txt", f"http://{_HMDB51}"),
        _archive(f"https://{_HMDB51}", "hmdb51_org.rar", _HMDB51_VIDEOS, f"http://{_HMDB51}"),
    ),
    variants={"2": "HMDB51 with its second official split", "3": "HMDB51 with its third official split"},
)
def read_hmdb51(files: Files) -> dict[str, Table]:
    """Read HMDB51 with each of its three splits (CLASS_test_split1.txt: 1 is training, 2 is test, 0 neither)."""
    videos = {path.name.lower(): path for path in files.matching(_HMDB51_VIDEOS).values()}
    tables = {}
    for number, variant in enumerate(_SPLITS, start=1):
        lists = files.matching(rf"(.+)_test_split{number}\.txt")
        if not lists:
            raise DatasetError(
                f"there are no lists of HMDB51's split {number} (brush_hair_test_split{number}.txt, ...)"
            )
        listed: dict[str, tuple[str, Part]] = {}
        unused = 0
        for match, path in lists.items():
            for line in files.lines(path.name):
                video, _, mark = line.rpartition(" ")
                if mark in ("1", "2"):
                    listed[video.strip()] = (match[1], "train" if mark == "1" else "test")
                unused += mark == "0"
        table = _listed(listed, videos, "hmdb51")
        note = f"{pluralize(unused, 'clip')} of HMDB51 in neither part of split {number}: left out, as published"
        tables[variant] = replace(table, notes=(*table.notes, note)) if unused else table
    return tables


def _listed(listed: Mapping[str, tuple[str, Part]], videos: Mapping[str, Path], pattern: str) -> Table:
    """Return the clips of a list whose files exist."""
    absent = [video for video in listed if video.lower() not in videos]
    clips = [
        Clip(path, label, named_group(pattern, path), split=part)
        for video, (label, part) in listed.items()
        if (path := videos.get(video.lower())) is not None
    ]
    if not clips:
        raise DatasetError(f"none of the {len(listed)} listed videos is there ({join_first(absent)})")
    note = f"{len(absent)} of {len(listed)} listed clips are not there: {join_first(absent)}"
    return Table(_in_order(clips), (note,) if absent else ())


@register_dataset(
    "ucf50",
    summary="UCF50: 6,681 clips of 50 actions from YouTube, 25 groups a class (3.2 GB, RAR)",
    protocol=(
        "25 folds of one group a class: --folds 25; --group-regex '_(g\\d+)_c' with --folds group pairs the groups "
        "of the classes by number, as published (Reddy and Shah, 2013)"
    ),
    page="https://www.crcv.ucf.edu/data/UCF50.php",
    archives=(_archive(_UCF, "UCF50.rar", _UCF_VIDEOS),),
)
def read_ucf50(files: Files) -> dict[str, Table]:
    """Read UCF50: CLASS/v_CLASS_g01_c01.avi."""
    found = files.matching(_UCF_VIDEOS)
    clips = [Clip(path, path.parent.name, f"{match[1]}_g{match[2]}") for match, path in found.items()]
    return {"": Table(_in_order(clips))}


@register_dataset(
    "ucf11",
    summary="UCF11 (YouTube Action): 1,600 clips of 11 actions, 25 groups a class (1.1 GB, RAR)",
    protocol="25 folds of one group a class: --folds 25 (Liu, Luo and Shah, 2009)",
    page="https://www.crcv.ucf.edu/data/UCF_YouTube_Action.php",
    archives=(_archive(_UCF, "UCF11_updated_mpg.rar", _UCF11_VIDEOS),),
)
def read_ucf11(files: Files) -> dict[str, Table]:
    """Read UCF11: CLASS/v_word_01/v_word_01_01.mpg; the word is not always the class."""
    clips = []
    for match, path in files.matching(_UCF11_VIDEOS).items():
        label = next((place.name for place in path.parents if not place.name.startswith("v_")), "")
        clips.append(Clip(path, label, f"{label}_{match[1]}"))
    return {"": Table(_in_order(clips))}


def _kth_videos(action: str) -> str:
    return rf"person(\d\d)_({action})_d[1-4]_uncomp\.avi"


@register_dataset(
    "kth",
    summary="KTH: the 2,391 annotated segments of six actions by 25 people in four scenarios (1.1 GB)",
    protocol=(
        "train on persons 11-18, validate on 19-21, 23-25, 1 and 4, test on 2, 3, 5-10 and 22 (Schuldt, Laptev and "
        "Caputo, 2004)"
    ),
    page="https://www.csc.kth.se/cvap/actions/",
    archives=(
        _archive(_KTH, _KTH_LIST, r"00sequences\.txt", spared=("whole",)),
        *(_archive(_KTH, f"{action}.zip", _kth_videos(action)) for action in KTH_ACTIONS),
    ),
    variants={"whole": "KTH: its 599 files, each one clip, with the same people in the same parts"},
)
def read_kth(files: Files) -> dict[str, Table]:
    """Read KTH: the segments of 00sequences.txt ('person01_boxing_d1 frames 1-95, ...'), and the whole files.

    Without the list there are the whole files only.
    """
    videos = {
        path.name.removesuffix("_uncomp.avi"): Clip(path, match[2], f"person{match[1]}", split=_kth_part(int(match[1])))
        for match, path in files.matching(_kth_videos("|".join(KTH_ACTIONS))).items()
    }
    whole = Table(_in_order(list(videos.values())))
    if videos and files.named(_KTH_LIST) is None:
        return {"whole": whole}
    segments, listed = [], set()
    for line in files.lines(_KTH_LIST):
        found = re.fullmatch(r"(person\d\d_[a-z]+_d\d)\s+frames\s+([\d\s,-]+)", line)
        if found is None:
            continue  # the text above the list, and the one sequence that is '*missing*'
        listed.add(found[1])
        if found[1] in videos:
            for first, last in re.findall(r"(\d+)-(\d+)", found[2]):  # frame numbers from 1, the last one included
                start, end = (int(first) - 1) / _KTH_FRAME_RATE, int(last) / _KTH_FRAME_RATE
                segments.append(replace(videos[found[1]], start=start, end=end))
    if not segments:
        raise DatasetError(
            "00sequences.txt lists no segments ('person01_boxing_d1 frames 1-95, ...') of the files here"
        )
    notes = []
    if absent := sorted(listed - videos.keys()):
        notes.append(f"{len(absent)} of {len(listed)} listed files are not there: {join_first(absent)}")
    if unlisted := sorted(videos.keys() - listed):
        notes.append(f"{pluralize(len(unlisted), 'file')} without listed segments left out: {join_first(unlisted)}")
    return {"": Table(_in_order(segments), tuple(notes)), "whole": whole}


def _kth_part(person: int) -> Part:
    return "test" if person in _KTH_TEST else "val" if person in _KTH_VALIDATION else "train"


def _weizmann_videos(action: str) -> str:
    """Return the pattern of Weizmann's file names; a number follows if a person did the action twice."""
    return rf"([a-z]+)_({action})[12]?\.avi"


@register_dataset(
    "weizmann",
    summary="Weizmann: 93 clips of ten actions by nine people",
    protocol="leave one person out, nine folds: --folds group (Blank et al., 2005)",
    page="https://www.wisdom.weizmann.ac.il/~vision/SpaceTimeActions.html",
    archives=[_archive(_WEIZMANN, f"{action}.zip", _weizmann_videos(action)) for action in WEIZMANN_ACTIONS],
)
def read_weizmann(files: Files) -> dict[str, Table]:
    """Read Weizmann: daria_walk.avi, lena_walk1.avi."""
    found = files.matching(_weizmann_videos("|".join(WEIZMANN_ACTIONS)))
    return {"": Table(_in_order([Clip(path, match[2], match[1]) for match, path in found.items()]))}


def read_ut_interaction(number: int) -> Reader:
    """Return the reader of one set of UT-Interaction: index_sequence_class.avi, in a folder that names the set."""

    def read(files: Files) -> dict[str, Table]:
        clips = [
            Clip(path, UT_ACTIONS[int(match[2])], f"set{number}_{match[1]}")
            for match, path in files.matching(_UT_VIDEOS).items()
            if _set_number(path) in (None, number)
        ]
        if not clips:
            raise DatasetError(
                f"no clips of UT-Interaction's set {number} are there (17_3_0.avi, ... in a folder set{number})"
            )
        return {"": Table(_in_order(clips))}

    return read


def _set_number(path: Path) -> int | None:
    """Return the number of the set that the path names, nearest to the file."""
    numbers = re.findall(r"set([12])(?!\d)", path.as_posix())
    return int(numbers[-1]) if numbers else None


for _number in (1, 2):
    register_dataset(
        f"ut-interaction-set{_number}",
        summary=(
            f"UT-Interaction, set {_number}, segmented: 60 clips of six interactions of two people in ten sequences "
            "(15 MB)"
        ),
        protocol="leave one sequence out, ten folds: --folds group (Ryoo and Aggarwal, 2009)",
        page="https://cvrc.ece.utexas.edu/SDHA2010/Human_Interaction.html",
        archives=[_archive(_UT, f"ut-interaction_segmented_set{_number}.zip", _UT_VIDEOS)],
    )(read_ut_interaction(_number))


def _in_order(clips: Sequence[Clip]) -> tuple[Clip, ...]:
    return tuple(sorted(clips, key=lambda clip: (clip.label or "", clip.path.name, clip.start or 0.0, clip.end or 0.0)))
