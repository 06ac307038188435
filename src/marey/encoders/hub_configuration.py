"""Configurations of `transformers`: the keys that decide a network, read from others and set in a new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marey.errors import UsageError


def difference(one: Any, default: Any) -> dict[str, Any]:
    """Return the keys that decide the network and differ from the default configuration, those within others too."""
    found: dict[str, Any] = {}
    for key in sorted(_own_keys(default)):
        value, usual = getattr(one, key), getattr(default, key)
        if hasattr(usual, "to_dict"):  # of a tower
            inner = difference(value, usual)
            found |= {key: inner} if inner else {}
        elif value != usual:
            found[key] = list(value) if isinstance(value, tuple) else value
    return found


def with_keys(configuration: Any, stated: Mapping[str, Any]) -> Any:
    """Set keys of a configuration: those that decide the network alone, since a model folder may name any."""
    own = _own_keys(configuration)
    for key, value in stated.items():
        if key not in own:
            raise UsageError(f"'{key}' is no key of a {type(configuration).__name__}")
        inner = getattr(configuration, key)
        setattr(configuration, key, with_keys(inner, value) if isinstance(value, dict) else value)
    return configuration


def _own_keys(configuration: Any) -> set[str]:
    """Return the keys that every configuration does not have: no code, no kernel and no file is named by them."""
    from transformers import PretrainedConfig

    inner = {"text_config"}  # of the tower that is not trained
    own = set(configuration.to_dict()) - set(PretrainedConfig().to_dict()) - {"model_type", "auto_map"} - inner
    return {key for key in own if not key.startswith("_") and "implementation" not in key}
