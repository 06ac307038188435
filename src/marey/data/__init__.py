"""Data sets: manifests, groups, splits, the leak check and the scan."""

from marey.data.catalog import CATALOG, NamedData, data_home, load_data
from marey.data.clip import PARTS, Clip, Manifest, Part, group_of
from marey.data.folder import VIDEO_SUFFIXES, read_folder
from marey.data.groups import PATTERNS, assign_groups
from marey.data.hashing import content_hash, data_hash
from marey.data.leaks import Leak, find_leaks
from marey.data.manifest import COLUMNS, read_manifest, write_manifest
from marey.data.scan import ScanRow, read_quarantine, scan, write_quarantine
from marey.data.split import Split, holdout, k_folds, leave_one_group_out, official_split

__all__ = [
    "CATALOG",
    "COLUMNS",
    "PARTS",
    "PATTERNS",
    "VIDEO_SUFFIXES",
    "Clip",
    "Leak",
    "Manifest",
    "NamedData",
    "Part",
    "ScanRow",
    "Split",
    "assign_groups",
    "content_hash",
    "data_hash",
    "data_home",
    "find_leaks",
    "group_of",
    "holdout",
    "k_folds",
    "leave_one_group_out",
    "load_data",
    "official_split",
    "read_folder",
    "read_manifest",
    "read_quarantine",
    "scan",
    "write_manifest",
    "write_quarantine",
]
