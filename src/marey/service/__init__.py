"""marey over HTTP: predictions for many callers at a time, and jobs that outlive a restart.

Names are imported when they are first used: `marey.client` and the command line need no web server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from marey.service.models import find_models
    from marey.service.server import Served, create_app, run
    from marey.service.settings import Layout, Settings, default_layout

__all__ = ["Layout", "Served", "Settings", "create_app", "default_layout", "find_models", "run"]

_MODULES: Final = {
    "find_models": "models",
    **dict.fromkeys(("Served", "create_app", "run"), "server"),
    **dict.fromkeys(("Layout", "Settings", "default_layout"), "settings"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'marey.service' has no attribute '{name}'")
    return getattr(import_module(f"marey.service.{_MODULES[name]}"), name)
