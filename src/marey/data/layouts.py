"""How the published data sets lie in their files: from names, lists and annotations to clips."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from marey.data.clip import Clip, Part, counted, listing
from marey.data.groups import named_group
from marey.errors import DatasetError

KTH_ACTIONS: Final = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
WEIZMANN_ACTIONS: Final = ("bend", "jack", "jump", "pjump", "run", "side", "skip", "walk", "wave1", "wave2")
UT_ACTIONS: Final = ("handshake", "hug", "kick", "point", "punch", "push")

UCF: Final = r"v_(\w+)_g(\d+)_c\d+\.avi"
UCF11: Final = r"v_\w+_(\d+)_\d+\.(?:mpg|avi)"
HMDB51: Final = r".+_[a-z]+_[cn]m_np\d+_[a-z]{2}_[a-z]{3}_\d+\.avi"
UT_INTERACTION: Final = r"(?:set\d_)?\d+_(\d+)_([0-5])\.avi"

_KTH_FRAME_RATE: Final = 25
_KTH_VALIDATION: Final = (1, 4, 19, 20, 21, 23, 24, 25)
_KTH_TEST: Final = (2, 3, 5, 6, 7, 8, 9, 10, 22)
_SPLITS: Final = ("", "2", "3")
_LONGEST_LIST: Final = 16 << 20  # bytes


@dataclass(frozen=True)
class Table:
    """The clips of one variant of a data set, and what was seen on the way, a sentence each."""

    clips: tuple[Clip, ...]
    notes: tuple[str, ...] = ()


class Files:
    """All files below some folders, found by their names.

    Args:
        roots: the folders; links are followed, each real folder once, and hidden files are passed over.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)
        self._paths = [path for root in roots for path in _below(root)]

    def matching(self, expression: str) -> dict[re.Match[str], Path]:
        """The files whose names match, by path; of several with one name the first."""
        found: dict[str, tuple[re.Match[str], Path]] = {}
        pattern = re.compile(expression, re.IGNORECASE)
        for path in self._paths:
            match = pattern.fullmatch(path.name)
            if match:
                found.setdefault(path.name, (match, path))
        return dict(found.values())

    def has(self, expression: str) -> bool:
        """Whether any name matches."""
        pattern = re.compile(expression, re.IGNORECASE)
        return any(pattern.fullmatch(path.name) for path in self._paths)

    def named(self, name: str) -> Path | None:
        """The first file of this name, or None."""
        return next((path for path in self._paths if path.name == name), None)

    def lines(self, name: str) -> list[str]:
        """The lines of the text file of this name, without white space around them and without empty ones.

        Raises:
            DatasetError: there is none, or it is no text.
        """
        path = self.named(name)
        if path is None:
            raise DatasetError(f"there is no {name} in {listing([str(root) for root in self.roots])}: add it")
        try:
            if path.stat().st_size > _LONGEST_LIST:
                raise DatasetError(f"{path} is too long for a list of clips")
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DatasetError(f"{path} is no text in UTF-8: {error}") from error
        return [line.strip() for line in text.splitlines() if line.strip()]


Read = Callable[[Files], Mapping[str, Table]]
"""From the files of a data set to its variants; the first is called ''."""


def _below(root: Path) -> Iterator[Path]:
    entered: set[str] = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            folders.clear()  # a circle of links
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in sorted(names) if not name.startswith("."))


def read_ucf101(files: Files) -> dict[str, Table]:
    """UCF101 with each of its three splits (trainlist01.txt, testlist01.txt, ...)."""
    videos = {path.name.lower(): path for path in files.matching(UCF).values()}
    tables = {}
    for number, variant in enumerate(_SPLITS, start=1):
        listed: dict[str, tuple[str, Part]] = {}
        for part, name in (("train", f"trainlist{number:02d}.txt"), ("test", f"testlist{number:02d}.txt")):
            for line in files.lines(name):
                label, _, video = line.split()[0].partition("/")
                listed[video] = (label, part)  # type: ignore[assignment]
        tables[variant] = _listed(listed, videos, "ucf101")
    return tables


def read_hmdb51(files: Files) -> dict[str, Table]:
    """HMDB51 with each of its three splits (CLASS_test_split1.txt, ...: 1 is training, 2 is test, 0 neither)."""
    videos = {path.name.lower(): path for path in files.matching(HMDB51).values()}
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
        note = f"{counted(unused, 'clip')} of HMDB51 in neither part of split {number}: left out, as published"
        tables[variant] = replace(table, notes=(*table.notes, note)) if unused else table
    return tables


