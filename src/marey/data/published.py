"""Named data sets of others: where they are published, what is known of their files, and how they are tested.

Sizes and hashes stand here only where they are sure. No publisher states any; those of UCF101 are the ones by which
TensorFlow Datasets (the lists) and torchvision (both files) check it, and the size that its server states. For all
other files the first download is trusted, held against the server's Content-Length and the checksums in the archive
itself, and recorded in `downloads.json`: every later download has to be the same.

HMDB51's server was not to be reached in 2025. These are the official addresses still; who has the archives gives their
folder with `--from`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from marey.data import layouts
from marey.data.download import RemoteFile
from marey.data.layouts import Read


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive, or a plain file, of a data set.

    Attributes:
        file: where it comes from.
        holds: a regular expression for the name of a file in it; one that matches shows that it is here, unpacked.
    """

    file: RemoteFile
    holds: str


@dataclass(frozen=True, slots=True)
class Published:
    """A data set that someone else has published.

    Attributes:
        name: the name.
        summary: what it holds.
        protocol: how the literature tests on it.
        page: where it is described.
        archives: what has to be downloaded.
        read: from the unpacked files to the clips of each variant.
        variants: what follows the name, after a hyphen, to what is different: another official split, or other
            clips of the same files.
    """

    name: str
    summary: str
    protocol: str
    page: str
    archives: tuple[Archive, ...]
    read: Read
    variants: Mapping[str, str] = field(default_factory=dict)


_UCF: Final = "https://www.crcv.ucf.edu/data"
_HMDB: Final = "serre-lab.clps.brown.edu/wp-content/uploads/2013/10"
_KTH: Final = "https://www.csc.kth.se/cvap/actions"
_WEIZMANN: Final = "https://www.wisdom.weizmann.ac.il/~vision/VideoAnalysis/Demos/SpaceTimeActions/DB"
_UT: Final = "https://cvrc.ece.utexas.edu/SDHA2010/videos/competition_1"


def _kth(name: str, holds: str) -> Archive:
    return Archive(RemoteFile(name, (f"{_KTH}/{name}",)), holds)


def _hmdb(name: str, holds: str) -> Archive:
    return Archive(RemoteFile(name, (f"https://{_HMDB}/{name}", f"http://{_HMDB}/{name}")), holds)


def _ut(number: int) -> Published:
    name = f"ut-interaction_segmented_set{number}.zip"
    return Published(
        f"ut-interaction-set{number}",
        f"UT-Interaction, set {number}, segmented: 60 clips of six interactions of two people in ten sequences (15 MB)",
        "leave one sequence out, ten folds: --folds group (Ryoo and Aggarwal, 2009)",
        "https://cvrc.ece.utexas.edu/SDHA2010/Human_Interaction.html",
        (Archive(RemoteFile(name, (f"{_UT}/{name}",)), layouts.UT_INTERACTION),),
        layouts.read_ut_interaction(number),
    )


PUBLISHED: dict[str, Published] = {
    data.name: data
    for data in (
        Published(
            "ucf101",
            "UCF101: 13,320 clips of 101 actions from YouTube, 25 groups a class (6.9 GB, RAR)",
            "the mean of the three official splits: ucf101, ucf101-2, ucf101-3 (Soomro, Zamir and Shah, 2012)",
            "https://www.crcv.ucf.edu/data/UCF101.php",
            (
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
                    layouts.UCF,
                ),
            ),
            layouts.read_ucf101,
            {"2": "UCF101 with its second official split", "3": "UCF101 with its third official split"},
        ),
        Published(
            "hmdb51",
            "HMDB51: 6,766 clips of 51 actions from films and the web (2.1 GB, RAR)",
            "the mean of the three official splits: hmdb51, hmdb51-2, hmdb51-3; 70 training and 30 test clips a class, "
            "the others in neither (Kuehne et al., 2011)",
            "https://serre.lab.brown.edu/hmdb51.html",
            (
                _hmdb("test_train_splits.rar", r".+_test_split1\.txt"),
                _hmdb("hmdb51_org.rar", layouts.HMDB51),
            ),
            layouts.read_hmdb51,
            {"2": "HMDB51 with its second official split", "3": "HMDB51 with its third official split"},
        ),
        Published(
            "ucf50",
            "UCF50: 6,681 clips of 50 actions from YouTube, 25 groups a class (3.2 GB, RAR)",
            "25 folds of one group a class: --folds 25; --group-regex '_(g\\d+)_c' with --folds group pairs the groups "
            "of the classes by number, as published (Reddy and Shah, 2013)",
            "https://www.crcv.ucf.edu/data/UCF50.php",
            (Archive(RemoteFile("UCF50.rar", (f"{_UCF}/UCF50.rar",)), layouts.UCF),),
            layouts.read_ucf50,
        ),
        Published(
            "ucf11",
            "UCF11 (YouTube Action): 1,600 clips of 11 actions, 25 groups a class (1.1 GB, RAR)",
            "25 folds of one group a class: --folds 25 (Liu, Luo and Shah, 2009)",
            "https://www.crcv.ucf.edu/data/UCF_YouTube_Action.php",
            (Archive(RemoteFile("UCF11_updated_mpg.rar", (f"{_UCF}/UCF11_updated_mpg.rar",)), layouts.UCF11),),
            layouts.read_ucf11,
        ),
        Published(
            "kth",
            "KTH: the 2,391 annotated segments of six actions by 25 people in four scenarios (1.1 GB)",
            "train on persons 11-18, validate on 19-21, 23-25, 1 and 4, test on 2, 3, 5-10 and 22 (Schuldt, Laptev and "
            "Caputo, 2004)",
            "https://www.csc.kth.se/cvap/actions/",
            (
                _kth("00sequences.txt", r"00sequences\.txt"),
                *(_kth(f"{action}.zip", layouts.kth_videos(action)) for action in layouts.KTH_ACTIONS),
            ),
            layouts.read_kth,
            {"whole": "KTH: its 599 files, each one clip, with the same people in the same parts"},
        ),
        Published(
            "weizmann",
            "Weizmann: 93 clips of ten actions by nine people",
            "leave one person out, nine folds: --folds group (Blank et al., 2005)",
            "https://www.wisdom.weizmann.ac.il/~vision/SpaceTimeActions.html",
            tuple(
                Archive(RemoteFile(f"{action}.zip", (f"{_WEIZMANN}/{action}.zip",)), layouts.weizmann_videos(action))
                for action in layouts.WEIZMANN_ACTIONS
            ),
            layouts.read_weizmann,
        ),
        _ut(1),
        _ut(2),
    )
}
"""The data sets that can be had by name."""
