"""The commands of marey, one typed function each: the same in Python and on the command line.

Every module of this package is imported, and registers its commands with `@command` (`registry.py`).
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from marey.commands.registry import COMMANDS, Command, command
from marey.progress import Reporter, Stage

for _module in iter_modules(__path__):
    if not _module.ispkg:
        import_module(f"marey.commands.{_module.name}")
for _each in COMMANDS.values():  # a function takes the place of its module: `marey.commands.train`
    if not _each.group:
        globals()[_each.function.__name__] = _each.function

if TYPE_CHECKING:
    from marey.commands import data, data_export, exchange, recipes, sheet
    from marey.commands.compare import compare
    from marey.commands.demo import demo
    from marey.commands.diagnose import diagnose
    from marey.commands.doctor import doctor
    from marey.commands.evaluate import evaluate
    from marey.commands.explain import explain
    from marey.commands.extract import extract
    from marey.commands.find import find
    from marey.commands.import_keras import import_keras
    from marey.commands.learn import learn
    from marey.commands.models import list_models
    from marey.commands.predict import predict
    from marey.commands.quantize import quantize
    from marey.commands.recipes import list_recipes
    from marey.commands.train import train
    from marey.commands.tune import tune

__all__ = [
    "COMMANDS",
    "Command",
    "Reporter",
    "Stage",
    "command",
    "compare",
    "data",
    "data_export",
    "demo",
    "diagnose",
    "doctor",
    "evaluate",
    "exchange",
    "explain",
    "extract",
    "find",
    "import_keras",
    "learn",
    "list_models",
    "list_recipes",
    "predict",
    "quantize",
    "recipes",
    "sheet",
    "train",
    "tune",
]
