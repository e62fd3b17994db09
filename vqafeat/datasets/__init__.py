"""Data sets: manifests, label readers, and the search for video files."""

from vqafeat.datasets.dataset import SPLIT_NAMES, Dataset, FileRules, RawGeometry, Video
from vqafeat.datasets.load import default_root, load_dataset
from vqafeat.datasets.locate import load_videos, locate_videos
from vqafeat.datasets.manifest import load_manifest, manifest_names

__all__ = ["SPLIT_NAMES", "Dataset", "FileRules", "RawGeometry", "Video"]
__all__ += ["default_root", "load_dataset", "load_manifest", "load_videos", "locate_videos", "manifest_names"]
