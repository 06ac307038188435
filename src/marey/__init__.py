"""marey: human action recognition in video, from a folder of clips to a tested model.

Each command of the command line is a function here: `marey.train`, `marey.evaluate`, `marey.predict`. Those of
`marey data` are in `marey.commands.data`. The packages below, `marey.video` to `marey.reports`, are their parts.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marey.errors import did_you_mean
from marey.progress import Reporter, use_interactive
from marey.version import __version__

if TYPE_CHECKING:
    from marey.commands import (
        compare,
        demo,
        diagnose,
        doctor,
        evaluate,
        explain,
        extract,
        find,
        import_keras,
        learn,
        list_models,
        list_recipes,
        predict,
        quantize,
        train,
        tune,
    )
    from marey.prediction import Predictor

    __all__ = [
        "Predictor",
        "__version__",
        "compare",
        "demo",
        "diagnose",
        "doctor",
        "evaluate",
        "explain",
        "extract",
        "find",
        "import_keras",
        "learn",
        "list_models",
        "list_recipes",
        "predict",
        "quantize",
        "train",
        "tune",
    ]


def _interactive() -> Reporter:
    """Return a reporter with progress bars, for a terminal or a notebook."""
    from marey.cli.screen import Screen

    return Screen(quiet=False).reporter()


use_interactive(_interactive)


def _functions(*, extensions: bool = False) -> dict[str, Any]:
    """Return the commands of no group: name -> function; those of extensions too, if that is asked for."""
    from marey.commands import COMMANDS
    from marey.extensions import load_extensions

    if extensions:
        load_extensions(listing=True)
    return {each.function.__name__: each.function for each in COMMANDS.values() if not each.group}


def __getattr__(name: str) -> Any:
    """Return a public name; it is imported when it is first used, so that `import marey` costs nothing."""
    if name == "Predictor":
        return import_module("marey.prediction").Predictor
    folder = Path(__file__).parent
    if (folder / name).is_dir() or (folder / f"{name}.py").is_file():
        raise AttributeError(name)  # a package, which Python then imports
    if name == "__all__":
        return sorted(["Predictor", "__version__", *_functions(extensions=True)])
    if name.startswith("__"):
        raise AttributeError(f"module 'marey' has no attribute '{name}'")
    functions = _functions()
    if name == "quantise":
        warnings.warn("marey.quantise is now called marey.quantize", FutureWarning, stacklevel=2)
        name = "quantize"
    if name not in functions:
        functions = _functions(extensions=True)
    if name in functions:
        return functions[name]
    raise AttributeError(f"module 'marey' has no attribute '{name}'; {did_you_mean(name, ['Predictor', *functions])}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
