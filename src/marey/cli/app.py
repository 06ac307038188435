"""The program `marey`: its verbs, and what becomes of errors."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import typer

from marey import __version__, commands
from marey.app.command import app as app_command
from marey.cli.command import command
from marey.errors import MareyError
from marey.service.command import serve

app = typer.Typer(
    help="Recognise human actions in video: from a folder of clips to a model one can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="List, get, make, import, export, scan and split data sets.", no_args_is_help=True)

_VERBS: dict[str, Callable[..., Any]] = {
    "train": commands.train,
    "evaluate": commands.evaluate,
    "predict": commands.predict,
    "compare": commands.compare,
    "tune": commands.tune,
    "quantise": commands.quantise,
    "models": commands.list_models,
    "app": app_command,
    "serve": serve,
    "extract": commands.extract,
    "doctor": commands.doctor,
    "demo": commands.demo,
}
_DATA_VERBS: dict[str, Callable[..., Any]] = {
    "list": commands.data.list_data,
    "get": commands.data.get,
    "make": commands.data.make,
    "import": commands.exchange.import_data,
    "export": commands.exchange.export,
    "scan": commands.data.scan,
    "split": commands.data.split,
}
for name, verb in _VERBS.items():
    app.command(name)(command(verb))
for name, verb in _DATA_VERBS.items():
    data.command(name)(command(verb))
app.add_typer(data, name="data")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"marey {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 2 wrong use, 3 the input cannot be used or an output cannot be written, 1 a fault of marey.
    """
    with suppress(ValueError):  # elsewhere than in the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it is answered as Ctrl-C is
    try:
        app()
    except MareyError as error:
        sys.stderr.write(f"marey: {error}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        # A full disk, a folder that may not be written to: not marey's doing.
        place = f"{error.filename}: " if error.filename is not None else ""
        sys.stderr.write(
            f"marey: {place}{error.strerror or error}; make room or name another place: what was finished is kept, "
            "and the same command goes on from there\n"
        )
        sys.exit(3)
    except Exception:
        traceback.print_exc()
        sys.stderr.write("marey: this is a fault of marey, not of your input; please report it with the lines above\n")
        sys.exit(1)
