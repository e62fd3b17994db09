"""Camera moves over the two photographs of scikit-learn: the pristine pictures of the demo data set.

The camera's window has 256x144 pixels, each `zoom` photograph pixels wide, and pans, zooms, trembles and
rolls by fractions of a pixel. Pictures are Y'CbCr 4:2:0 (BT.601, limited range), as the encoder takes them.
The photograph is low-passed for the widest zoom and read by cubic splines, so that nothing aliases.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vqafeat.errors import ArgumentError

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float64]

WIDTH_PX, HEIGHT_PX = 256, 144
FRAME_RATES_HZ = (24, 25, 30)
MOST_CONTENTS = 12
# longer than the usual clip of 2 s and its widest field distance, so that the clip shows one direction
LEG_SECONDS = 2.25
MARGIN_PX = 10.0
PHOTOGRAPH_SIZE_PX = (640, 427)
# (x, y) of the middle of each content's move, and its zoom. The windows are wide and close together, so that
# videos differ most in quality, which even features of random weights then show.
PLACES = {
    "china.jpg": ((300, 195, 1.6), (330, 205, 1.75), (345, 225, 1.5), (300, 225, 1.7), (340, 210, 1.55)),
    "flower.jpg": ((310, 205, 1.65), (330, 220, 1.5), (325, 225, 1.75), (300, 205, 1.55), (345, 215, 1.7)),
}
_LAST_PLACE = (320, 214, 1.85)  # in both photographs


@dataclass(frozen=True)
class Pictures:
    """Pictures in Y'CbCr 4:2:0: luma (time, height, width), cb and cr (time, height / 2, width / 2)."""

    luma: Pixels
    cb: Pixels
    cr: Pixels

    def __post_init__(self) -> None:
        time, height, width = self.luma.shape
        if {self.cb.shape, self.cr.shape} != {half := (time, height // 2, width // 2)}:
            shapes = f"{self.cb.shape} and {self.cr.shape}"
            raise ArgumentError(f"cb and cr have the shapes {shapes}; luma {self.luma.shape} needs {half}.")

    def __iter__(self) -> Iterator[Pixels]:
        return iter((self.luma, self.cb, self.cr))

    def at(self, index: NDArray[np.int64]) -> "Pictures":
        """Return the pictures at `index` (time,), in that order."""
        return Pictures(*(plane[index] for plane in self))


@dataclass(frozen=True)
class Camera:
    """A move over a photograph, to and fro between a first and a last window."""

    photograph: str
    mirrored: bool
    frame_rate_hz: int
    move: str
    # first_centre_px, last_centre_px: (x, y) in photograph pixels
    first_centre_px: tuple[float, float]
    last_centre_px: tuple[float, float]
    # first_zoom, last_zoom: photograph pixels per picture pixel
    first_zoom: float
    last_zoom: float
    shake_px: float
    roll_degrees: float
    shake_seed: tuple[int, ...]

    def __post_init__(self) -> None:
        if min(self.first_zoom, self.last_zoom) <= 0 or self.shake_px < 0:
            values = f"zooms are {self.first_zoom} and {self.last_zoom}, shake_px is {self.shake_px}"
            raise ArgumentError(f"{values}; zooms have to be above 0, and shake_px at least 0.")

    def render(self, seconds: NDArray[np.float64]) -> Pictures:
        """Return the pictures seen at `seconds` (time,)."""
        widest = max(self.first_zoom, self.last_zoom)
        luma, cb, cr = _spline_planes(self.photograph, self.mirrored, round(widest, 6))
        phase = np.mod(seconds / LEG_SECONDS, 2)
        share = (1 - np.abs(1 - phase))[:, None]
        centres = (1 - share) * np.array(self.first_centre_px) + share * np.array(self.last_centre_px)
        zooms = (self.first_zoom * (self.last_zoom / self.first_zoom) ** share)[:, 0]
        across, down, roll = (_shake(seconds, (*self.shake_seed, axis)) for axis in (2, 3, 4))
        centres = centres + self.shake_px * np.stack([across, down], axis=1)
        rolls = np.deg2rad(self.roll_degrees) * roll
        views = list(zip(centres, zooms, rolls, strict=True))
        planes = ((luma, 1), (cb, 2), (cr, 2))
        seen = (np.stack([_window(plane, *view, step=step) for view in views]) for plane, step in planes)
        return Pictures(*seen)


def plan_camera(seed: int, content: int) -> Camera:
    """Return the camera of a content, 0 … 11; photograph, frame rate and move do not depend on the seed."""
    if not 0 <= content < MOST_CONTENTS:
        raise ArgumentError(f"content is {content}; it has to be 0 to {MOST_CONTENTS - 1}.")
    rng = np.random.default_rng((seed, content, 1))
    position, photograph = content // 2, tuple(PLACES)[content % 2]
    x, y, usual_zoom = (*PLACES[photograph], _LAST_PLACE)[position]
    zoom = usual_zoom * rng.uniform(0.96, 1.04)
    moves = (
        ("pan", 1.0, rng.uniform(60, 85), 0.4, 0.0),
        ("zoom", float(rng.choice([1 / 1.35, 1.35])), rng.uniform(25, 40), 0.3, 0.0),
        ("handheld", rng.uniform(0.94, 1.06), rng.uniform(35, 55), 2.2, 0.6),
    )
    move, factor, speed_px, shake_px, roll = moves[(content + content // 3) % len(moves)]
    first_zoom, last_zoom = zoom / factor**0.5, zoom * factor**0.5
    angle = rng.uniform(-0.3, 0.3) + np.pi * rng.integers(2)
    leg = 0.5 * LEG_SECONDS * speed_px * zoom * np.array([np.cos(angle), np.sin(angle)])
    reach = MARGIN_PX + 0.5 * max(first_zoom, last_zoom) * np.array([WIDTH_PX, HEIGHT_PX])
    size = np.array(PHOTOGRAPH_SIZE_PX, dtype=np.float64)
    longest = np.maximum(size / 2 - reach, 0)
    leg = leg.clip(-longest, longest)
    middle = np.array([size[0] - x if position % 2 else x, y]) + rng.uniform(-15, 15, 2)
    centre = np.clip(middle, reach + abs(leg), size - reach - abs(leg))
    first, last = centre - leg, centre + leg
    return Camera(
        photograph=photograph,
        mirrored=position % 2 == 1,
        frame_rate_hz=FRAME_RATES_HZ[content % 3],
        move=move,
        first_centre_px=(float(first[0]), float(first[1])),
        last_centre_px=(float(last[0]), float(last[1])),
        first_zoom=first_zoom,
        last_zoom=last_zoom,
        shake_px=shake_px * zoom,
        roll_degrees=roll,
        shake_seed=(seed, content),
    )


@cache
def photographs() -> dict[str, Plane]:
    """Return name → photograph, (height, width, 3) RGB, 0 to 1."""
    from sklearn.datasets import load_sample_image  # the import takes a second

    return {name: load_sample_image(name) / 255.0 for name in PLACES}


@cache
def _spline_planes(photograph: str, mirrored: bool, widest_zoom: float) -> tuple[Plane, Plane, Plane]:
    image = photographs()[photograph]
    red, green, blue = np.moveaxis(image[:, ::-1] if mirrored else image, 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = (16 + 219 * luma, 128 + 112 / 0.886 * (blue - luma), 128 + 112 / 0.701 * (red - luma))
    # sampling every s pixels needs a blur of about s / 2, of which the photograph's pixels have 1 / 2
    sigmas = (0.5 * np.sqrt(max((widest_zoom * step) ** 2 - 1, 0)) for step in (1, 2, 2))
    luma, cb, cr = (
        ndimage.spline_filter(ndimage.gaussian_filter(plane, sigma, mode="mirror"), order=3, mode="mirror")
        for plane, sigma in zip(planes, sigmas, strict=True)
    )
    return luma, cb, cr


def _window(plane: Plane, centre: Plane, zoom: float, roll: float, *, step: int) -> Pixels:
    shape = (HEIGHT_PX // step, WIDTH_PX // step)
    # chroma samples are sited as in MPEG-2: on the even luma columns, between two luma rows
    origin = np.array([(step - 1) / 2 - (HEIGHT_PX - 1) / 2, -(WIDTH_PX - 1) / 2])
    turn = zoom * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    offset = centre[::-1] + turn @ origin
    seen = ndimage.affine_transform(
        plane, turn * step, offset, output_shape=shape, order=3, mode="mirror", prefilter=False
    )
    return np.clip(np.rint(seen), 16, 240 if step == 2 else 235).astype(np.uint8)


def _shake(seconds: Plane, seed: tuple[int, ...]) -> Plane:
    rng = np.random.default_rng(seed)
    frequencies_hz, phases = rng.uniform(0.7, 4.5, 4), rng.uniform(0, 2 * np.pi, 4)
    waves = np.sin(2 * np.pi * frequencies_hz * seconds[:, None] + phases)
    return np.asarray((waves / frequencies_hz**0.5).sum(axis=1) / 2)
