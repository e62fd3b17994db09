"""The demo image set: crops of two photographs in versions of known severity, with artificial opinions.

No person rated these images. Each has 20 *proxy opinions* with the mean

    proxy score = 90 − slope(kind) · severity

and a standard deviation of 8 points where raters would agree (pristine, blur, noise, compression), and of 20
points where tastes differ (exposure, colour). `mos` is the mean of the 20 opinions. `std` is 8 or 20, because
the standard deviation of a sample would order images of one kind by chance.

Crops of one place in a photograph are one `content`. Places do not overlap.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, NonNegativeInt
from scipy import ndimage

from vqafeat.demo.camera import photographs
from vqafeat.demo.distortions import MOST_SEVERE, Distortion
from vqafeat.demo.video_set import read_marker, write_marker
from vqafeat.errors import ArgumentError
from vqafeat.io import write_csv
from vqafeat.schema import parse

Samples = NDArray[np.float64]  # (height, width, 3) RGB, 0 to 255

SIDE_PX, STEP_PX = 64, 68
PLACES_EACH = 40  # those with the most detail: a blurred sky looks like a sky
MOST_IMAGE_CONTENTS = 2 * PLACES_EACH
OPINIONS = 20
SEVERITIES_EACH = 3
AGREED_STD, DISPUTED_STD = 8.0, 20.0
IMAGE_RECIPE = 1  # raised when the same seed gives other files
MARKER, LABELS, VERSIONS, FOLDER = "images.json", "images.csv", "image_versions.csv", "images"


@dataclass(frozen=True)
class ImageKind(Distortion):
    """A distortion of images."""

    opinion_std: float  # standard deviation of the proxy opinions
    # (samples, amount, generator) → samples, which are rounded and clipped afterwards
    alter: Callable[[Samples, float, np.random.Generator], Samples]


def _blurred(samples: Samples, amount: float, rng: np.random.Generator) -> Samples:
    return np.asarray(ndimage.gaussian_filter(samples, (amount, amount, 0), mode="mirror"))


def _noisy(samples: Samples, amount: float, rng: np.random.Generator) -> Samples:
    return samples + rng.normal(0, amount, samples.shape)


def _compressed(samples: Samples, amount: float, rng: np.random.Generator) -> Samples:
    file = io.BytesIO()
    Image.fromarray(_as_bytes(samples)).save(file, "JPEG", quality=round(amount))
    return np.asarray(Image.open(file), dtype=np.float64)


def _exposed(samples: Samples, amount: float, rng: np.random.Generator) -> Samples:
    linear = (samples / 255) ** 2.2  # sRGB's curve is near enough a power of 2.2
    exposed = linear * 2 ** (amount * rng.choice((-1, 1)))
    return np.asarray(255 * exposed.clip(0, 1) ** (1 / 2.2))


def _discoloured(samples: Samples, amount: float, rng: np.random.Generator) -> Samples:
    grey = samples @ np.array([0.299, 0.587, 0.114])
    cast = amount * 40 * rng.choice((-1, 1)) * np.array([1.0, 0.0, -1.0])
    return np.asarray(grey[..., None] + (1 - amount) * (samples - grey[..., None]) + cast)


IMAGE_KINDS = {
    "pristine": ImageKind("", (), 0.0, AGREED_STD, lambda samples, _amount, _rng: samples),
    "blur": ImageKind("standard deviation in pixels", (0.8, 1.4, 2.2, 3.3, 5.0), 14.0, AGREED_STD, _blurred),
    "noise": ImageKind("standard deviation of 255", (8, 18, 30, 45, 64), 14.0, AGREED_STD, _noisy),
    "compression": ImageKind("JPEG quality", (30, 16, 9, 5, 2), 14.0, AGREED_STD, _compressed),
    "exposure": ImageKind("stops", (0.6, 1.1, 1.6, 2.2, 3.0), 6.0, DISPUTED_STD, _exposed),
    "colour": ImageKind("share of colour lost", (0.25, 0.45, 0.6, 0.8, 1.0), 5.0, DISPUTED_STD, _discoloured),
}


@dataclass(frozen=True)
class ImageDemoSettings:
    """Everything that the files depend on."""

    seed: NonNegativeInt = 0
    contents: Annotated[int, Field(ge=1, le=MOST_IMAGE_CONTENTS)] = MOST_IMAGE_CONTENTS
    recipe: int = IMAGE_RECIPE


@dataclass(frozen=True)
class ImageVersion:
    """A planned image; `image` is its path below the root."""

    image: str
    content: int
    kind: str
    severity: int
    mos: float
    std: float


def make_image_demo(root: Path, seed: int = 0, contents: int = MOST_IMAGE_CONTENTS) -> Path:
    """Make the demo image set below `root`, or find the finished one; return the path of `images.csv`."""
    settings = parse(ImageDemoSettings, {"seed": seed, "contents": contents}, "image demo", ArgumentError)
    versions = plan_image_versions(settings)
    present = [path.name for path in root.iterdir()] if root.is_dir() else []
    finished = read_marker(root / MARKER, settings, ("finished", bool), "an image set", present)
    if finished and all((root / name).is_file() for name in [LABELS, *(v.image for v in versions)]):
        return root / LABELS
    write_marker(root / MARKER, settings, finished=False)
    (root / FOLDER).mkdir(exist_ok=True)
    for version in versions:
        Image.fromarray(render(settings.seed, version)).save(root / version.image)
    labels = [(v.image, v.mos, v.std, _place(v.content)) for v in versions]
    write_csv(root / LABELS, ("image", "mos", "std", "content"), labels)
    kinds = [(v.image, v.kind, v.severity) for v in versions]
    write_csv(root / VERSIONS, ("image", "kind", "severity"), kinds)
    write_marker(root / MARKER, settings, finished=True)
    return root / LABELS


def plan_image_versions(settings: ImageDemoSettings) -> list[ImageVersion]:
    """Return the planned images: of each content the pristine crop, and each kind three times."""
    planned = []
    for content in range(settings.contents):
        for number, (name, kind) in enumerate(IMAGE_KINDS.items()):
            rng = np.random.default_rng((settings.seed, content, number))
            severities = rng.choice(MOST_SEVERE, SEVERITIES_EACH, replace=False) + 1 if kind.amounts else [0]
            for severity in sorted(map(int, severities)):
                opinions = rng.normal(kind.score(severity), kind.opinion_std, OPINIONS)
                mos = round(float(opinions.mean()), 3)
                path = f"{FOLDER}/{_place(content)}_{name}{severity or ''}.png"
                planned.append(ImageVersion(path, content, name, severity, mos, kind.opinion_std))
    return planned


def render(seed: int, version: ImageVersion) -> NDArray[np.uint8]:
    """Return (height, width, 3) samples of a version."""
    kind = IMAGE_KINDS[version.kind]
    number = list(IMAGE_KINDS).index(version.kind)
    rng = np.random.default_rng((seed, version.content, version.severity, number, 1))
    photograph = 255 * list(photographs().values())[version.content % 2]
    top, left = _places(version.content % 2)[version.content // 2]
    pristine = photograph[top : top + SIDE_PX, left : left + SIDE_PX]
    return _as_bytes(kind.alter(pristine, kind.amount(version.severity), rng))


@cache
def _places(photograph: int) -> list[tuple[int, int]]:
    """Return (top, left) of crops in the middle of the cells of a grid, those with the most detail first."""
    grey = list(photographs().values())[photograph].mean(2)
    detail = ndimage.gaussian_gradient_magnitude(grey, 1.0)
    margin = (STEP_PX - SIDE_PX) // 2
    cells = product(range(6), range(9))
    corners = [(row * STEP_PX + margin, column * STEP_PX + margin) for row, column in cells]
    means = [float(detail[top : top + SIDE_PX, left : left + SIDE_PX].mean()) for top, left in corners]
    return [corners[item] for item in np.argsort(means)[::-1][:PLACES_EACH]]


def _place(content: int) -> str:
    return f"p{content + 1:02d}"


def _as_bytes(samples: Samples) -> NDArray[np.uint8]:
    return np.clip(np.rint(samples), 0, 255).astype(np.uint8)
