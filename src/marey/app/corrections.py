"""Labels that somebody put right: the clips, and a manifest of them for the next training."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import filelock

from marey.app.storage import copy_whole, safe_name, safe_suffix
from marey.data import Clip, Manifest, assign_groups, content_hash, read_manifest, write_manifest
from marey.data.text import check_labels, clean_label
from marey.errors import UsageError

_LONGEST: Final = 80  # characters of a label


class Corrections:
    """A folder with `corrections.csv`, and with copies of the clips that it lists.

    Args:
        folder: made when the first correction comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.manifest = folder / "corrections.csv"

    def clips(self) -> tuple[Clip, ...]:
        """All of them.

        Raises:
            DatasetError: the manifest was damaged.
        """
        return read_manifest(self.manifest).clips if self.manifest.is_file() else ()

    def add(self, clip: Clip, label: str, *, name: str) -> Clip:
        """Keep a clip with its right label; a clip that was corrected before gets the new label.

        Args:
            clip: what was shown; its file is copied.
            label: what it shows.
            name: what its owner calls the file: its group is taken from it, where the name is of a known kind.

        Raises:
            UsageError: the label is empty, too long, or holds control characters.
            DatasetError: the label differs from another one only in case, white space or Unicode form.
            VideoError: the file is not there any more.
        """
        label = clean_label(label)
        if not label or len(label) > _LONGEST or not label.isprintable():
            raise UsageError(f"a label has 1 to {_LONGEST} printable characters, not {label[:_LONGEST]!r}")
        content = content_hash(clip.path)
        self._folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self._folder / ".lock", timeout=30):
            others = [other for other in self.clips() if not _same(other, clip, content)]
            known = {other.label or "" for other in others} | {label}
            check_labels(dict.fromkeys(known, "the corrections"))
            stem = safe_name(Path(name).stem)
            kept = self._folder / "clips" / f"{stem}-{content[:12]}{safe_suffix(name)}"
            if not kept.is_file():
                copy_whole(clip.path, kept)
            corrected = Clip(kept, label, clip.group or _group_of(name), clip.start, clip.end)
            write_manifest(Manifest((*others, corrected), self._folder, "", ""), self.manifest)
        return corrected


def _same(other: Clip, clip: Clip, content: str) -> bool:
    span = (clip.start, clip.end)
    return (other.start, other.end) == span and other.path.stem.endswith(content[:12])


def _group_of(name: str) -> str | None:
    """The group that a file's own name says; its copy is called otherwise."""
    named = assign_groups(Manifest((Clip(Path(Path(name).name)),), Path(), "", ""))
    return named.clips[0].group
