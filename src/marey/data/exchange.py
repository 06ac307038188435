"""Which form a data set has that was kept in another way than as video."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from marey.data.arrays import PICKLE_SUFFIXES
from marey.data.features import DESCRIPTION, TABLE, is_feature_file
from marey.data.frame_folders import has_pictures
from marey.errors import DatasetError

Form = Literal["arrays", "feature file", "feature folder", "frame folders"]

_FORMS: Final = (
    f"a pickle ({', '.join(PICKLE_SUFFIXES)}) or an .npz file of frames and labels, a folder of .npy features with a "
    "CSV file that lists them, or a folder of pictures a clip"
)


def form_of(source: str | Path) -> Form:
    """The form that a file or a folder has.

    Raises:
        DatasetError: it is not there, or has none that is read.
    """
    source = Path(source)
    if source.is_file():
        if source.suffix.lower() == ".npz":
            return "feature file" if is_feature_file(source) else "arrays"
        if source.suffix.lower() in PICKLE_SUFFIXES:
            return "arrays"
        raise DatasetError(f"{source} is no form of a data set that is imported: give {_FORMS}")
    if not source.is_dir():
        raise DatasetError(f"{source} is not there: give {_FORMS}")
    if (source / DESCRIPTION).is_file() or (source / TABLE).is_file():
        return "feature folder"
    if any(source.glob("*.npy")) and not any(source.glob("*.csv")):
        return "arrays"
    if next(source.rglob("*.npy"), None) is not None:
        return "feature folder"
    if has_pictures(source):
        return "frame folders"
    raise DatasetError(f"{source} holds neither pictures nor .npy files: give {_FORMS}")
