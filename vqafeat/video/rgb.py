"""Decoded frames on a device, and their conversion to RGB, bit for bit as swscale does."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vqafeat.errors import VideoError
from vqafeat.video.frame import FrameLayout


@dataclass(frozen=True, eq=False)
class Frames:
    """Consecutive frames of a video on a device."""

    # uint8, as decoded, (frame, layout.nbytes); or RGB, (frame, 3, height, width), without a layout
    data: Tensor
    layout: FrameLayout | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as shown."""
        if self.layout is None:
            return self.data.shape[2], self.data.shape[3]
        width, height = self.layout.shown_size
        return height, width

    def rgb(self) -> Tensor:
        """Return (frame, 3, height, width) uint8."""
        return self.data if self.layout is None else to_rgb(self.data, self.layout)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, rows: slice | list[int]) -> "Frames":
        if isinstance(rows, list):  # an index would be copied to the device, which waits for it
            return Frames(torch.stack([self.data[row] for row in rows]), self.layout)
        return Frames(self.data[rows], self.layout)


def no_memory_for_frames(device: torch.device) -> VideoError:
    """Return the error of a device without memory for decoded frames."""
    return VideoError("out-of-memory", f"'{device}' has no memory for the next decoded frames.")


def joined(pieces: Sequence[Frames]) -> Frames:
    """Return the frames of all pieces, which have one size."""
    if len({piece.layout for piece in pieces}) == 1:
        return Frames(torch.cat([piece.data for piece in pieces]), pieces[0].layout)
    return Frames(torch.cat([piece.rgb() for piece in pieces]))


def to_rgb(frames: Tensor, layout: FrameLayout) -> Tensor:
    """Return (frame, 3, height, width) RGB of (frame, layout.nbytes) uint8 frames, rotated, as a copy.

    The conversion is swscale's own in integers, with the nearest chroma sample (`yuv2rgb.c`): a float
    conversion differs from it in a third and more of all samples.
    """
    width, height = layout.width, layout.height
    if layout.planes:
        luma, blue, red = torch.split(frames, [width * height, width * height // 4, width * height // 4], 1)
        rgb = _converted(luma, blue, red, layout)
    else:
        rgb = frames.view(-1, height, width, 3).permute(0, 3, 1, 2).contiguous()
    rgb = rgb.flip(3) if layout.mirrored else rgb
    return rgb.rot90(layout.quarter_turns, (2, 3)) if layout.quarter_turns else rgb


def _converted(luma: Tensor, blue: Tensor, red: Tensor, layout: FrameLayout) -> Tensor:
    frames, width, height = len(luma), layout.width, layout.height
    red_v, blue_u, green_u, green_v = layout.coefficients
    y = luma.to(torch.int32).mul_(8)
    y = y.mul_(8192) if layout.full_range else y.sub_(128).mul_(9539)
    y = y.bitwise_right_shift_(16).to(torch.int16).view(frames, height // 2, 2, width)
    u, v = (plane.to(torch.int32).mul_(8).sub_(1024) for plane in (blue, red))
    parts = (v * red_v >> 16, (u * -green_u >> 16) + (v * -green_v >> 16), u * blue_u >> 16)
    rgb = torch.empty((frames, 3, height, width), dtype=torch.uint8, device=luma.device)
    for channel, part in enumerate(parts):
        wide = part.to(torch.int16).repeat_interleave(2, dim=1).view(frames, height // 2, 1, width)
        rgb[:, channel] = (y + wide).clamp_(0, 255).view(frames, height, width)
    return rgb
