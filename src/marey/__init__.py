"""marey: from a folder of clips to an action model one can trust.

The verbs of the command line are functions here (those of `marey data` in `marey.commands.data`); what they are made
of lies in the rooms, `marey.video` to `marey.reports`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from marey.version import __version__

if TYPE_CHECKING:
    from marey.commands import compare, demo, doctor, evaluate, extract, list_models, predict, quantise, train, tune
    from marey.prediction import Predictor

__all__ = [
    "Predictor",
    "__version__",
    "compare",
    "demo",
    "doctor",
    "evaluate",
    "extract",
    "list_models",
    "predict",
    "quantise",
    "train",
    "tune",
]

_ROOMS: Final = dict.fromkeys(__all__, "marey.commands") | {"Predictor": "marey.prediction"}


def __getattr__(name: str) -> Any:
    """Public names are fetched when they are first asked for: `import marey` costs nothing."""
    if name not in _ROOMS or name == "__version__":
        raise AttributeError(f"module 'marey' has no attribute '{name}'")
    return getattr(import_module(_ROOMS[name]), name)
