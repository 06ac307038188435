"""What makes two labels the same: their letters, not their case, their encoding or the space around them."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping

from marey.errors import DatasetError


def clean_label(text: str) -> str:
    """The label as it is kept: composed Unicode (NFC), without the white space around it."""
    return unicodedata.normalize("NFC", text).strip()


def check_labels(places: Mapping[str, str]) -> None:
    """Refuse labels that a person would read as one.

    Args:
        places: from each label or folder name, as written, to where it stands.

    Raises:
        DatasetError: two of them differ only in case, in Unicode normalisation or in white space.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for written in sorted(places):
        alike[" ".join(unicodedata.normalize("NFKC", written).casefold().split())].append(written)
    for same in alike.values():
        if len(same) > 1:
            names = " and ".join(f"{written!r} ({places[written]})" for written in same)
            raise DatasetError(
                f"the classes {names} differ only in case, white space or Unicode form: "
                "give them one name, or names that differ in letters"
            )
