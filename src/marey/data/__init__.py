"""Data sets: manifests, groups, splits, the leak check and the scan."""

from marey.data.arrays import ArraySet, read_arrays
from marey.data.catalog import CATALOG, NamedData, data_home, expand_home, is_features, load_data
from marey.data.clip import PARTS, Clip, Manifest, Part, group_of
from marey.data.exchange import Form, form_of
from marey.data.feature_files import FeatureFiles, check_features_out, write_features
from marey.data.features import (
    FeatureClip,
    FeatureTable,
    feature_manifest,
    features_of,
    read_feature_file,
    read_feature_folder,
)
from marey.data.folder import VIDEO_SUFFIXES, read_folder
from marey.data.frame_folders import read_frame_folders
from marey.data.groups import PATTERNS, assign_groups, propose_group_regex
from marey.data.hashing import content_hash, data_hash
from marey.data.installation import install
from marey.data.leaks import Leak, find_leaks
from marey.data.manifest import COLUMNS, read_manifest, write_manifest
from marey.data.pixels import survey_pixels
from marey.data.rar import RAR_TOOLS, rar_tools
from marey.data.scan import ScanRow, read_quarantine, scan, write_quarantine
from marey.data.segment import Segment
from marey.data.split import Split, holdout, k_folds, leave_one_group_out, official_split
from marey.data.unpickling import read_pickle
from marey.data.video_import import NewClip, Unusable, write_clips

__all__ = [
    "CATALOG",
    "COLUMNS",
    "PARTS",
    "PATTERNS",
    "RAR_TOOLS",
    "VIDEO_SUFFIXES",
    "ArraySet",
    "Clip",
    "FeatureClip",
    "FeatureFiles",
    "FeatureTable",
    "Form",
    "Leak",
    "Manifest",
    "NamedData",
    "NewClip",
    "Part",
    "ScanRow",
    "Segment",
    "Split",
    "Unusable",
    "assign_groups",
    "check_features_out",
    "content_hash",
    "data_hash",
    "data_home",
    "expand_home",
    "feature_manifest",
    "features_of",
    "find_leaks",
    "form_of",
    "group_of",
    "holdout",
    "install",
    "is_features",
    "k_folds",
    "leave_one_group_out",
    "load_data",
    "official_split",
    "propose_group_regex",
    "rar_tools",
    "read_arrays",
    "read_feature_file",
    "read_feature_folder",
    "read_folder",
    "read_frame_folders",
    "read_manifest",
    "read_pickle",
    "read_quarantine",
    "scan",
    "survey_pixels",
    "write_clips",
    "write_features",
    "write_manifest",
    "write_quarantine",
]
