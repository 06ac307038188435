"""Partitions of features: written as soon as their clips are done, so that a second run does only the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from marey.data import Clip
from marey.data.importers.feature_partitions import ROWS, PartitionFolder, PartitionRow
from marey.data.importers.features import Features
from marey.encoders import Contract, DoneList, DoneRow, FeatureCache
from marey.errors import UsageError, VideoError


class Partitions:
    """The partitions of a data set on their way into a folder.

    Args:
        out: the folder, here or in an object store.
        contract: of the features.
        clips: of the data set, in its order.
        names: of the clips in the folder, in the same order.
        listed: the list of what is done.
        rows: its rows.
        cache: of features.

    Attributes:
        rest: places of the clips that are still to be read.
        written: number of partitions that were written now.

    Raises:
        UsageError: the folder holds something else, or cannot be read.
    """

    def __init__(
        self,
        out: str | Path,
        contract: Contract,
        clips: Sequence[Clip],
        names: Sequence[str],
        *,
        listed: DoneList,
        rows: Mapping[str, DoneRow],
        cache: FeatureCache,
    ) -> None:
        self._folder = PartitionFolder(out, contract.model_dump(mode="json"), tuple(contract.streams))
        self._folder.check()
        self._clips, self._names = clips, names
        self._listed, self._cache = listed, cache
        self._known = self._folder.known()
        self._keys: dict[int, tuple[str, ...] | VideoError] = {}
        for place, clip in enumerate(clips):
            keys = self._done(clip, names[place], rows)
            if keys is not None:
                self._keys[place] = keys
        self.rest = [place for place in range(len(clips)) if place not in self._keys]
        self.written = 0
        self._files: dict[int, str] = {}
        for number in range(self.count):
            self._write(number)

    def add(self, place: int, result: tuple[str, ...] | VideoError) -> None:
        """Take the result of a clip, and write its partition if that was the last one missing."""
        self._keys[place] = result
        self._write(place // ROWS)

    @property
    def count(self) -> int:
        """Number of partitions."""
        return -(-len(self._clips) // ROWS)

    def finish(self) -> None:
        """Say which partitions belong together."""
        self._folder.finish([self._files[number] for number in sorted(self._files)])

    def _done(self, clip: Clip, name: str, rows: Mapping[str, DoneRow]) -> tuple[str, ...] | None:
        """Return the keys of a clip that is done, by the list or by a partition."""
        if self._listed.is_done(clip, rows):
            return tuple(rows[self._listed.name_of(clip)].keys)
        row, _ = self._known.get(name, (None, ""))
        state = self._listed.state_of(clip)
        if row is None or row.reason is not None or state is None or row.state != json.dumps(state):
            return None
        return row.keys

    def _write(self, number: int) -> None:
        """Write a partition if all of its clips are done and it is not there."""
        places = range(number * ROWS, min((number + 1) * ROWS, len(self._clips)))
        if any(place not in self._keys for place in places):
            return
        rows = [self._row(place) for place in places]
        name = self._folder.name(number, rows)
        self._files[number] = name
        if all(self._known.get(row.clip, (None, ""))[1] == name for row in rows):
            return
        self._folder.write(name, rows, self._features)
        self.written += 1

    def _row(self, place: int) -> PartitionRow:
        clip, result = self._clips[place], self._keys[place]
        state = json.dumps(self._listed.state_of(clip))
        named = self._names[place], clip.label, clip.group, clip.split, state
        if isinstance(result, VideoError):
            return PartitionRow(*named, (), result.reason, result.detail)
        return PartitionRow(*named, result)

    def _features(self, row: PartitionRow, stream: int) -> Features:
        """Return features from the cache, or from the partition that had them before."""
        features = self._cache.get(row.keys[stream])
        if features is not None:
            found: Features = features.float().numpy()
            return found
        before, name = self._known.get(row.clip, (None, ""))
        if before is None or before.keys != row.keys:
            raise UsageError(f"the features of {row.clip} have gone from {self._cache.root} meanwhile: run it again")
        return self._folder.read(name, row.clip, stream)
