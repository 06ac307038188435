"""What the page was started with: where models and clips lie, and who can reach it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VARIABLE: Final = "MAREY_APP"


@dataclass(frozen=True, slots=True)
class Settings:
    """The folders of the page.

    Attributes:
        models: runs and model folders are looked for below it, and new runs are put there.
        data: what people drop on the page, what they correct, and the films that are made for it.
        local: whether only people at this machine can reach the page: they may name files and folders on it.
    """

    models: Path
    data: Path
    local: bool

    @property
    def uploads(self) -> Path:
        """Clips that were dropped or recorded."""
        return self.data / "uploads"

    @property
    def films(self) -> Path:
        """Annotated copies of clips, made to be played by a browser."""
        return self.data / "films"

    @property
    def sets(self) -> Path:
        """Clips by class, a folder a set."""
        return self.data / "sets"

    @property
    def jobs(self) -> Path:
        """Trainings that were started from the page, a folder each."""
        return self.data / "trainings"

    @property
    def corrections(self) -> Path:
        """Clips whose label was put right, with their manifest."""
        return self.data / "corrections"

    def to_environment(self) -> dict[str, str]:
        """The environment variable that a page reads them from."""
        values = {"models": str(self.models.absolute()), "data": str(self.data.absolute()), "local": self.local}
        return {VARIABLE: json.dumps(values)}

    @classmethod
    def from_environment(cls) -> Settings:
        """As the server was started."""
        values = json.loads(os.environ[VARIABLE])
        return cls(Path(values["models"]), Path(values["data"]), bool(values["local"]))
