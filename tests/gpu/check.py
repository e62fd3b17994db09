"""Check vqafeat on one GPU: correctness, speed against the bare networks, memory, NVDEC, fitting, commands.

    make gpu-check                          all sections, seven minutes on one H200
    python tests/gpu/check.py fit nvdec     some sections
    VQAFEAT_DRY=1 python tests/gpu/check.py the same on the processor with tiny inputs, to try the script

Each section runs in a separate process, so that a crash in one does not stop the others. The table is
printed at the end.
Needs no network. CLIPS names a folder of videos to decode; without it, clips are made.
"""

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from queue import Queue
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from vqafeat_cli.main import main as main_command

from tests.helpers.released_training import released_epoch_seconds
from vqafeat.backbones import BACKBONES
from vqafeat.backbones.base import gap_gsp
from vqafeat.backbones.feature_set import FeatureExtractor, backbone_names, build_extractors
from vqafeat.backbones.fuse import FusedConvolution, milliseconds
from vqafeat.backbones.network import Network, shared_networks
from vqafeat.datasets import Dataset, Video
from vqafeat.extraction import extract, pipeline
from vqafeat.extraction.memory_budget import MemoryBudget, footprint
from vqafeat.extraction.pipeline import Resources
from vqafeat.extraction.results import NullProgress
from vqafeat.heads.base import build_head
from vqafeat.losses.label_scaling import fit_label_scaling
from vqafeat.splits import Split
from vqafeat.store import FeatureStore
from vqafeat.store.features import FeatureDataset
from vqafeat.system import full_float32
from vqafeat.training.batching import Batcher
from vqafeat.training.config import FitConfig
from vqafeat.training.loop import train_splits
from vqafeat.training.stacked_heads import batched_scores, kernel_for
from vqafeat.training.trainer import SplitTask
from vqafeat.video import Chunk, DecodeJob, DecodePool, VideoFailed
from vqafeat.video.frame import FrameLayout
from vqafeat.video.nvdec import DeviceDecodePool
from vqafeat.video.rgb import Frames, to_rgb

DRY = os.environ.get("VQAFEAT_DRY") == "1"
CORES = len(os.sched_getaffinity(0))
DEVICE = torch.device("cpu" if DRY else "cuda:0")
SECONDS = {
    "machine": 30,
    "networks": 120,
    "steps": 60,
    "extraction": 180,
    "nvdec": 90,
    "fit": 120,
    "commands": 150,
}
ONE = ["resnet18"] if DRY else ["resnet50"]
THREE = ["resnet18", "slowfast-fast"] if DRY else ["resnet50", "iqa-resnet50", "slowfast-fast"]
FAST = "fp32" if DRY else "fp16"
SIZES = {"tiny": (96, 64)} if DRY else {"540p": (960, 540), "1080p": (1920, 1080)}
LARGEST_ERRORS = {"fp32": 1e-5, "fp16": 4e-3, "bf16": 3e-2}
SPLITS, VIDEOS, FRAMES, CHANNELS = (2, 40, 12, 64) if DRY else (10, 1200, 240, 4096)


def row(what: str, measured: object, note: str = "") -> None:
    print(f"ROW\t{what}\t{measured}\t{note}", flush=True)


def synchronize() -> None:
    if not DRY:
        torch.cuda.synchronize()


def median_ms(run: Callable[[], object], repeats: int = 5) -> float:
    run()
    if not DRY:
        return statistics.median(milliseconds(run, 1) for _ in range(repeats))
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def extractors(names: Sequence[str], precision: str) -> list[FeatureExtractor]:
    return build_extractors(names, dict.fromkeys(backbone_names(names), "random:1"), "float16", precision)


def network(name: str, precision: str, device: torch.device = DEVICE) -> Network:
    built = extractors([name], precision)
    for layer in built[0].loaded.network.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            # random residual branches add up beyond the range of fp16 in networks of 100 layers
            layer.weight.data.mul_(0.7)
    return shared_networks(built, device)[0]


def planes(count: int, width: int, height: int, full_range: bool = False) -> Frames:
    layout = FrameLayout(width, height, True, 1, full_range, 0)
    return Frames(torch.randint(0, 256, (count, layout.nbytes), dtype=torch.uint8, device=DEVICE), layout)


