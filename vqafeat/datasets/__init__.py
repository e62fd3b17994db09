"""Data sets: manifests, label readers, and the search for video files."""

from vqafeat.datasets import matlab as matlab
from vqafeat.datasets.dataset import (
    MOS_TOLERANCE,
    SPLIT_NAMES,
    Dataset,
    FileRules,
    RawGeometry,
    Video,
    dataset_digest,
)
from vqafeat.datasets.label_readers import LABEL_READERS, LabelReader, LabelRow, LabelRows, NoOptions
from vqafeat.datasets.load import default_root, load_dataset
from vqafeat.datasets.locate import Located, locate_videos
from vqafeat.datasets.manifest import LabelList, Manifest, load_manifest, manifest_names

__all__ = [
    "LABEL_READERS",
    "MOS_TOLERANCE",
    "SPLIT_NAMES",
    "Dataset",
    "FileRules",
    "LabelList",
    "LabelReader",
    "LabelRow",
    "LabelRows",
    "Located",
    "Manifest",
    "NoOptions",
    "RawGeometry",
    "Video",
    "dataset_digest",
    "default_root",
    "load_dataset",
    "load_manifest",
    "locate_videos",
    "manifest_names",
]
