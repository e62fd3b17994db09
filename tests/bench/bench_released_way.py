"""One 8 s 540p clip, ResNet-50 with random weights: the way of the released scripts against vqafeat, whole
processes, time and memory.

python tests/bench/bench_released_way.py [--frames N]
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import Run, clip_540p, median_seconds, print_row, run_measured, sgemm_gflops, start_table
from torchvision import models, transforms

from vqafeat.backbones.feature_set import build_extractors
from vqafeat.backbones.network import shared_networks
from vqafeat.video.reader import VideoReader

GFLOP_A_FRAME = 84.9  # ResNet-50 without its classifier at 960x540, two operations a multiply-add
RELEASED_BATCH = 64


def released_way(clip: Path, out: Path) -> None:
    """Extract as VSFA's CNNfeatures.py does: the whole video in memory, eager NCHW, two poolings, one
    .npy.
    """
    with VideoReader(clip) as reader:
        video = np.stack([frame.rgb for frame in reader])
    prepare = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    )
    frames = torch.zeros(len(video), 3, *video.shape[1:3])
    for index, picture in enumerate(video):
        frames[index] = prepare(transforms.ToPILImage()(picture))
    torch.manual_seed(0)
    network = torch.nn.Sequential(*list(models.resnet50().children())[:-2]).eval()
    means, deviations = [], []
    with torch.no_grad():
        for batch in frames.split(RELEASED_BATCH):
            maps = network(batch)
            means.append(torch.nn.functional.adaptive_avg_pool2d(maps, 1))
            deviations.append(torch.std(maps.view(*maps.shape[:2], -1, 1), dim=2, keepdim=True))
    np.save(out, torch.cat([torch.cat(means), torch.cat(deviations)], 1).squeeze().numpy())


def vqafeat_once(folder: Path, clip: Path, round_number: int) -> Run:
    """Run the command line on a data set of this one clip, into a store of its own."""
    (folder / clip.name).unlink(missing_ok=True)
    (folder / clip.name).symlink_to(clip)
    (folder / "one.csv").write_text(f"video,mos\n{clip.name},3\n")
    options = [
        "--backbone",
        "resnet50",
        "--weights",
        "random",
        "--dtype",
        "float32",
        "--store",
        str(folder / str(round_number)),
    ]
    command = "import sys; from vqafeat_cli.main import main; main(sys.argv[1:])"
    return run_measured(
        [sys.executable, "-c", command, "extract", "--dataset", str(folder / "one.csv"), *options]
    )


def bare_network() -> float:
    """Return seconds a frame of the network with its preparation and pooling alone."""
    (network,) = shared_networks(build_extractors(["resnet50"], {"resnet50": "random"}), torch.device("cpu"))
    frame = torch.randint(0, 256, (1, 3, 540, 960), dtype=torch.uint8)
    network.frame_rows(frame)
    return median_seconds(lambda: network.frame_rows(frame), 15)


def main() -> None:
    """Print both, their ratio, and the network's share."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--released", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    clip = clip_540p()
    if arguments.released:
        released_way(clip, arguments.released)
        return
    with VideoReader(clip) as reader:
        frames = sum(1 for _ in reader)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates, bare = [sgemm_gflops()], [bare_network()]
        ours = [vqafeat_once(folder, clip, number) for number in range(3)]
        released = run_measured([sys.executable, __file__, "--released", str(folder / "released.npy")])
        rates.append(sgemm_gflops())
        bare.append(bare_network())
        difference = compared(folder, clip)
    sgemm, network = statistics.mean(rates), statistics.mean(bare)
    seconds = statistics.median(run.seconds for run in ours)
    start_table("", "seconds", "frames/s", "peak memory")
    peak = max(run.peak_gib for run in ours)
    for way, time_taken, gib in (
        ("released way", released.seconds, released.peak_gib),
        ("vqafeat", seconds, peak),
    ):
        print_row(way, f"{time_taken:.0f}", f"{frames / time_taken:.2f}", f"{gib:.2f} GiB")
    print(
        f"speed {released.seconds / seconds:.2f} times; largest relative difference of features "
        f"{difference:.1e}"
    )
    rate = GFLOP_A_FRAME / network
    print(
        f"bare network {network:.3f} s a frame = {rate:.0f} GFLOP/s; sgemm {sgemm:.0f} GFLOP/s, "
        f"{rate / sgemm:.0%}"
    )
    print(
        f"network's share of the run {network * frames / seconds:.0%}, start of Python and imports included"
    )


def compared(folder: Path, clip: Path) -> float:
    """Return the largest difference between the two ways' features, relative to the features' norm."""
    import zarr

    stored = zarr.open_array(
        folder / "0" / "one.zarr" / "features" / "resnet50" / clip.name / "values", mode="r"
    )
    ours, theirs = np.asarray(stored[...]), np.load(folder / "released.npy")
    return float((np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)).max())


if __name__ == "__main__":
    main()