# --------------------------------------------------------------------------------------------------- machine
def machine() -> None:
    name = "processor" if DRY else torch.cuda.get_device_name()
    versions = f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, PyAV {av.__version__}"
    row("machine", name, f"{versions}, {CORES} cores")
    count = 1 << 20 if DRY else 1 << 29
    source = torch.empty(count, device=DEVICE).normal_()
    target = torch.empty_like(source)
    row("copy on the device", f"{8 * count / median_ms(lambda: target.copy_(source)) / 1e9:.2f} TB/s")


# -------------------------------------------------------------------------------------------------- networks
def networks() -> None:
    """Compare every network in three precisions with the processor in fp32, and the kernels with PyTorch."""
    width, height = (96, 64) if DRY else (320, 192)
    for full_range in (False, True):
        frames = planes(4, width, height, full_range)
        assert frames.layout is not None
        equal = torch.equal(frames.rgb().cpu(), to_rgb(frames.data.cpu(), frames.layout))
        row(f"RGB on the device, {'full' if full_range else 'limited'} range, equals the processor's", equal)
    for name in ["resnet18", "slowfast-fast"] if DRY else list(BACKBONES):
        on_cpu = network(name, "fp32", torch.device("cpu"))
        frames = planes(on_cpu.backbone.clips.inputs if on_cpu.backbone.clips else 3, width, height)
        reference = on_cpu.rows(on_cpu.inputs(Frames(frames.rgb().cpu())))[name].double()
        errors = []
        for precision in ["fp32"] if DRY else LARGEST_ERRORS:
            own = network(name, precision)
            for _ in range(2):  # the second run uses the kernels
                rows = own.rows(own.inputs(frames))[name].cpu().double()
            error = ((rows - reference).norm(dim=1) / reference.norm(dim=1)).max().item()
            errors.append(
                f"{precision} {error:.1e}{'' if error < LARGEST_ERRORS[precision] else ' TOO LARGE'}"
            )
        row(f"{name}, largest relative error of a row", ", ".join(errors))


# ----------------------------------------------------------------------------------------------------- steps
def steps() -> None:
    """Time each convolution of a ResNet-50 fused and apart, and the parts of an extraction alone."""
    width, height = next(iter(SIZES.values()))
    own, frames = network(ONE[0], FAST), planes(4 if DRY else 64, width, height)
    count = len(frames)
    inputs = own.inputs(frames)
    module = median_ms(lambda: own._module(inputs[0]))
    row(
        "ResNet-50, bare",
        f"{module / count * 1e3:.0f} us a frame",
        f"batch of {count}, {width}x{height}, {FAST}",
    )
    row("  with pooling", f"{median_ms(lambda: own.rows(inputs)) / count * 1e3:.0f} us a frame")
    row("  planes to inputs", f"{median_ms(lambda: own.inputs(frames)) / count * 1e3:.1f} us a frame")
    maps = next(iter(own._module(inputs[0]).values()))
    kernel, plain = (median_ms(lambda pool=pool: pool(maps)) for pool in (own._pooled, gap_gsp))
    row(
        "  pooling",
        f"{kernel / count * 1e3:.1f} us a frame",
        f"{plain / count * 1e3:.1f} by PyTorch's operations",
    )
    if DRY:
        return
    seen: dict[Any, tuple[FusedConvolution, list[Tensor]]] = {}

    def record(step: nn.Module, given: tuple[Tensor, ...], _: object) -> None:
        assert isinstance(step, FusedConvolution)
        key = (step.convolution.weight.shape, given[0].shape, len(given), step.activation)
        seen.setdefault(key, (step, [tensor.clone() for tensor in given]))

    fused = [step for step in own._module.modules() if isinstance(step, FusedConvolution)]
    handles = [step.register_forward_hook(record) for step in fused]
    own._module(inputs[0])
    for handle in handles:
        handle.remove()
    ratios = []
    for step, given in seen.values():
        if step.activation == "relu":
            summand = given[1] if len(given) == 2 else None
            together = median_ms(lambda s=step, x=given[0], y=summand: s._by_cudnn(x, y))
            ratios.append(together / median_ms(lambda s=step, x=given[0], y=summand: s._apart(x, y)))
    row(
        "fused steps, time as a share of apart",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        f"{len(ratios)} steps",
    )
    used = [used for step in fused for used in step._fused_by_size.values()]
    row("steps that run fused", f"{sum(used)} of {len(used)}")


