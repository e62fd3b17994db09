"""The demo data set: up to 12 contents in 13 versions each, as H.264 files with proxy scores.

No person rated these videos. The label is a **proxy score** on a scale of 0 to 100,

    proxy score = clip(90 − slope(kind) · severity + noise, 0, 100).

The severity is 0 for the pristine version, and 1 … 5 otherwise. A content has each kind of `KINDS` at two
severities. In contents 1 to 5, and again in 6 to 10, each kind takes every severity twice. A model that does
well here has learned these distortions on two photographs, and nothing about people.

`labels.csv` (`video,mos,content`) holds the labels, `versions.csv` the distortion of each video, and
`demo.json` the settings and, written last, the SHA-256 of every file. Contents from one photograph overlap,
so that grouping by content separates them less than in a real data set.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import ColorRange, Colorspace
from pydantic import Field, NonNegativeInt

from vqafeat.demo.camera import MOST_CONTENTS, Pictures, plan_camera
from vqafeat.demo.distortions import FIELDS_BEYOND_END, KINDS, MOST_SEVERE, Clip, Index
from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.io import summarize, write_bytes, write_csv
from vqafeat.schema import parse


def write_h264(path: Path, pictures: Pictures, frame_rate_hz: int, crf: float) -> None:
    """Write pictures with libx264; the file appears under its name only when it is whole."""
    part = path.with_name(path.name + ".part")
    height, width = pictures.luma.shape[1:]
    with av.open(part, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        # one thread, no timestamps and no version strings: the bytes depend on the pictures alone
        options = {"crf": f"{crf:g}", "preset": "veryfast", "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(frame_rate_hz), options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.flags |= Flags.bitexact
        context.thread_count = 1
        context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.SMPTE170M
        for number, planes in enumerate(zip(*pictures, strict=True)):
            stacked = np.concatenate([plane.reshape(-1, width) for plane in planes])
            frame = av.VideoFrame.from_ndarray(stacked, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, frame_rate_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    part.replace(path)


DEMO_NAME = "demo"
SCORE_RANGE = (0.0, 100.0)
NOISE_POINTS = 2.0
RECIPE = 1  # raised when the same seed gives other files
MARKER, LABELS, VERSIONS, VIDEOS = "demo.json", "labels.csv", "versions.csv", "videos"


@dataclass(frozen=True)
class DemoSettings:
    """Everything that the files depend on; a content has each kind at `severities` severities."""

    seed: NonNegativeInt = 0
    contents: Annotated[int, Field(ge=1, le=MOST_CONTENTS)] = MOST_CONTENTS
    seconds: Annotated[float, Field(ge=0.5, le=10)] = 2.0
    recipe: int = RECIPE
    severities: Annotated[int, Field(ge=1, le=MOST_SEVERE)] = 2


@dataclass(frozen=True)
class Version:
    """A planned video."""

    video: str  # path below the root
    content: int
    kind: str
    severity: int
    repeat: int  # number among the versions of one kind in a content, from 0
    frame_rate_hz: int
    shown: Index  # (frame,) the field that each frame shows
    proxy_score: float


def make_demo(
    root: str | Path, seed: int = 0, contents: int = MOST_CONTENTS, seconds: float = 2.0, severities: int = 2
) -> Path:
    """Make the demo data set below `root`, or find the finished one; return the path of `labels.csv`.

    An interrupted set is completed; a video that is missing or was changed is made again.
    """
    root = Path(root)
    values = {"seed": seed, "contents": contents, "seconds": seconds, "severities": severities}
    settings = parse(DemoSettings, values, "demo", ArgumentError)
    present = [name for name in (LABELS, VERSIONS, VIDEOS) if (root / name).exists()]
    digests = read_marker(root / MARKER, settings, ("sha256", dict), "a demo", present) or {}
    if digests and all(_digest(root / name) == digest for name, digest in digests.items()):
        return root / LABELS
    (root / VIDEOS).mkdir(parents=True, exist_ok=True)
    if not digests:
        write_marker(root / MARKER, settings, sha256={})
    versions = plan_versions(settings)
    for content in range(contents):
        group = [version for version in versions if version.content == content]
        _write_missing(root, settings, group, digests)
    labels = [(version.video, version.proxy_score, f"c{version.content + 1:02d}") for version in versions]
    write_csv(root / LABELS, ("video", "mos", "content"), labels)
    write_csv(root / VERSIONS, _VERSION_COLUMNS, map(_version_row, versions))
    names = [LABELS, VERSIONS, *(version.video for version in versions)]
    write_marker(root / MARKER, settings, sha256={name: _digest(root / name) for name in names})
    return root / LABELS


def plan_versions(settings: DemoSettings) -> list[Version]:
    """Return the videos of `make_demo`, content by content."""
    return [
        _plan_version(settings, content, kind, repeat)
        for content in range(settings.contents)
        for kind in KINDS
        for repeat in range(settings.severities if KINDS[kind].amounts else 1)
    ]


def _plan_version(settings: DemoSettings, content: int, kind: str, repeat: int) -> Version:
    entry = KINDS[kind]
    severity = _severity(settings.seed, content, kind, repeat) if entry.amounts else 0
    rate = plan_camera(settings.seed, content).frame_rate_hz
    frames, rng = round(settings.seconds * rate), _generator(settings.seed, content, kind, 1, repeat)
    shown = entry.shown(frames, entry.amount(severity), rng)
    noise = _generator(settings.seed, content, kind, 2, repeat).normal(0, NOISE_POINTS)
    score = round(float(np.clip(entry.score(severity) + noise, *SCORE_RANGE)), 2)
    name = f"c{content + 1:02d}_{kind}" + (f"-{repeat + 1}" if repeat else "")
    return Version(f"{VIDEOS}/{name}.mp4", content, kind, severity, repeat, rate, shown, score)


def _severity(seed: int, content: int, kind: str, repeat: int) -> int:
    rng = np.random.default_rng((seed, 1000 + content // MOST_SEVERE, list(KINDS).index(kind) + 1))
    return int(rng.permutation(MOST_SEVERE)[(content + 2 * repeat) % MOST_SEVERE]) + 1


def _generator(seed: int, content: int, kind: str, purpose: int, repeat: int) -> np.random.Generator:
    number = 10 + list(KINDS).index(kind)
    return np.random.default_rng((seed, content, number, purpose, *([repeat] if repeat else [])))


def _write_missing(root: Path, settings: DemoSettings, group: list[Version], digests: dict[str, str]) -> None:
    def is_whole(version: Version) -> bool:
        path = root / version.video
        return path.is_file() and (version.video not in digests or _digest(path) == digests[version.video])

    missing = [version for version in group if not is_whole(version)]
    if not missing:
        return
    content, rate = missing[0].content, missing[0].frame_rate_hz
    fields = 2 * len(missing[0].shown) + FIELDS_BEYOND_END
    clip = Clip(plan_camera(settings.seed, content).render(np.arange(fields) / (2 * rate)), rate)
    for version in missing:
        kind = KINDS[version.kind]
        rng = _generator(settings.seed, content, version.kind, 3, version.repeat)
        pictures = kind.alter(clip, version.shown, kind.amount(version.severity), rng)
        write_h264(root / version.video, pictures, rate, kind.crf(version.severity))


def read_marker(path: Path, settings: Any, entry: tuple[str, type], what: str, present: Sequence[str]) -> Any:
    """Return an entry (key and type) of the marker file of a set, or None if there is no such file.

    A set with other settings is refused, and so are files in the folder (`present`) without a marker.
    """
    root = path.parent
    if root.exists() and not root.is_dir():
        raise ArgumentError(f"root is '{root}', which is a file; name a folder.")
    if not path.is_file():
        if present:
            problem = f"'{root}' holds {summarize(present)} but no {path.name}, so it is not {what}"
            raise DatasetError(f"{problem}; choose an empty folder.")
        return None
    key, kind = entry
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
        stored, value = marker["settings"], kind(marker[key])
    except (ValueError, KeyError, TypeError) as error:
        problem = f"'{path}' is not the marker of {what} ({error!r})"
        raise DatasetError(f"{problem}; delete the folder or choose another one.") from error
    if stored != asdict(settings):
        problem = f"'{root}' holds {what} with {stored}, not {asdict(settings)}"
        raise DatasetError(f"{problem}; delete the folder or choose another one.")
    return value


def write_marker(path: Path, settings: Any, **entry: Any) -> None:
    """Write the marker file of a set: its settings, and one entry."""
    text = json.dumps({"settings": asdict(settings), **entry}, indent=1)
    write_bytes(path, f"{text}\n".encode())


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


_SCORE = "proxy_score_before_noise"
_FRAME_COLUMNS = ("frame_rate_hz", "frames", "repeated_frames")
_VERSION_COLUMNS = ("video", "kind", "severity", "amount", "unit", _SCORE, *_FRAME_COLUMNS)


def _version_row(version: Version) -> Sequence[Any]:
    kind, severity = KINDS[version.kind], version.severity
    done = (version.kind, severity, kind.amount(severity), kind.unit, kind.score(severity))
    repeated = np.flatnonzero(np.diff(version.shown) == 0) + 1
    frames = (version.frame_rate_hz, len(version.shown), " ".join(map(str, repeated)))
    return version.video, *done, *frames
