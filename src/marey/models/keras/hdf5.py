"""Trained Keras files, read as untrusted input: HDF5 (.h5, .weights.h5) and zip archives (.keras).

Nothing in them is executed. Links to other files, virtual and external data sets would open other files, and filters
of plugins would load code: all are refused. Sizes are checked before anything is read.
"""

from __future__ import annotations

import json
import math
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from marey.errors import ModelFormatError, UsageError
from marey.extras import install_command

Values = npt.NDArray[np.float32]

_MAX_TEXT: Final = 64 << 20  # bytes of a configuration: a ResNet152 has 0.3 MB
_MAX_BYTES: Final = 4 << 30  # of all weights
_RATIO: Final = 64  # unpacked bytes for each stored one: weights hardly compress
_DEPTH: Final = 24
_GROUPS: Final = 20_000
_FILTERS: Final = frozenset((1, 2, 3))  # gzip, shuffle, checksum: part of HDF5 itself
_CONFIG: Final = "config.json"
_WEIGHTS: Final = "model.weights.h5"


@dataclass(frozen=True)
class StoredArray:
    """A weight in a file.

    Attributes:
        path: of its data set.
        shape: as it is declared.
    """

    path: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class StoredLayer:
    """The weights of a layer at the top of a model, in Keras's order.

    Attributes:
        name: of the layer, or of its group: its class and a number.
        arrays: its weights.
    """

    name: str
    arrays: tuple[StoredArray, ...]


class KerasFile:
    """An open Keras file.

    Attributes:
        path: the file.
        config: the configuration of the model; None where the file holds weights only.
        version: of the Keras that wrote it; empty where unknown.
        numbered: True where groups are named by class and number, as Keras 3 does; False where layers have names.
        layers: the weights.
    """

    def __init__(self, path: Path, root: Any, config: dict[str, Any] | None, version: str) -> None:
        self.path, self.config, self.version = path, config, version
        self._root = root
        self._groups = 0
        self._bytes = 0
        base = _child(root, "model_weights", path) if "model_weights" in root else root
        self.numbered = not any(key.startswith("layer_names") for key in base.attrs)
        self.layers = tuple(self._numbered(root) if self.numbered else self._named(base))
        if not any(layer.arrays for layer in self.layers):
            raise ModelFormatError(f"{path} holds no weights of a Keras model: save it with model.save('NAME.keras')")

    def read(self, array: StoredArray) -> Values:
        """Return a weight.

        Raises:
            ModelFormatError: it cannot be read, or holds values that are not finite.
        """
        values = np.asarray(self._dataset(array.path)[()], dtype=np.float32)
        if not np.isfinite(values).all():
            raise ModelFormatError(f"{self.path}: {array.path} holds NaN or infinite values: its training diverged")
        return values

    def _named(self, base: Any) -> Iterator[StoredLayer]:
        for name in _names(base, "layer_names", self.path):
            group = self._enter(base, name)
            found = []
            for weight in _names(group, "weight_names", self.path):
                found.append(self._stored(f"{group.name}/{weight}"))
            yield StoredLayer(name, tuple(found))

    def _numbered(self, root: Any) -> Iterator[StoredLayer]:
        for folder in ("layers", "_layer_checkpoint_dependencies"):
            if folder in root:
                base = self._enter(root, folder)
                for name in sorted(base, key=natural):
                    yield StoredLayer(name, tuple(self._walk(self._enter(base, name), 0)))
                return
        if "vars" in root or not len(root):
            return
        raise ModelFormatError(
            f"{self.path} is no Keras model: it has neither 'layer_names' nor a group 'layers', but {sorted(root)[:3]}"
        )

    def _walk(self, group: Any, depth: int) -> Iterator[StoredArray]:
        """Yield the weights below a group; those of a layer in the order of their numbers."""
        if depth > _DEPTH:
            raise ModelFormatError(f"{self.path}: {group.name} is more than {_DEPTH} groups deep")
        for name in sorted(group, key=natural):
            if name == "vars":
                holder = self._enter(group, name)
                for number in sorted(holder, key=natural):
                    yield self._stored(f"{holder.name}/{number}")
            else:
                yield from self._walk(self._enter(group, name), depth + 1)

    def _enter(self, group: Any, name: str) -> Any:
        self._groups += 1
        if self._groups > _GROUPS:
            raise ModelFormatError(f"{self.path} has more than {_GROUPS:,} groups")
        found = _child(group, name, self.path)
        if not hasattr(found, "keys"):
            raise ModelFormatError(f"{self.path}: {found.name} is a data set where layers lie in groups")
        return found

    def _stored(self, path: str) -> StoredArray:
        data = self._dataset(path)
        self._bytes += math.prod(data.shape) * 4
        if self._bytes > _MAX_BYTES:
            raise ModelFormatError(f"{self.path} declares more than {_MAX_BYTES >> 30} GB of weights, at {path}")
        return StoredArray(path, tuple(int(length) for length in data.shape))

    def _dataset(self, path: str) -> Any:
        """Return a data set whose values lie in this file, as many as it declares."""
        place = self._root
        for part in [part for part in path.split("/") if part]:
            place = _child(place, part, self.path)
        if not hasattr(place, "dtype"):
            raise ModelFormatError(f"{self.path}: {path} is a group where a weight is expected")
        made = place.id.get_create_plist()
        if place.is_virtual or place.external:
            raise ModelFormatError(f"{self.path}: {path} takes its values from another file: it is not opened")
        filters = {made.get_filter(number)[0] for number in range(made.get_nfilters())}
        if filters - _FILTERS:
            raise ModelFormatError(f"{self.path}: {path} is packed by a filter that HDF5 loads as a plugin: refused")
        if place.dtype.kind != "f" or place.shape is None:
            raise ModelFormatError(f"{self.path}: {path} holds {place.dtype}, and weights are floating-point numbers")
        size, kept = math.prod(place.shape) * place.dtype.itemsize, place.id.get_storage_size()
        if size > _RATIO * kept:
            raise ModelFormatError(
                f"{self.path}: {path} declares {size:,} bytes {place.shape}, and {kept:,} are in the file: it is "
                "damaged, or made to fill the memory"
            )
        return place


