"""Settings of the app: the folders of models and clips, and who can reach the page."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VARIABLE: Final = "MAREY_APP"


@dataclass(frozen=True, slots=True)
class Settings:
    """Folders of the app.

    Attributes:
        models: folder of runs and models; new runs are written to it.
        data: uploads, corrections, training jobs and annotated videos.
        local: only this machine can reach the page; its users may name files and folders.
    """

    models: Path
    data: Path
    local: bool

    @property
    def uploads(self) -> Path:
        """Clips that users uploaded or recorded."""
        return self.data / "uploads"

    @property
    def video_cache(self) -> Path:
        """Annotated copies of clips, for the browser."""
        return self.data / "videos"

    @property
    def sets(self) -> Path:
        """Uploaded clips by class, a folder a set."""
        return self.data / "sets"

    @property
    def jobs(self) -> Path:
        """Training jobs, a folder each."""
        return self.data / "trainings"

    @property
    def corrections(self) -> Path:
        """Clips with corrected labels, and their manifest."""
        return self.data / "corrections"

    def to_environment(self) -> dict[str, str]:
        """Return the environment variable that carries the settings to the server process."""
        values = {"models": str(self.models.absolute()), "data": str(self.data.absolute()), "local": self.local}
        return {VARIABLE: json.dumps(values)}

    @classmethod
    def from_environment(cls) -> Settings:
        """Read the settings that `to_environment` wrote."""
        values = json.loads(os.environ[VARIABLE])
        return cls(Path(values["models"]), Path(values["data"]), bool(values["local"]))
