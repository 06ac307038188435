"""Published data sets by name: their registry, download and installation."""

from marey.data.zoo import readers  # registers the published data sets
from marey.data.zoo.presets import PRESETS, Preset
from marey.data.zoo.registry import CATALOG, PUBLISHED, Archive, NamedData, Published, data_home, register_dataset

__all__ = [
    "CATALOG",
    "PRESETS",
    "PUBLISHED",
    "Archive",
    "NamedData",
    "Preset",
    "Published",
    "data_home",
    "readers",
    "register_dataset",
]
