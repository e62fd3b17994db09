"""Readers of labelled image sets as they ship; a new one is one file and one registration in `IMAGE_SETS`."""

from vqafeat.pretraining.image_sets.base import IMAGE_SETS, ImageSet, ImageSetReader, LabelledImage

from vqafeat.pretraining.image_sets import (  # isort: skip  (the files register themselves)
    bid,
    clive,
    koniq,
    spaq,
    kadid,
    own,
)
from vqafeat.pretraining.image_sets.loading import load_image_set  # isort: skip  (it reads what they registered)

__all__ = [
    "IMAGE_SETS",
    "ImageSet",
    "ImageSetReader",
    "LabelledImage",
    "bid",
    "clive",
    "kadid",
    "koniq",
    "load_image_set",
    "own",
    "spaq",
]
