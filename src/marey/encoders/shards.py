"""Shards: the part of a data set that one of several processes reads, here or on other machines."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from marey.data import Clip
from marey.data.text import relative_name
from marey.errors import UsageError
from marey.remote_path import as_path


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts of a data set.

    A file belongs to the shard that the BLAKE2b hash of its path below the data set's folder names. So all clips of a
    file are in one shard, each file is in exactly one, and none changes its shard where other files come or go. The
    content of a file does not count: to know it, each process would have to read all files.

    Attributes:
        number: from 1 to `count`.
        count: number of shards.
        named_by: the option or the variables that name it.
    """

    number: int
    count: int
    named_by: str = "--shard"

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, name: str) -> bool:
        """Return whether a file belongs to this shard, given its path below the folder, with forward slashes."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1

    def choose(self, clips: Sequence[Clip], root: str | os.PathLike[str]) -> list[Clip]:
        """Return the clips of this shard.

        Args:
            clips: of the data set.
            root: its folder.
        """
        folder = as_path(os.fspath(root))
        return [clip for clip in clips if self.holds(relative_name(clip.path, folder))]


def find_shard(given: str | None, environment: Mapping[str, str] = os.environ) -> Shard | None:
    """Return the shard of this process: the given one, else that of a SLURM array and of `torchrun`; None for all.

    Args:
        given: "K/N", with K from 1 to N; "all" for no shard, whatever the environment has.
        environment: `SLURM_ARRAY_TASK_ID` with `_COUNT`, `_MIN` and `_STEP`; `RANK` with `WORLD_SIZE`. Where both are
            set, each task of the array is divided among its ranks.

    Raises:
        UsageError: it is no such text, or the variables do not tell the number of shards.
    """
    if given is not None:
        return None if given == "all" else _parse(given)
    found = [part for part in (_of_array(environment), _of_ranks(environment)) if part is not None]
    if not found:
        return None
    number, count = 0, 1
    for part in found:
        number, count = number * part.count + part.number - 1, count * part.count
    return Shard(number + 1, count, " and ".join(part.named_by for part in found))


def _parse(given: str) -> Shard:
    match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", given)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"shard={given}: write K/N, the K-th of N shards, as in 1/8 to 8/8; or all")
    return Shard(int(match[1]), int(match[2]))


def _of_array(environment: Mapping[str, str]) -> Shard | None:
    variable = "SLURM_ARRAY_TASK_ID"
    if variable not in environment:
        return None
    task = _number(environment, variable)
    first = _number(environment, "SLURM_ARRAY_TASK_MIN", 0)
    step = max(1, _number(environment, "SLURM_ARRAY_TASK_STEP", 1))
    if "SLURM_ARRAY_TASK_COUNT" in environment:
        count = _number(environment, "SLURM_ARRAY_TASK_COUNT")
    elif "SLURM_ARRAY_TASK_MAX" in environment:
        count = (_number(environment, "SLURM_ARRAY_TASK_MAX") - first) // step + 1
    else:
        raise UsageError(f"{variable}={task} tells no number of shards: add --shard {task}/N, or --shard all")
    place, off = divmod(task - first, step)
    if off or not 0 <= place < count:
        raise UsageError(
            f"{variable}={task} is no place in an array of {count} from {first} in steps of {step}: number its tasks "
            f"without gaps, or add --shard K/N"
        )
    return Shard(place + 1, count, variable)


def _of_ranks(environment: Mapping[str, str]) -> Shard | None:
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    rank, size = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
    if not 0 <= rank < size:
        raise UsageError(f"RANK={rank} has to be from 0 to WORLD_SIZE - 1, and WORLD_SIZE={size}: add --shard K/N")
    return Shard(rank + 1, size, "RANK")


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError as error:
        raise UsageError(f"{name}='{text}' is not a number: correct it, or add --shard K/N") from error
