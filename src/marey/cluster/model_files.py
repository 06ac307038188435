"""The files of a model on their way to the nodes of a cluster, which may not see the folder that it lies in."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from marey.data.hashing import values_hash
from marey.models import ActionModel, load_model, save_model


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model folder.

    Attributes:
        files: path in the folder, with forward slashes -> bytes.
    """

    files: dict[str, bytes]

    @classmethod
    def of(cls, model: ActionModel) -> ModelFiles:
        """Return the files of a model."""
        with tempfile.TemporaryDirectory(prefix="marey-model-") as folder:
            save_model(model, folder)
            paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
            return cls({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})

    @property
    def hash(self) -> str:
        """A hash of all files."""
        return values_hash({name: content.hex() for name, content in self.files.items()})

    def load(self) -> ActionModel:
        """Return the model.

        Raises:
            ModelFormatError: a package or an extension that it needs is not here.
        """
        with tempfile.TemporaryDirectory(prefix="marey-model-") as folder:
            for name, content in self.files.items():
                place = Path(folder, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
            return load_model(folder)
