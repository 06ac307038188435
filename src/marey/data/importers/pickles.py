"""Read pickles of NumPy arrays without running their content."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from marey.data.importers import unpickle
from marey.data.importers.npz import open_npy
from marey.errors import DatasetError

_NO_MEMORY: Final = "needs more memory than there is, or than a file of its size should need; save the arrays as .npz"


def read_pickle(path: str | Path) -> Any:
    """Read a pickle file, of protocol 0 to 5, that contains only arrays and plain containers.

    The file is read by another process with a limit on memory and CPU time (`unpickle.py`), and no code of the file is
    run. The arrays come back as files that are mapped into memory.

    Args:
        path: the file. Several pickles one after another, as repeated calls of `pickle.dump` write them, are allowed.

    Returns:
        Lists, tuples, dictionaries, text, bytes, numbers and NumPy arrays; a tuple of them for several pickles.

    Raises:
        DatasetError: the file cannot be read, is damaged, or contains anything else, which the message names.
    """
    path = Path(path)
    try:
        with path.open("rb"):
            pass
        with TemporaryDirectory(prefix="marey-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            done = subprocess.run(  # noqa: S603 - our own script, and no shell
                [sys.executable, "-P", unpickle.__file__, os.fspath(path.absolute()), name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # each thread reserves memory
                check=False,
            )
            try:
                result = json.loads((folder / unpickle.RESULT).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                why = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:200]
                if "MemoryError" in why:
                    result = {"memory": ""}
                else:
                    result = {"damaged": f"its reader ended with {done.returncode}{': ' * bool(why)}{why}"}
            if "nodes" in result:
                values = _values(result["nodes"], folder)
                found = [values[root] for root in result["roots"]]
                return found[0] if len(found) == 1 else tuple(found)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    if "refused" in result:
        raise DatasetError(f"{path} is not read any further: {result['refused']}")
    if "memory" in result:
        raise DatasetError(f"{path} {_NO_MEMORY}")
    raise DatasetError(f"{path} is no pickle, or a damaged one ({result['damaged']})")


def _values(nodes: Sequence[tuple[str, Any]], folder: Path) -> list[Any]:
    """Return the value of each node; a node refers only to nodes before it."""
    values: list[Any] = []
    for kind, content in nodes:
        value: Any = content
        if kind in ("list", "tuple"):
            value = [values[number] for number in content]
            value = tuple(value) if kind == "tuple" else value
        elif kind == "dict":
            value = {values[key]: values[number] for key, number in content}
        elif kind in ("array", "scalar"):
            value = open_npy(folder / f"{content}.npy")
            value = value[()] if kind == "scalar" else value
        elif kind == "bytes":
            value = base64.b64decode(content)
        elif kind == "int":
            value = int(content, 16)
        values.append(value)
    return values
