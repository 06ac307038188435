"""The app in the browser: predict clips, inspect runs, train new models."""

from __future__ import annotations

from marey.app.command import app
from marey.app.settings import Settings

__all__ = ["Settings", "app"]
