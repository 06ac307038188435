"""marey: from a folder of clips to an action model one can trust."""

from __future__ import annotations

__version__ = "0.1.0"
