"""The page in the browser: recognise clips, look at runs, teach new models."""

from __future__ import annotations

from marey.app.settings import Settings

__all__ = ["Settings"]
