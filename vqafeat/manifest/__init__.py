"""Manifests: what a data set is, where its labels and files lie, and what it must show when it is loaded."""

from vqafeat.manifest.dataset import MOS_TOLERANCE, SPLIT_NAMES, Dataset, FileRules, RawGeometry, Video, dataset_digest
from vqafeat.manifest.loading import default_root, load_dataset
from vqafeat.manifest.locating import Located, locate_videos
from vqafeat.manifest.schema import LabelList, Manifest, load_manifest, manifest_names

__all__ = [
    "MOS_TOLERANCE",
    "SPLIT_NAMES",
    "Dataset",
    "FileRules",
    "LabelList",
    "Located",
    "Manifest",
    "RawGeometry",
    "Video",
    "dataset_digest",
    "default_root",
    "load_dataset",
    "load_manifest",
    "locate_videos",
    "manifest_names",
]