# ------------------------------------------------------------------------------------------------ extraction
def made_clip(path: Path, width: int, height: int, frames: int) -> Path:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 12 + 20, width // 12 + 20, 3), dtype=np.uint8)
    base = np.kron(coarse, np.ones((12, 12, 1), np.uint8))
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(30), options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            top, left = number % 90, 2 * number % 90
            picture = base[top : top + height, left : left + width]
            picture = picture + random.integers(0, 3, (height, width, 1), dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        out.mux(stream.encode())
    return path


def clip_files(folder: Path, size: str, count: int, frames: int) -> list[Path]:
    """Return links to the clips of CLIPS, for 540p, or else to clips that are made."""
    given = sorted(Path(os.environ.get("CLIPS", "/nowhere")).glob("*.mp4")) if size == "540p" else []
    given = given or [made_clip(folder / f"{size}-{n}.mp4", *SIZES[size], frames) for n in range(2)]
    links = [folder / f"{size}-video{number:03d}.mp4" for number in range(count)]
    for number, link in enumerate(links):
        link.symlink_to(given[number % len(given)].resolve())
    return links


def dataset(paths: Sequence[Path]) -> Dataset:
    videos = tuple(Video(path.name, 3.0, path.name, None, path) for path in paths)
    return Dataset("check", "check", "MOS", (1, 5), videos, "check", "0" * 64)


def processor_ticks() -> tuple[int, int]:
    """Return the ticks of all processors since the machine started, and those in which they were idle."""
    ticks = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


class FrameTimes(NullProgress):
    """Keeps when frames were decoded, and what the processors did until then."""

    def __init__(self) -> None:
        self.events: list[tuple[float, int, tuple[int, int]]] = []

    def frames(self, count: int) -> None:
        self.events.append((time.perf_counter(), count, processor_ticks()))

    def middle(self) -> tuple[float, float]:
        """Return the frames a second and the share of the processors that was busy.

        Both are of the time between the first quarter and the last, while all processes decode.
        """
        times, counts, ticks = zip(*self.events, strict=True)
        done = np.cumsum(counts)
        first, last = (int(np.searchsorted(done, share * done[-1])) for share in (0.25, 0.75))
        rate_hz = float(done[last] - done[first]) / (times[last] - times[first])
        every, idle = (ticks[last][number] - ticks[first][number] for number in range(2))
        return rate_hz, 1 - idle / max(1, every)


@contextmanager
def seconds_in(owner: Any, name: str) -> Iterator[list[float]]:
    """Collect the seconds that each call of a method takes."""
    seconds, original = list[float](), getattr(owner, name)

    def timed(*arguments: Any, **keywords: Any) -> Any:
        start = time.perf_counter()
        try:
            return original(*arguments, **keywords)
        finally:
            seconds.append(time.perf_counter() - start)

    setattr(owner, name, timed)
    yield seconds
    setattr(owner, name, original)


def bare_us(name: str, width: int, height: int) -> float:
    """Return the microseconds of the network alone for one decoded frame."""
    own = network(name, FAST)
    clips = own.backbone.clips
    batch = (
        clips.inputs if clips else MemoryBudget(None, DEVICE, 0).batch(own, height, width, 4 if DRY else None)
    )
    part = own.inputs(planes(batch, width, height))[0]
    if clips:
        part = part.movedim(0, 1).unsqueeze(0)
    with torch.inference_mode():
        return median_ms(lambda: own._module(part)) / (clips.window if clips else batch) * 1e3


def budgeted_gb(names: Sequence[str], width: int, height: int) -> float:
    """Return the memory that the largest batch of a network is expected to take, in GB."""
    budget, largest = MemoryBudget(None, DEVICE, 0), 0
    for name in names:
        own = network(name, FAST)
        count = 1 if own.backbone.clips or FAST == "fp32" else budget.batch(own, height, width, None)
        largest = max(largest, count * footprint(own, height, width).nbytes)
    return largest / 1e9


def decode_rate(pool: DecodePool[int] | DeviceDecodePool[int], jobs: Sequence[DecodeJob]) -> float:
    """Return the frames a second of a pool whose frames nobody takes."""
    waiting, count, start = enumerate(jobs), 0, 0.0
    for _, message in pool.messages(lambda: next(waiting, None)):
        if isinstance(message, Chunk):
            start = start or time.perf_counter()
            count += len(message.seconds)
        elif isinstance(message, VideoFailed):
            row("a video failed", message.kind, message.message[:150])
    pool.close()
    return count / (time.perf_counter() - start)


def clips_of(size: str, folder: Path) -> list[Path]:
    count, frames = (3, 24) if DRY else (80, 240) if size == "540p" else (64, 128)
    return clip_files(folder, size, count, frames)


def extract_row(what: str, paths: Sequence[Path], names: Sequence[str], hardware: bool, folder: Path) -> None:
    """Extract, and compare with the networks alone."""
    width, height = SIZES[paths[0].name.split("-")[0]]
    bare = sum(bare_us(backbone, width, height) for backbone in names)
    if not DRY:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    resources = Resources(DEVICE, workers=2 if DRY else CORES, hardware_decoder=hardware)
    progress, start = FrameTimes(), time.perf_counter()
    waiting = (Queue, "get") if hardware else (DecodePool, "_oldest_ready")
    with (
        seconds_in(*waiting) as waits,
        seconds_in(pipeline.VideoState, "take") as takes,
        seconds_in(extract, "_write_video") as stores,
    ):
        summary = extract.extract_features(
            dataset(paths), extractors(names, FAST), folder / what.replace(" ", "-"),
            resources=resources, progress=progress,
        )  # fmt: skip
    seconds = time.perf_counter() - start
    peak = 0.0 if DRY else torch.cuda.max_memory_allocated() / 1e9
    parts = {"waits": waits, "takes": takes, "stores": stores}
    shares = ", ".join(f"{part} {sum(times) / seconds:.0%}" for part, times in parts.items())
    rate_hz, busy = progress.middle()
    row(
        what,
        f"{rate_hz:.0f} frames/s = {rate_hz * bare / 1e6:.0%} of bare",
        f"bare {1e6 / bare:.0f}; {len(summary.failures)} failed; processors busy {busy:.0%}; {shares}; "
        f"peak {peak:.1f} GB, budgeted {budgeted_gb(names, width, height):.1f}",
    )


def extraction() -> None:
    """Extract with one and with three networks."""
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            paths = clips_of(size, Path(name))
            rate = decode_rate(DecodePool(CORES, 60.0), [DecodeJob(path) for path in paths])
            row(f"{size}: {CORES} decoding processes alone", f"{rate:.0f} frames/s")
            for names in (ONE, THREE):
                extract_row(f"{size}: {len(names)} network(s)", paths, names, False, Path(name))


# ----------------------------------------------------------------------------------------------------- nvdec
def nvdec() -> None:
    """Decode on the GPU, alone and beside one network; the first frames are compared with the processor's."""
    sys.setswitchinterval(pipeline.SWITCH_SECONDS)
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            paths = clips_of(size, Path(name))
            jobs = [DecodeJob(path, hardware=None if DRY else str(DEVICE)) for path in paths]
            for threads in (1, 4, 8):
                rate = decode_rate(DeviceDecodePool(DEVICE, threads, 60.0), jobs[: 4 * threads])
                row(f"{size}: {threads} thread(s) with NVDEC alone", f"{rate:.0f} frames/s")
            if not DRY:
                extract_row(f"{size}: 1 network and NVDEC", paths[: len(paths) // 2], ONE, True, Path(name))


# ------------------------------------------------------------------------------------------------------- fit
def random_features() -> FeatureDataset:
    random = np.random.default_rng(0)
    block = random.standard_normal((24, FRAMES, CHANNELS), dtype=np.float32).astype(np.float16)
    features = [block[number % 24] for number in range(VIDEOS)]
    names = tuple(f"v{number}" for number in range(VIDEOS))
    return FeatureDataset(names, names, random.uniform(1, 5, VIDEOS), features)


def split_tasks(data: FeatureDataset) -> list[SplitTask]:
    tasks = []
    for number in range(SPLITS):
        order = np.random.default_rng(number).permutation(VIDEOS).tolist()
        parts = order[: VIDEOS * 3 // 5], order[VIDEOS * 3 // 5 : VIDEOS * 4 // 5], order[VIDEOS * 4 // 5 :]
        groups = np.zeros(VIDEOS, np.intp)
        scalings = fit_label_scaling("largest-of-dataset", [""], groups, data.mos, parts[0])
        tasks.append(SplitTask(number, Split(*map(tuple, parts)), number, tuple(scalings)))
    return tasks


@full_float32()
def stacked_difference(name: str, options: dict[str, Any]) -> float:
    """Return the relative difference of two stacked heads' scores and gradients from the processor's."""
    random, names = np.random.default_rng(0), ("a", "b", "c", "d")
    features = [random.standard_normal((length, CHANNELS), np.float32) for length in (40, 33, 12, 25)]
    data = FeatureDataset(names, names, np.arange(4.0), features)
    heads, results = [build_head(name, CHANNELS, options) for _ in range(2)], list[Tensor]()
    for device in ("cpu", str(DEVICE)):
        for head in heads:
            head.to(device).zero_grad()
        batches = [Batcher(data, device).batch(rows) for rows in ([0, 1, 2], [3, 1])]
        scores = torch.cat(batched_scores(list(zip(heads, batches, strict=True))))
        scores.sum().backward()
        values = [scores.detach(), *(value.grad for head in heads for value in head.parameters())]
        results.append(torch.cat([value.flatten().cpu() for value in values if value is not None]))
    return float((results[1] - results[0]).norm() / results[0].norm())


def fit() -> None:
    """Train ten splits together, and one in the released way."""
    for head, options in (("sub-gru", {}), ("sub-lstm", {}), ("transformer", {"dropout": 0.0})):
        difference = stacked_difference(head, options)
        row(f"{head}: stacked, relative difference from the processor", f"{difference:.1e}")
    data = random_features()
    if not DRY:
        row("the kernel of the GRU is used", kernel_for(DEVICE, 32) is not None)
    for head in ("sub-gru", "transformer"):
        ends = [time.perf_counter()]

        def epoch_ended(number: int, record: object, ends: list[float] = ends) -> None:
            if number == SPLITS - 1:
                ends.append(time.perf_counter())

        if not DRY:
            torch.cuda.reset_peak_memory_stats()
        config = FitConfig(head=head, overrides={"epochs": 3 if head == "sub-gru" and not DRY else 2})
        train_splits(data, split_tasks(data), config, str(DEVICE), None, epoch_ended)
        seconds = ends[-1] - ends[-2]
        peak = "" if DRY else f"; peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
        row(
            f"{head}: an epoch of {SPLITS} splits",
            f"{seconds:.2f} s",
            f"first epoch {ends[1] - ends[0]:.1f} s{peak}",
        )
        if head == "sub-gru":
            released = released_epoch_seconds(data, DEVICE) * SPLITS
            row("released way", f"{released:.1f} s", f"{released / seconds:.0f} times as long")


# -------------------------------------------------------------------------------------------------- commands
def image_set(folder: Path, count: int) -> Path:
    """Write images whose quality falls with their noise, and their labels."""
    folder.mkdir()
    random, rows = np.random.default_rng(0), ["image,mos,std"]
    for number in range(count):
        base = np.kron(random.integers(0, 256, (8, 8, 3)), np.ones((32, 32, 1)))
        noisy = base + random.normal(0, 4 * number, base.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{100 - 3 * number},{5 + number % 2}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder / "labels.csv"


def run_command(*arguments: object) -> None:
    """Run one command, and print its exit code and the end of its output."""
    start, code, printed = time.perf_counter(), 0, io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            main_command([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code or 0
    last = " ".join(printed.getvalue().split()[-24:])
    seconds = time.perf_counter() - start
    row(f"vqafeat {arguments[0]}", f"exit code {code}", f"{seconds:.1f} s; … {last}")


def store_difference(first: Path, second: Path) -> float:
    """Return the relative difference of the feature sets of two stores, of the video where it is largest."""
    stores = [FeatureStore.open(path) for path in (first, second)]
    differences = []
    for video in stores[0].complete_videos("resnet18"):
        rows = [store.read("resnet18", video).values.astype(np.float64) for store in stores]
        differences.append(np.linalg.norm(rows[1] - rows[0]) / np.linalg.norm(rows[0]))
    return float(max(differences))


def commands() -> None:
    """Run the commands that use a device, one after another, on generated data.

    Commands for several devices, and Ray's workers where Ray is installed, get the one device twice.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = clip_files(folder, next(iter(SIZES)), 24, 24)
        labels = folder / "videos.csv"
        lines = ["video,mos", *(f"{path.name},{1 + number % 4}" for number, path in enumerate(paths))]
        labels.write_text("\n".join(lines) + "\n")
        network, twice = ("--weights", "resnet18=random:1"), f"{DEVICE},{DEVICE}"
        extract_one = ("extract", "--dataset", labels, "--backbone", "resnet18", *network)
        stores = [folder / name for name in ("one", "twice", "ray")]
        fit_one = (
            "fit", "--dataset", labels, "--features", "resnet18", "--store", stores[0], "--head", "sub-gru",
            "--splits", 4, "--epochs", 4,
        )  # fmt: skip
        pretrain_one = (
            "pretrain", "--backbone", "resnet18", "--images", f"mine={image_set(folder / 'images', 32)}",
            "--weights", "random", "--pairs", 64, "--recipe", "demo", "--short-side", 128, "--crop-side", 96,
            "--epochs", 2, "--workers", 2,
        )  # fmt: skip
        run_command(*extract_one, "--store", stores[0], "--device", DEVICE)
        run_command("verify", stores[0] / f"{folder.name}.zarr")
        run_command(*fit_one, "--out", folder / "run", "--device", DEVICE)
        run_command("predict", folder / "run", paths[0], *network, "--device", DEVICE)
        if not DRY:
            decoder = ("--device", DEVICE, "--decoder", "nvdec")
            run_command("predict", folder / "run", paths[1], *network, *decoder)
        run_command(*pretrain_one, "--out", folder / "one.safetensors", "--device", DEVICE)
        run_command(*extract_one, "--store", stores[1], "--device", twice)
        run_command(*fit_one, "--out", folder / "run2", "--device", twice, "--jobs", 2)
        precision = "bf16" if DRY else "fp16"
        run_command(
            *pretrain_one, "--out", folder / "2.safetensors", "--device", twice, "--precision", precision
        )
        if find_spec("ray") is not None:
            workers = ("--backend", "ray", "--ray-workers", 2, "--cpus-per-worker", 1 if DRY else 4)
            gpus = () if DRY else ("--gpus-per-worker", 0.5)
            run_command(*extract_one, "--store", stores[2], *workers, *gpus)
        for store in stores[1:]:
            if store.exists():
                files = [path / f"{folder.name}.zarr" for path in (stores[0], store)]
                row(f"{store.name}, relative difference of features", f"{store_difference(*files):.1e}")


def run_section(name: str, seconds: float) -> list[list[str]]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.gpu.check", "--section", name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    start = time.monotonic()
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"\nstopped after {seconds:.0f} s"
    rows = [line.split("\t")[1:] for line in out.splitlines() if line.startswith("ROW\t")]
    if process.returncode:
        print(err, file=sys.stderr)
        rows.append(
            [f"{name} ended with {process.returncode}", " ".join(err.strip().splitlines()[-2:])[-300:], ""]
        )
    return [*rows, [f"time of `{name}`", f"{time.monotonic() - start:.0f} s", ""]]


def main(names: Sequence[str]) -> None:
    deadline = time.monotonic() + float(os.environ.get("LIMIT", "570"))
    rows = [["what", "measured", "note"], ["---"] * 3]
    for name in names or SECONDS:
        rows += run_section(name, max(1.0, min(SECONDS[name], deadline - time.monotonic())))
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    print(text)
    if "OUT" in os.environ:
        Path(os.environ["OUT"], "table.md").write_text(text + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--section"]:
        globals()[sys.argv[2]]()
    else:
        main(sys.argv[1:])
