"""Clips in every container, as the tests of cut files need them."""

from pathlib import Path

import av

from tests.helpers.clips import noise_frames
from vqafeat.video.reader import VideoReader

Codec = tuple[str, str]
OWN_OPTIONS = {"libsvtav1": ("preset",), "libx265": ("x265-params",)}
H264: Codec = ("libx264", "yuv420p")
# container → codec and pixel format, options of the muxer, format where the suffix does not name it
CONTAINERS: dict[str, tuple[Codec, dict[str, str], str | None]] = {
    "mp4": (H264, {}, None),
    "indexed.mp4": (H264, {"movflags": "dash+global_sidx+frag_keyframe"}, None),
    "mov": (H264, {}, None),
    "mkv": (H264, {}, None),
    "live.mkv": (H264, {"live": "1"}, None),
    "webm": (("libvpx", "yuv420p"), {}, None),
    "avi": (("mpeg4", "yuv420p"), {}, None),
    "flv": (("flv", "yuv420p"), {}, None),
    "wmv": (("wmv2", "yuv420p"), {}, None),
    "ogv": (("libvpx", "yuv420p"), {}, None),
    "mxf": (("mpeg2video", "yuv420p"), {}, None),
    "gif": (("gif", "rgb8"), {}, None),
    "nut": (H264, {}, None),
    "apng": (("apng", "rgb24"), {}, None),
}
# those for which the guide lists cuts that cannot be detected
OPEN_CONTAINERS: dict[str, tuple[Codec, dict[str, str], str | None]] = {
    "fragmented.mp4": (H264, {"movflags": "frag_keyframe+empty_moov"}, None),
    "unsized.flv": (H264, {"flvflags": "no_duration_filesize"}, None),
    "ts": (H264, {}, None),
    "hevc.ts": (("libx265", "yuv420p"), {}, None),
    "mpeg2.ts": (("mpeg2video", "yuv420p"), {"omit_video_pes_length": "0"}, None),
    "mpg": (("mpeg1video", "yuv420p"), {}, None),
    "y4m": (("wrapped_avframe", "yuv420p"), {}, "yuv4mpegpipe"),
    "ivf": (("libvpx", "yuv420p"), {}, None),
    "h264": (H264, {}, None),
    "hevc": (("libx265", "yuv420p"), {}, None),
    "obu": (("libsvtav1", "yuv420p"), {}, None),
    "mjpeg": (("mjpeg", "yuvj420p"), {}, None),
}
EVERY = CONTAINERS | OPEN_CONTAINERS


class Pipe:
    """A file in which a muxer cannot go back."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, data: bytes) -> None:
        self.content += bytes(data)


def clip(folder: Path, container: str, pipe: bool = False) -> Path:
    """Write 30 frames, with a key frame every five, to a container."""
    (codec, pixel_format), options, muxer = EVERY[container]
    path, memory = folder / f"whole.{container}", Pipe()
    muxer = {"wmv": "asf", "mkv": "matroska"}.get(container, container) if pipe else muxer
    codec_options = {"g": "5", "preset": "12", "x265-params": "log-level=none:keyint=5"}
    codec_options = {name: codec_options[name] for name in ("g", *OWN_OPTIONS.get(codec, ()))}
    with av.open(memory if pipe else path, "w", format=muxer, options=options) as file:
        stream = file.add_stream(codec, rate=25, options=codec_options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for number, rgb in enumerate(noise_frames(30)):
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixel_format)
            picture.pts = number
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    if pipe:
        path.write_bytes(memory.content)
    return path


def decoded(path: Path) -> int:
    """Return the number of frames of a video that is whole."""
    with VideoReader(path) as reader:
        return sum(1 for _ in reader)
