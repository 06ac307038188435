"""The program `marey`: its commands and exit codes."""

from __future__ import annotations

import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from inspect import unwrap
from typing import Any, Final, get_args

import typer

import marey.app.command
import marey.service.command  # noqa: F401 - registers its command, as those of marey.commands register themselves
from marey import __version__
from marey.cli.command import typer_command
from marey.cli.plain_text import visible
from marey.commands import COMMANDS
from marey.commands.registry import Command, Panel
from marey.errors import MareyError
from marey.extensions import ExtensionWarning, blamed_extension, extension_of, load_extensions

_GROUPS: Final = {
    "data": "List, get, make, import, scan and split data sets.",
    "recipes": "List the built-in recipes, print one, or explain the keys of a recipe.",
}
_FORMAT: Final = warnings.formatwarning
_PANELS: Final = get_args(Panel)
_SETTINGS: Final[dict[str, Any]] = {"context_settings": {"help_option_names": ["-h", "--help"]}}


def build() -> typer.Typer:
    """Build the program of all registered commands."""
    program = typer.Typer(
        help="Recognise human actions in video: from a folder of clips to a tested model.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        **_SETTINGS,
    )
    program.callback()(_options)
    groups: dict[str, typer.Typer] = {}
    commands = [command for command in COMMANDS.values() if _usable(command)]
    for command in sorted(commands, key=lambda command: (_PANELS.index(command.panel), command.name)):
        if any(other.group == command.name for other in commands):
            continue  # `recipes` is also a group, and is run by it
        group = program
        if command.group:
            if command.group not in groups:
                groups[command.group] = _group(program, command.group, COMMANDS.get(command.group))
            group = groups[command.group]
        group.command(
            command.name.rpartition(" ")[2], rich_help_panel=None if command.group else command.panel, **_SETTINGS
        )(typer_command(command))
    for command in commands:
        for alias in command.aliases:
            name, _, last = alias.rpartition(" ")
            (groups[name] if name else program).command(last, hidden=True, **_SETTINGS)(typer_command(command))
    return program


def app() -> None:
    """Build the program, with the commands of extensions where it lacks the one that is asked for, and run it."""
    if _is_unknown(sys.argv[1:]):
        load_extensions(listing=True)
    build()()


def _is_unknown(arguments: Sequence[str]) -> bool:
    """Return True if no command of marey's own is asked for, as for the list of all."""
    words = [each for each in arguments if not each.startswith("-")]
    if not words:
        return "--version" not in arguments
    groups = {command.group for command in COMMANDS.values()}
    name = " ".join(words[: 2 if words[0] in groups else 1])
    return not any(name in (command.name, *command.aliases) for command in COMMANDS.values())


def _usable(command: Command) -> bool:
    """Return False, with a warning, for a command of an extension that has a parameter which Typer cannot read."""
    extension = extension_of(unwrap(command.function))
    if extension is None:
        return True
    trial = typer.Typer()
    try:
        trial.command()(typer_command(command))
        typer.main.get_command(trial)
    except Exception as error:
        text = f"the command '{command.name}' of the extension {extension} cannot be used: {error}"
        warnings.warn(text, ExtensionWarning, stacklevel=2)
        return False
    return True


def _group(program: typer.Typer, name: str, own: Command | None) -> typer.Typer:
    """Add a group; one that is also a command runs it when no other is named."""
    text = _GROUPS.get(name, f"The commands of {name}.")
    group = typer.Typer(help=text, no_args_is_help=own is None, invoke_without_command=own is not None, **_SETTINGS)
    if own is not None:
        run = typer_command(own)

        @group.callback(help=text)
        def _run(
            context: typer.Context, json: bool = typer.Option(False, "--json", help="Print the answer as JSON.")
        ) -> None:
            if context.invoked_subcommand is None:
                run(json=json)

    program.add_typer(group, name=name, rich_help_panel="Data and features" if name == "data" else "Information")
    return group


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"marey {__version__}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Define the options of the program itself."""


def _line_of_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Write warnings about extensions as other messages of the program are written."""
    if issubclass(category, ExtensionWarning):
        return visible(f"marey: {message}\n")
    return _FORMAT(message, category, filename, lineno, line)


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 2 wrong use, 3 the input cannot be used or an output cannot be written, 1 a bug of marey.
    """
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends it as Ctrl-C does
    warnings.formatwarning = _line_of_warning
    try:
        app()
    except MareyError as error:
        sys.stderr.write(visible(f"marey: {error}\n"))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        # A full disk, a folder that may not be written to: not a bug of marey.
        place = f"{error.filename}: " if error.filename is not None else ""
        text = f"marey: {place}{error.strerror or error}; make room or name another place: what was finished is kept, "
        sys.stderr.write(visible(text) + "and the same command continues from there\n")
        sys.exit(3)
    except Exception as error:
        traceback.print_exc()
        extension = blamed_extension(error)
        if extension is not None:
            sys.stderr.write(f"marey: this is a fault of the extension {extension}; report it to its author\n")
            sys.exit(1)
        sys.stderr.write("marey: this is a fault of marey, not of your input; please report it with the lines above\n")
        sys.exit(1)
