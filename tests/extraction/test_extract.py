"""The engine of one machine, found by its name, and what an extraction refuses."""

from pathlib import Path

import pytest
import torch

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.datasets import csv_dataset
from tests.helpers.extractions import RecordedProgress, tree
from vqafeat.backbones.feature_set import ExtractorSpec
from vqafeat.errors import ArgumentError
from vqafeat.extraction.extract import run_extraction
from vqafeat.extraction.loop import Extraction
from vqafeat.store import FeatureStore

REQUEST = ExtractorSpec(("squeezenet1_0",), {"squeezenet1_0": "random"}, "float16", "fp32")


def test_run_extraction__one_device_or_two_leave_the_same_store(tmp_path: Path) -> None:
    for index, name in enumerate(["a.mp4", "b.mp4"]):
        write_clip(tmp_path / name, noise_frames(4, seed=index))
    dataset, trees = csv_dataset(tmp_path, ["a.mp4", "b.mp4"]), []
    for count in (1, 2):
        store = FeatureStore.create(tmp_path / str(count) / "v.zarr", dataset)
        work = Extraction(dataset, store, REQUEST.build(), REQUEST, devices=[torch.device("cpu")] * count)
        assert run_extraction(work, RecordedProgress()).extracted == 2
        trees.append(tree(store.path))
    assert trees[0] == trees[1]


def test_extraction__refuses_wrong_arguments(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", noise_frames(4))
    dataset = csv_dataset(tmp_path, ["a.mp4"])
    store = FeatureStore.create(tmp_path / "v.zarr", dataset)
    with pytest.raises(ArgumentError, match="devices is empty"):
        Extraction(dataset, store, REQUEST.build(), REQUEST, devices=[])
    with pytest.raises(
        ArgumentError, match="the request names , but extractors were built for squeezenet1_0"
    ):
        Extraction(dataset, store, REQUEST.build(), ExtractorSpec((), {}, "float16", "fp32"))
