"""Memory that is needed, against sums by hand; what does not fit is refused before it is tried."""

import gc
import weakref
from pathlib import Path

import pytest
import torch

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.extractions import extract_video
from vqafeat.backbones.feature_set import build_extractors
from vqafeat.backbones.network import Network, shared_networks
from vqafeat.errors import VideoError
from vqafeat.extraction import memory_budget
from vqafeat.extraction.memory_budget import (
    DECODER_BYTES,
    Footprint,
    MemoryBudget,
    activations,
    footprint,
    free_on,
    held_bytes,
    used_bytes,
)
from vqafeat.extraction.pipeline import Resources
from vqafeat.video.nvdec import MOST_THREADS

CPU = torch.device("cpu")


def network_of(name: str, dtype: str = "float16") -> Network:
    return shared_networks(
        build_extractors([name], {name.split("@", maxsplit=1)[0].split(":", maxsplit=1)[0]: "random"}, dtype),
        CPU,
    )[0]


def test_activations__is_dominated_by_the_first_block() -> None:
    # ResNet-18 at 224: the stem's map before and after its norm; then conv1's input, its output and the
    # shortcut, at half the size
    stem = 64 * 112 * 112 * 4
    assert activations(network_of("resnet18"), 224, 224).nbytes == pytest.approx(2 * stem, rel=0.15)
    assert activations(network_of("resnet18"), 448, 448).nbytes == pytest.approx(8 * stem, rel=0.15)


def test_activations__keeps_no_network_alive() -> None:
    network = network_of("resnet18")
    assert activations(network, 64, 64) == activations(network, 64, 64)
    alive = weakref.ref(network)
    del network
    gc.collect()
    assert alive() is None


def test_held_bytes__of_clips_are_a_block_of_frames() -> None:
    assert held_bytes(network_of("resnet18"), 100, 200) == 0
    assert held_bytes(network_of("slowfast-fast"), 100, 200) == 64 * 3 * 100 * 200
    assert footprint(network_of("slowfast-fast"), 100, 200).nbytes > 32 * 3 * 100 * 200 * 4


def test_used_bytes__and_free_on_are_plausible() -> None:
    assert used_bytes() > 50 << 20
    assert free_on(CPU) > 50 << 20


def test_extract_video__refuses_beyond_the_budget_with_the_amount_needed(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", noise_frames(2, 640, 480))
    extractors = build_extractors(["resnet18"], {"resnet18": "random"})
    resources = Resources(workers=0, memory_bytes=used_bytes() + (20 << 20))
    with pytest.raises(
        VideoError,
        match=r"640x480 needs about .* with .resnet18., more than .* GiB allowed; give --memory [\d.]+G\.$",
    ) as caught:
        extract_video(clip, extractors, resources=resources)
    assert caught.value.kind == "over-memory"
    enough = float(str(caught.value).split("--memory ")[1].split("G")[0])
    result = extract_video(
        clip, extractors, resources=Resources(workers=0, memory_bytes=int(enough * (1 << 30)))
    )
    assert len(result.table.seconds) == 2


@pytest.mark.parametrize(
    ("feature_set", "height", "helps"),
    [("resnet18", 1080, True), ("resnet18@short540", 1080, False), ("resnet18", 540, False)],
)
def test_memory_budget__names_a_smaller_view_where_it_is_smaller(
    feature_set: str, height: int, helps: bool
) -> None:
    with pytest.raises(VideoError) as caught:
        MemoryBudget(1, CPU, workers=0).check([network_of(feature_set)], height, 2 * height, "a.mp4")
    assert ("or a smaller view (@short540)" in str(caught.value)) == helps


def test_memory_budget__batch_is_what_fits_and_never_more_than_requested() -> None:
    network = network_of("resnet18")
    budget = MemoryBudget(used_bytes() + 10 * footprint(network, 240, 320).nbytes, CPU, workers=0)
    assert 8 <= budget.batch(network, 240, 320, None) <= 10
    assert budget.batch(network, 240, 320, 3) == 3
    assert budget.batch(network, 4000, 4000, None) == 1
    assert MemoryBudget(None, CPU, 0).batch(network, 24, 32, None) == 64


@pytest.mark.parametrize(
    ("feature_set", "width", "height", "frames"),
    [
        ("squeezenet1_0", 224, 224, 64),
        ("squeezenet1_0", 960, 540, 64),
        ("squeezenet1_0", 1920, 1080, 16),
        ("squeezenet1_0", 3840, 2160, 4),
        ("squeezenet1_0@short540", 1920, 1080, 64),
    ],
)
def test_memory_budget__batch_has_fewer_of_larger_frames(
    feature_set: str, width: int, height: int, frames: int
) -> None:
    network, budget = network_of(feature_set), MemoryBudget(1 << 50, CPU, workers=0)
    assert budget.batch(network, height, width, None) == frames
    assert budget.batch(network, height, width, 10) == 10


def test_memory_budget__no_tensor_of_a_batch_is_too_long_to_index() -> None:
    # 64 channels at half the size: the first map of a ResNet
    largest = 64 * 720 * 1280
    network, budget = network_of("resnet18"), MemoryBudget(1 << 50, CPU, workers=0)
    assert footprint(network, 1440, 2560).elements == largest
    assert budget.batch(network, 1440, 2560, 1000) == ((1 << 31) - 1) // largest


def test_memory_budget__counts_held_clips_and_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_budget, "free_on", lambda device: 100 << 30)
    monkeypatch.setattr(memory_budget, "footprint", lambda network, height, width: Footprint(1, 1))
    one, many = (MemoryBudget(None, torch.device("cuda"), workers) for workers in (1, 16))
    decoding = MemoryBudget(None, torch.device("cuda"), 16, hardware_decoder=True)
    assert many._left - decoding._left == MOST_THREADS * DECODER_BYTES
    # each video in work holds a block of frames, 6 GiB of 8K
    network = network_of("slowfast-fast")
    one.check([network], 4320, 7680, "a.mp4")
    with pytest.raises(VideoError, match="of 7680x4320 needs about"):
        many.check([network], 4320, 7680, "a.mp4")


def test_activations__count_the_copies_that_pooling_makes() -> None:
    # the tapped maps of all stages in float32, and two copies of the largest
    maps = [64 * 16 * 16, 128 * 8 * 8, 256 * 4 * 4, 512 * 2 * 2]
    assert activations(network_of("resnet18:stages"), 64, 64).nbytes >= 4 * (sum(maps) + 2 * maps[0])
