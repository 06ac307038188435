"""Importers of data sets that are not made of video files: arrays, frame folders and features.

The modules are imported in the order in which their importers are tried.
"""

from marey.data.importers import features  # isort: skip
from marey.data.importers import arrays  # isort: skip
from marey.data.importers import frame_folders  # isort: skip
from marey.data.importers.formats import (
    IMPORTERS,
    ClipSet,
    Importer,
    ImportOptions,
    detect_format,
    read_source,
    register_importer,
)

__all__ = [
    "IMPORTERS",
    "ClipSet",
    "ImportOptions",
    "Importer",
    "arrays",
    "detect_format",
    "features",
    "frame_folders",
    "read_source",
    "register_importer",
]
