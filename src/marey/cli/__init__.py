"""The command line: made of the registered commands, with a screen for their answers."""

from __future__ import annotations

from marey.cli.app import main

__all__ = ["main"]
