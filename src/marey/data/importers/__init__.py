"""Importers of data sets that are not video files alone: arrays, frame folders, features, lists and annotations.

The modules are imported in the order in which their importers are tried.
"""

from marey.data.importers import features  # isort: skip
from marey.data.importers import arrays  # isort: skip
from marey.data.importers import frame_folders  # isort: skip
from marey.data.importers import video_lists  # isort: skip
from marey.data.importers import label_studio  # isort: skip
from marey.data.importers import via  # isort: skip
from marey.data.importers import cvat  # isort: skip
from marey.data.importers import activitynet  # isort: skip
from marey.data.importers import kinetics  # isort: skip
from marey.data.importers import path_labels  # isort: skip
from marey.data.importers import raw_video  # isort: skip
from marey.data.importers.formats import (
    IMPORTERS,
    ClipSet,
    Importer,
    ImportOptions,
    VideoList,
    detect_format,
    read_source,
    register_importer,
)

__all__ = [
    "IMPORTERS",
    "ClipSet",
    "ImportOptions",
    "Importer",
    "VideoList",
    "activitynet",
    "arrays",
    "cvat",
    "detect_format",
    "features",
    "frame_folders",
    "kinetics",
    "label_studio",
    "path_labels",
    "raw_video",
    "read_source",
    "register_importer",
    "via",
    "video_lists",
]