def natural(name: str) -> tuple[str, int]:
    """Return the order of "dense", "dense_1", ... "dense_10", and of "0", "1", ... "10"."""
    stem, _, number = name.rpartition("_")
    if name.isdecimal():
        return "", int(name[:9])
    return (stem, int(number[:9])) if stem and number.isdecimal() else (name, 0)


@contextmanager
def open_keras(path: str | Path) -> Iterator[KerasFile]:
    """Open a trained Keras model, or weights of one.

    Raises:
        UsageError: h5py is not installed.
        ModelFormatError: there is no such file; it is damaged, no Keras file, or would open other files.
    """
    path = Path(path)
    try:
        import h5py
    except ImportError as error:
        raise UsageError(f"{path} is read by h5py, which is not installed: {install_command('keras')}") from error
    if not path.is_file():
        raise ModelFormatError(f"no Keras model at {path}: there is no such file")
    try:
        if zipfile.is_zipfile(path):
            with tempfile.TemporaryFile() as unpacked:
                config, version = _unpack(path, unpacked)
                with h5py.File(unpacked, "r") as root:
                    yield KerasFile(path, root, config, version)
        else:
            with path.open("rb") as file, h5py.File(file, "r") as root:
                yield KerasFile(path, root, _model_config(root, path), _text(root.attrs.get("keras_version", "")))
    except (ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    except (TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, UsageError):
            raise
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ModelFormatError:
    detail = " ".join(str(error).split())[:160] or type(error).__name__
    return ModelFormatError(
        f"{path} cannot be read as a Keras model ({detail}): give a .keras or .h5 file, as model.save writes it"
    )


def read_json(data: bytes | str, what: str) -> dict[str, Any]:
    """Return an object of JSON.

    Raises:
        ModelFormatError: it is too large, too deep, or none.
    """
    if len(data) > _MAX_TEXT:
        raise ModelFormatError(f"{what} is larger than {_MAX_TEXT >> 20} MB")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{what} is not JSON, or is nested too deep ({type(error).__name__})") from error
    if not isinstance(found, dict):
        raise ModelFormatError(f"{what} is no object of JSON")
    return found


def _unpack(path: Path, place: IO[bytes]) -> tuple[dict[str, Any], str]:
    """Write the weights of a .keras archive, and return its configuration and Keras's version."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        missing = [name for name in (_CONFIG, _WEIGHTS) if name not in names]
        if missing:
            raise ModelFormatError(f"{path} has no {missing[0]}: it is no file that Keras 3's model.save wrote")
        config = read_json(_read(archive, _CONFIG, path), f"{path}: {_CONFIG}")
        version = ""
        if "metadata.json" in names:
            found = read_json(_read(archive, "metadata.json", path), f"{path}: metadata.json")
            version = _text(found.get("keras_version", ""))
        entry = archive.getinfo(_WEIGHTS)
        if entry.file_size > min(_MAX_BYTES, _RATIO * max(entry.compress_size, 1)):
            raise ModelFormatError(
                f"{path}: {_WEIGHTS} unpacks to {entry.file_size:,} bytes from {entry.compress_size:,}: not unpacked"
            )
        with archive.open(entry) as packed:
            while block := packed.read(1 << 20):
                place.write(block)
    place.seek(0)
    return config, version


def _read(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    with archive.open(name) as packed:
        data = packed.read(_MAX_TEXT + 1)  # whatever the archive declares
    if len(data) > _MAX_TEXT:
        raise ModelFormatError(f"{path}: {name} is larger than {_MAX_TEXT >> 20} MB")
    return data


def _model_config(root: Any, path: Path) -> dict[str, Any] | None:
    if "model_config" not in root.attrs:
        return None
    return read_json(_text(root.attrs["model_config"]), f"{path}: model_config")


def _child(group: Any, name: str, path: Path) -> Any:
    """Return a member that lies in the same file."""
    import h5py

    for part in [part for part in name.split("/") if part]:
        if part in (".", "..") or part not in group:
            raise ModelFormatError(f"{path}: {group.name} has no {part!r}, which it lists: the file is damaged")
        link = group.get(part, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise ModelFormatError(f"{path}: {group.name}/{part} is a link, possibly to another file: it is not opened")
        group = group[part]
    return group


def _names(group: Any, key: str, path: Path) -> list[str]:
    """Return an attribute of names; Keras splits long ones into `key0`, `key1`, ..."""
    if key in group.attrs:
        parts = [group.attrs[key]]
    else:
        parts = [group.attrs[f"{key}{n}"] for n in range(_GROUPS) if f"{key}{n}" in group.attrs]
    return [_text(name) for part in parts for name in np.asarray(part).reshape(-1).tolist()]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
