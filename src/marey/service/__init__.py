"""marey over HTTP: predictions for many callers at a time, and jobs that outlive a restart."""

from __future__ import annotations

from marey.service.models import find_models
from marey.service.server import Served, create_app, run
from marey.service.settings import Layout, Settings, default_layout

__all__ = ["Layout", "Served", "Settings", "create_app", "default_layout", "find_models", "run"]