def _listed(listed: Mapping[str, tuple[str, Part]], videos: Mapping[str, Path], pattern: str) -> Table:
    """The clips that a list names and that are there."""
    absent = [video for video in listed if video.lower() not in videos]
    clips = [
        Clip(path, label, named_group(pattern, path), split=part)
        for video, (label, part) in listed.items()
        if (path := videos.get(video.lower())) is not None
    ]
    if not clips:
        raise DatasetError(f"none of the {len(listed)} listed videos is there ({listing(absent)})")
    note = f"{len(absent)} of {len(listed)} listed clips are not there: {listing(absent)}"
    return Table(_in_order(clips), (note,) if absent else ())


def read_ucf50(files: Files) -> dict[str, Table]:
    """UCF50: CLASS/v_CLASS_g01_c01.avi."""
    clips = [Clip(path, path.parent.name, f"{match[1]}_g{match[2]}") for match, path in files.matching(UCF).items()]
    return {"": Table(_in_order(clips))}


def read_ucf11(files: Files) -> dict[str, Table]:
    """UCF11: CLASS/v_word_01/v_word_01_01.mpg; the word is not always the class."""
    clips = []
    for match, path in files.matching(UCF11).items():
        label = next((place.name for place in path.parents if not place.name.startswith("v_")), "")
        clips.append(Clip(path, label, f"{label}_{match[1]}"))
    return {"": Table(_in_order(clips))}


def kth_videos(action: str) -> str:
    """The names of KTH's files of an action."""
    return rf"person(\d\d)_({action})_d[1-4]_uncomp\.avi"


def read_kth(files: Files) -> dict[str, Table]:
    """KTH by person: the segments of 00sequences.txt ('person01_boxing_d1 frames 1-95, ...'), and the files whole."""
    videos = {
        path.name.removesuffix("_uncomp.avi"): Clip(path, match[2], f"person{match[1]}", split=_kth_part(int(match[1])))
        for match, path in files.matching(kth_videos("|".join(KTH_ACTIONS))).items()
    }
    segments, listed = [], set()
    for line in files.lines("00sequences.txt"):
        found = re.fullmatch(r"(person\d\d_[a-z]+_d\d)\s+frames\s+([\d\s,-]+)", line)
        if found is None:
            continue  # the text above the list, and the one sequence that is '*missing*'
        listed.add(found[1])
        if found[1] in videos:
            for first, last in re.findall(r"(\d+)-(\d+)", found[2]):  # counted from 1, and the last one is in it
                start, end = (int(first) - 1) / _KTH_FRAME_RATE, int(last) / _KTH_FRAME_RATE
                segments.append(replace(videos[found[1]], start=start, end=end))
    if not segments:
        raise DatasetError(
            "00sequences.txt lists no segments ('person01_boxing_d1 frames 1-95, ...') of the files here"
        )
    notes = []
    if absent := sorted(listed - videos.keys()):
        notes.append(f"{len(absent)} of {len(listed)} listed files are not there: {listing(absent)}")
    if unlisted := sorted(videos.keys() - listed):
        notes.append(f"{counted(len(unlisted), 'file')} without listed segments left out: {listing(unlisted)}")
    return {"": Table(_in_order(segments), tuple(notes)), "whole": Table(_in_order(list(videos.values())))}


def _kth_part(person: int) -> Part:
    return "test" if person in _KTH_TEST else "val" if person in _KTH_VALIDATION else "train"


def weizmann_videos(action: str) -> str:
    """The names of Weizmann's files of an action; where a person did it twice, a number follows."""
    return rf"([a-z]+)_({action})[12]?\.avi"


def read_weizmann(files: Files) -> dict[str, Table]:
    """Weizmann: daria_walk.avi, lena_walk1.avi."""
    found = files.matching(weizmann_videos("|".join(WEIZMANN_ACTIONS)))
    return {"": Table(_in_order([Clip(path, match[2], match[1]) for match, path in found.items()]))}


def read_ut_interaction(number: int) -> Read:
    """The reader of a set of UT-Interaction: index_sequence_class.avi, in a folder that says which set it is."""

    def read(files: Files) -> dict[str, Table]:
        clips = [
            Clip(path, UT_ACTIONS[int(match[2])], f"set{number}_{match[1]}")
            for match, path in files.matching(UT_INTERACTION).items()
            if _set_of(path) in (None, number)
        ]
        if not clips:
            raise DatasetError(
                f"no clips of UT-Interaction's set {number} are there (17_3_0.avi, ... in a folder set{number})"
            )
        return {"": Table(_in_order(clips))}

    return read


def _set_of(path: Path) -> int | None:
    """The set that a path names, nearest to the file."""
    numbers = re.findall(r"set([12])(?!\d)", path.as_posix())
    return int(numbers[-1]) if numbers else None


def _in_order(clips: Sequence[Clip]) -> tuple[Clip, ...]:
    return tuple(sorted(clips, key=lambda clip: (clip.label or "", clip.path.name, clip.start or 0.0, clip.end or 0.0)))
