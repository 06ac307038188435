"""Extensions: modules outside marey that register heads, encoders, streams, metrics and commands.

An extension is a module whose import registers something with a decorator, such as `register_head`. It is named by an
installed package, in the entry point group `marey.plugins`, or by the variable MAREY_PLUGINS: modules or `.py` files,
separated by commas. Extensions are imported when a name is not one of marey's own, and when names are listed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from marey.errors import UnknownNameError, UsageError, first_line

T = TypeVar("T")

GROUP: Final = "marey.plugins"
"""The group of entry points."""
VARIABLE: Final = "MAREY_PLUGINS"
"""The environment variable."""


class ExtensionWarning(UserWarning):
    """A warning about an extension that cannot be used."""


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension that was imported, or failed.

    Attributes:
        name: the module, or the file.
        module: the name that it is imported by.
        package: the installed package with its version; empty where MAREY_PLUGINS names it.
        failure: why it cannot be used; None where it can.
    """

    name: str
    module: str
    package: str = ""
    failure: str | None = None

    def __str__(self) -> str:
        return f"{self.name} of the package {self.package}" if self.package else self.name


_EXTENSIONS: Final[dict[str, Extension]] = {}
_WARNED: Final[set[str]] = set()
_LOCK: Final = threading.RLock()


def load_extensions(*, listing: bool = False) -> tuple[Extension, ...]:
    """Import the extensions that are not imported yet, and return all; one that fails is returned with its failure.

    Args:
        listing: warn of each extension that failed, once: its names are missing from a list.
    """
    with _LOCK:
        for extension, load in _named():
            if extension.name not in _EXTENSIONS:
                _EXTENSIONS[extension.name] = extension  # before it is imported: its import may ask for names
                _EXTENSIONS[extension.name] = replace(extension, failure=_failure(load))
        found = tuple(_EXTENSIONS.values())
        failed = [each for each in found if each.failure is not None and each.name not in _WARNED] if listing else []
        _WARNED.update(each.name for each in failed)
    for each in failed:
        warnings.warn(_sentence(each), ExtensionWarning, stacklevel=3)
    return found


def find_registered(registry: Mapping[str, T], name: str) -> T | None:
    """Return what is registered under a name, by marey or else by an extension; None where nothing is."""
    if name not in registry:
        load_extensions()
    return registry.get(name)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error about an unknown name; it names the extensions that failed, which may have had it."""
    failed = [_sentence(each) for each in load_extensions() if each.failure is not None]
    return UnknownNameError(kind, name, known, note="; ".join(failed))


def extension_of(registered: object) -> str | None:
    """Return the extension that registered a class or a function, in words; None for those of marey."""
    module = getattr(registered, "__module__", "")
    if module.partition(".")[0] == "marey":
        return None
    owners = [each for each in load_extensions() if f"{module}.".startswith(f"{each.module}.")]
    return str(max(owners, key=lambda each: len(each.module))) if owners else module


def blamed_extension(error: BaseException) -> Extension | None:
    """Return the extension whose code raised an error; None where it was not one of them."""
    files = {frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)}
    for each in _EXTENSIONS.values():
        module = sys.modules.get(each.module)
        if module is not None and module.__file__ in files:
            return each
    return None


def _sentence(extension: Extension) -> str:
    return f"the extension {extension} cannot be used: {extension.failure}"


def _named() -> Iterable[tuple[Extension, Callable[[], ModuleType]]]:
    """Yield the extensions that are named, with the function that imports each."""
    for point in _entry_points():
        package = f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""
        yield Extension(point.name, point.module, package), partial(importlib.import_module, point.module)
    for name in filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))):
        if name.endswith(".py"):
            path = Path(name).expanduser().absolute()
            yield Extension(name, path.stem), partial(_import_file, path)
        else:
            yield Extension(name, name), partial(importlib.import_module, name)


@cache
def _entry_points() -> tuple[metadata.EntryPoint, ...]:
    return tuple(sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name))


def _import_file(path: Path) -> ModuleType:
    known = sys.modules.get(path.stem)
    if known is not None:
        if known.__file__ is not None and Path(known.__file__).resolve() == path.resolve():
            return known
        raise UsageError(f"a module is called {path.stem} already; rename the file")
    if not path.is_file():
        raise UsageError(f"there is no file {path}; {VARIABLE} names it")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # noqa: S101 - its suffix is .py
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _failure(load: Callable[[], Any]) -> str | None:
    """Import an extension; return why it cannot be used, or None."""
    try:
        load()
    except UsageError as error:
        return first_line(error)
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {first_line(error)}{_place(error)}"
    return None


def _place(error: BaseException) -> str:
    """Return the line of the extension that failed; a syntax error says it itself."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith("<frozen")]
    outside = [each for each in frames if each.filename != __file__]
    return f" ({Path(outside[-1].filename).name}, line {outside[-1].lineno})" if outside else ""
