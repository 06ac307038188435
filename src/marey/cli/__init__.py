"""The command line: the verbs, made from their signatures, and a screen for what they answer."""

from __future__ import annotations

from marey.cli.app import main

__all__ = ["main"]
