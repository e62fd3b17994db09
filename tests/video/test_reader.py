"""Decoding against the facts of odd files and FFmpeg's integer conversion written out; limits."""

import csv
import os
import resource
import struct
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import av.video.format
import numpy as np
import numpy.typing as npt
import pytest
from av.stream import Disposition

from tests.helpers.clips import noise_frames, write_clip
from vqafeat.datasets import RawGeometry
from vqafeat.errors import ArgumentError, VideoError
from vqafeat.training.frame_sampling import VideoRows, sampling_named
from vqafeat.video import DecodeJob, VideoEnd, VideoFailed, decode_here, reader
from vqafeat.video.frame import DecodeLimits, Frame
from vqafeat.video.reader import VideoReader, decoder_identity

REFUSED = {
    "truncated.mp4": ("breaks-midway", "breaks after 28 of 50 frames"),
    "empty.mp4": ("cannot-open", "cannot be opened"),
    "encrypted.mp4": ("cannot-open", "cannot be opened"),
    "audio_only.mp4": ("no-video-stream", "streams: audio"),
    "no_frames.wmv": ("no-frames", "no frame that decodes"),
}
WHOLE = [
    "rotated_90.mov", "rotated_180.mov", "h264_10bit.mp4", "bt709_full_range.mp4", "av1.mkv",
    "slow_motion_vfr.mp4", "edit_list_yuv444.mp4", "hdr10_av1.mp4", "mpeg4.avi", "fps_1000.flv", "no_fps.ts",
    "h263.3gp", "animated.gif", "sar_128_117.mp4", "fragmented.mp4", "one_frame_8x8.webm",
]  # fmt: skip
# swscale's coefficients of Cr→R, Cb→B, Cb→G, Cr→G in 1/65536, by FFmpeg's number of the matrix
MATRICES = {
    1: (117489, 138438, 13975, 34925),
    2: (104597, 132201, 25675, 53279),
    5: (104597, 132201, 25675, 53279),
    6: (104597, 132201, 25675, 53279),
}


def read(path: Path, raw: RawGeometry | None = None) -> tuple[list[Frame], dict[str, object]]:
    with VideoReader(path, raw) as reader:
        return list(reader), reader.source()


def integer_rgb(planes: list[npt.NDArray[np.uint8]], matrix: int, full_range: bool) -> npt.NDArray[np.uint8]:
    """FFmpeg's 4:2:0 → RGB conversion in integers, nearest chroma (`yuv2rgb.c`, written from the measured
    formula).
    """
    height, width = planes[0].shape
    luma, blue, red = (plane.astype(np.int64) for plane in planes)
    blue, red = (plane.repeat(2, 0).repeat(2, 1)[:height, :width] for plane in (blue, red))
    scale = 224 / 255 if full_range else 1.0
    red_v, blue_u, green_u, green_v = (
        (int(coefficient * scale) + 4) >> 3 for coefficient in MATRICES[matrix]
    )
    luma = ((8 * luma) * 8192) >> 16 if full_range else ((8 * luma - 128) * 9539) >> 16
    blue, red = 8 * blue - 1024, 8 * red - 1024
    rgb = [
        luma + ((red * red_v) >> 16),
        luma + ((blue * -green_u) >> 16) + ((red * -green_v) >> 16),
        luma + ((blue * blue_u) >> 16),
    ]
    return np.clip(np.stack(rgb, -1), 0, 255).astype(np.uint8)


def planes_of(picture: av.VideoFrame) -> list[npt.NDArray[np.uint8]]:
    return [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in picture.planes
    ]


@pytest.mark.parametrize("name", WHOLE)
def test_video_reader__decodes_odd_files_as_their_recorded_facts(shared_data: Path, name: str) -> None:
    with (shared_data / "odd" / "facts.csv").open() as file:
        facts = {row["file"]: row for row in csv.DictReader(file)}[name]
    frames, source = read(shared_data / "odd" / name)
    assert len(frames) == int(facts["frames_decoded"])
    width, height = map(int, facts["coded_size"].split("x"))
    if facts["rotation_deg"] == "-90":
        width, height = height, width
    assert {frame.rgb.shape for frame in frames} == {(height, width, 3)}
    assert (source["width"], source["height"], source["pixel_format"]) == (
        width,
        height,
        facts["pixel_format"],
    )
    assert source["rotation_degrees"] == int(facts["rotation_deg"])
    assert source["sample_aspect_ratio"] == (facts["sample_aspect_ratio"].replace("None", "1") or "1")
    seconds = [frame.seconds for frame in frames]
    assert seconds == sorted(set(seconds))
    assert source["times"] == "container"


@pytest.mark.parametrize("name", REFUSED)
def test_video_reader__refuses_broken_files_with_their_reason(shared_data: Path, name: str) -> None:
    kind, message = REFUSED[name]
    with pytest.raises(VideoError, match=message) as caught:
        read(shared_data / "odd" / name)
    assert caught.value.kind == kind


def test_odd_files__are_all_accounted_for(shared_data: Path) -> None:
    files = {path.name for path in (shared_data / "odd").iterdir()} - {"facts.csv"}
    assert files == {*REFUSED, *WHOLE, "portrait_406x720.mp4"}
    frames, source = read(shared_data / "odd" / "portrait_406x720.mp4")
    assert (len(frames), source["width"], source["height"]) == (243, 406, 720)


def odd2_facts() -> list[dict[str, str]]:
    folder = (
        Path(os.environ.get("VQAFEAT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "odd2"
    )
    if not folder.is_dir():
        return []
    with (folder / "facts.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("facts", odd2_facts(), ids=lambda facts: facts["file"])
def test_video_reader__decodes_or_refuses_more_odd_files(shared_data: Path, facts: dict[str, str]) -> None:
    """`mean_…` are FFmpeg's RGB of the first frame, by quadrants; times are from the start of the file."""
    path = shared_data / "odd2" / facts["file"]
    if not facts["frames"]:
        kinds = {"refused: cut": "breaks-midway", "refused: no video": "no-video-stream"}
        if kind := kinds.get(facts["expected"]):
            with pytest.raises(VideoError) as error:
                read(path)
            assert error.value.kind == kind
        return
    with VideoReader(path) as reader:
        seconds = []
        for frame in reader:
            if not seconds:
                rgb = frame.rgb.copy()
            seconds.append(frame.seconds)
    assert len(seconds) == int(facts["frames"])
    height, width = rgb.shape[:2]
    assert (width, height) == (int(facts["width"]), int(facts["height"]))
    quadrants = {
        "top_left": rgb[: height // 2, : width // 2],
        "top_right": rgb[: height // 2, width // 2 :],
        "bottom_left": rgb[height // 2 :, : width // 2],
        "bottom_right": rgb[height // 2 :, width // 2 :],
    }
    for name, samples in quadrants.items():
        assert samples.mean() == pytest.approx(float(facts[f"mean_{name}"]), abs=0.0051)
    times = [float(value) for value in facts["first_times_seconds"].split()]
    assert seconds[: len(times)] == pytest.approx(times, abs=1e-6)
    assert seconds == sorted(set(seconds))


def test_video_reader__says_that_a_picture_is_no_video(shared_data: Path) -> None:
    with pytest.raises(VideoError, match=r"has no video stream \(streams: attached picture, audio\)"):
        read(shared_data / "odd2" / "cover.mp3")


def test_video_reader__takes_the_colour_track_of_an_image_sequence(shared_data: Path) -> None:
    frames, source = read(shared_data / "odd2" / "alpha_video.avif")
    assert [len(frames), source["stream_index"], source["pixel_format"]] == [1, 1, "yuv420p"]


def two_streams(path: Path, sizes: list[tuple[int, int]], default: int | None, attached: int | None) -> Path:
    """Write a video of several streams, of which one may be the default and one an attached picture."""
    options = {"default_mode": "passthrough"} if path.suffix == ".mkv" else {}
    with av.open(path, "w", options=options) as container:
        streams = []
        for number, (width, height) in enumerate(sizes):
            stream = container.add_stream("mjpeg", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
            flags = [Disposition.default] if number == default else []
            flags += [Disposition.attached_pic] if number == attached else []
            stream.disposition = sum(map(int, flags))
            streams.append(stream)
        for stream in streams:
            picture = av.VideoFrame(stream.width, stream.height, "yuvj420p")
            container.mux(stream.encode(picture))
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("default", "attached", "index"), [(None, None, 1), (0, None, 0), (1, None, 1), (None, 1, 0)]
)
def test_video_stream__is_the_one_that_ffmpeg_takes(
    tmp_path: Path, default: int | None, attached: int | None, index: int
) -> None:
    """The default one, else the largest, and no attached picture."""
    name = "two.mkv" if attached is None else "two.mp4"
    path = two_streams(tmp_path / name, [(32, 16), (64, 48)], default, attached)
    _, source = read(path)
    assert (source["width"], source["stream_index"]) == ((32, 64)[index], index)


def test_sampling__takes_frames_of_an_avi_at_a_rate(shared_data: Path) -> None:
    """100 frames at 25 Hz, whose times are estimated, are 20 at 5 Hz."""
    frames, _ = read(shared_data / "odd2" / "h264_bframes.avi")
    seconds = np.array([frame.seconds for frame in frames])
    rows = sampling_named("rate-5").rows(VideoRows("a.avi", len(seconds), lambda: seconds))
    assert rows is not None
    np.testing.assert_allclose(np.diff(seconds[rows]), 0.2, atol=0.041)
    assert len(rows) == 20


def test_source__names_the_frames_whose_times_are_estimated(shared_data: Path) -> None:
    _, source = read(shared_data / "odd2" / "h264_bframes.avi")
    assert [source["times"], source["estimated_frames"]] == ["partly estimated", [[0, 99]]]


def writable(pixel_format: str) -> bool:
    """Return whether swscale writes a pixel format, and reads it again."""
    try:
        picture = av.VideoFrame(8, 8, "rgb24").reformat(format=pixel_format)
        return picture.reformat(format="rgb24").width == 8
    except (av.FFmpegError, OSError):
        return False


PIXEL_FORMATS = sorted(filter(writable, av.video.format.names))


def test_pixel_formats__are_those_of_ffmpeg() -> None:
    assert len(PIXEL_FORMATS) >= 190
    assert {"nv12", "yuv420p10le", "yuva420p", "gbrp10le", "yuyv422", "xyz12le"} <= set(PIXEL_FORMATS)


@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
def test_video_reader__converts_raw_formats_as_ffmpeg_does(
    tmp_path: Path, pixel_format: str, size: tuple[int, int]
) -> None:
    """Against FFmpeg's scale filter with the flags that its command line gives it."""
    width, height = size
    path, raw = tmp_path / "clip.yuv", RawGeometry(width, height, pixel_format, 25.0)
    picture = av.VideoFrame.from_ndarray(noise_frames(1, width, height)[0], format="rgb24")
    with av.open(path, "w", format="rawvideo") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        container.mux(stream.encode(picture.reformat(format=pixel_format)))
        container.mux(stream.encode())
    options = {"video_size": f"{width}x{height}", "pixel_format": pixel_format, "framerate": "25"}
    with av.open(path, format="rawvideo", options=options) as container:
        stored = next(container.decode(video=0))
    graph = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=stored.format, time_base=Fraction(1, 25))
    scale, to_rgb = graph.add("scale", "flags=bicubic"), graph.add("format", "rgb24")
    sink = graph.add("buffersink")
    graph.link_nodes(source, scale, to_rgb, sink).configure()
    graph.vpush(stored)
    frames, _ = read(path, raw)
    np.testing.assert_array_equal(frames[0].rgb, graph.vpull().to_ndarray())


def test_video_reader__takes_relative_paths_with_a_colon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = RawGeometry(16, 16, "gray", 25.0)
    Path("clip:1.yuv").write_bytes(bytes(16 * 16 * 3))
    assert len(read(Path("clip:1.yuv"), raw)[0]) == 3


def test_source__states_times_and_rates_of_odd_files(shared_data: Path) -> None:
    assert read(shared_data / "odd" / "slow_motion_vfr.mp4")[1]["constant_frame_rate"] is False
    assert read(shared_data / "odd" / "animated.gif")[1]["constant_frame_rate"] is False
    assert read(shared_data / "odd" / "av1.mkv")[1]["constant_frame_rate"] is True
    source = read(shared_data / "odd" / "bt709_full_range.mp4")[1]
    assert (source["color_range"], source["color_matrix"]) == ("full", 1)


@pytest.mark.parametrize(
    "name",
    [
        "konvid-mini/3339962845.mp4",
        "odd/bt709_full_range.mp4",
        "odd/av1.mkv",
        "odd/portrait_406x720.mp4",
        "odd/slow_motion_vfr.mp4",
        "odd/h263.3gp",
    ],
)
def test_video_reader__rgb_equals_ffmpegs_integer_conversion(shared_data: Path, name: str) -> None:
    with av.open(shared_data / name) as container:
        picture = next(container.decode(video=0))
        expected = integer_rgb(planes_of(picture), int(picture.colorspace), int(picture.color_range) == 2)
    with VideoReader(shared_data / name) as reader:
        np.testing.assert_array_equal(next(iter(reader)).rgb, expected)


def test_video_reader__rotates_as_a_player_does(shared_data: Path) -> None:
    with av.open(shared_data / "odd" / "rotated_90.mov") as container:
        coded = next(container.decode(video=0)).to_ndarray(format="rgb24")
    shown = read(shared_data / "odd" / "rotated_90.mov")[0][0].rgb
    # the display matrix turns clockwise by 90 degrees: the coded top left corner is shown top right
    np.testing.assert_array_equal(shown[0, -1], coded[0, 0])
    np.testing.assert_array_equal(shown[-1, -1], coded[0, -1])


def test_video_reader__gives_the_written_frames_and_times(tmp_path: Path) -> None:
    seconds = [0.0, 0.04, 0.1, 0.5, 0.52]
    written = noise_frames(5)
    frames, source = read(
        write_clip(tmp_path / "a.mkv", written, codec="ffv1", pixel_format="bgr0", seconds=seconds)
    )
    np.testing.assert_array_equal(np.stack([frame.rgb for frame in frames]), written)
    np.testing.assert_allclose([frame.seconds for frame in frames], seconds)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert source["constant_frame_rate"] is False


@pytest.mark.parametrize(
    ("stamps", "problem"),
    [
        ([0, 0, 0, 0], "are all 0"),
        ([0, 40, 20, 60], "go back behind frame 1"),
        ([0, 40, 40, 80], None),  # a single repeated stamp
        ([7], None),
    ],
)
def test_source__says_that_time_stamps_are_no_times(
    tmp_path: Path, stamps: list[int], problem: str | None
) -> None:
    milliseconds = Fraction(1, 1000)
    with av.open(tmp_path / "a.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        stream.codec_context.time_base = milliseconds
        for number, (rgb, stamp) in enumerate(zip(noise_frames(len(stamps)), stamps, strict=True)):
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="bgr0")
            picture.pts, picture.time_base = 40 * number, milliseconds
            for packet in stream.encode(picture):
                packet.pts, packet.dts, packet.time_base = stamp, number - len(stamps), milliseconds
                container.mux(packet)
    frames, source = read(tmp_path / "a.mkv")
    assert source.get("bad_times") == problem
    assert (np.diff([frame.seconds for frame in frames]) > 0).all()


@pytest.mark.parametrize(("width", "height"), [(63, 47), (64, 47), (63, 48), (1, 1)])
def test_video_reader__keeps_odd_sizes(tmp_path: Path, width: int, height: int) -> None:
    written = noise_frames(2, width, height)
    frames, _ = read(write_clip(tmp_path / "a.mkv", written, codec="ffv1", pixel_format="yuv420p"))
    assert frames[0].rgb.shape == (height, width, 3)
    assert np.abs(frames[0].rgb.mean((0, 1)) - written[0].mean((0, 1))).max() < 40


def raw_file(path: Path, count: int, geometry: RawGeometry) -> list[list[npt.NDArray[np.uint8]]]:
    random = np.random.default_rng(0)
    shapes = [(geometry.height, geometry.width), *[(geometry.height // 2, geometry.width // 2)] * 2]
    pictures = [[random.integers(0, 256, shape).astype(np.uint8) for shape in shapes] for _ in range(count)]
    path.write_bytes(b"".join(plane.tobytes() for planes in pictures for plane in planes))
    return pictures


@pytest.mark.parametrize(("pixel_format", "full_range"), [("yuvj420p", True), ("yuv420p", False)])
def test_raw_geometry__reads_raw_video(tmp_path: Path, pixel_format: str, full_range: bool) -> None:
    geometry = RawGeometry(32, 16, pixel_format, 20.0)
    pictures = raw_file(tmp_path / "a.yuv", 3, geometry)
    frames, source = read(tmp_path / "a.yuv", geometry)
    for frame, planes in zip(frames, pictures, strict=True):
        np.testing.assert_array_equal(frame.rgb, integer_rgb(planes, 2, full_range))
    np.testing.assert_allclose([frame.seconds for frame in frames], [0, 0.05, 0.1])
    assert source["color_range"] == ("full" if full_range else "limited")


def test_raw_geometry__refuses_cut_files_and_its_absence(tmp_path: Path) -> None:
    geometry = RawGeometry(32, 16, "yuv420p", 20.0)
    raw_file(tmp_path / "a.yuv", 3, geometry)
    (tmp_path / "b.yuv").write_bytes((tmp_path / "a.yuv").read_bytes()[:-1])
    with pytest.raises(VideoError, match=r"2303 bytes, no multiple of 768 \(32x16 yuv420p\)"):
        VideoReader(tmp_path / "b.yuv", geometry)
    small = RawGeometry(1920, 1080, "yuv420p", 30.0)
    with (tmp_path / "c.yuv").open("wb") as file:
        file.truncate(3 * 1920 * 1080 * 3 // 2)
    message = r"c.yuv' has 9331200 bytes, .* \(3840x2160 yuv420p\): .*, as 1920x1080 would fit\."
    with pytest.raises(VideoError, match=message):
        VideoReader(tmp_path / "c.yuv", replace(small, width=3840, height=2160))
    with VideoReader(tmp_path / "c.yuv", small) as reader:
        assert [frame.rgb.shape for frame in reader] == [(1080, 1920, 3)] * 3
    with pytest.raises(VideoError, match=r"state its size, pixel format and rate under \[raw\]"):
        VideoReader(tmp_path / "a.yuv")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.97])
@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "webm"])
@pytest.mark.parametrize("at_packet", [False, True])
def test_video_reader__never_takes_a_cut_file_for_whole(
    tmp_path: Path, share: float, suffix: str, at_packet: bool
) -> None:
    codec, options = ("libvpx", {}) if suffix == "webm" else ("libx264", {"g": "5", "bf": "0"})
    container_options = {"movflags": "faststart"} if suffix == "mp4" else {}
    path = tmp_path / f"a.{suffix}"
    whole = write_clip(
        path, noise_frames(60), codec=codec, options=options, container_options=container_options
    ).read_bytes()
    # what a stopped recording leaves: frames without the index at the end
    index = {"avi": b"idx1", "mkv": b"\x1c\x53\xbb\x6b", "webm": b"\x1c\x53\xbb\x6b"}.get(suffix)
    whole = whole[: whole.rindex(index)] if index else whole
    end = int(len(whole) * share)
    if at_packet:
        mark = {"avi": b"00dc", "mp4": b"\x00\x00\x00"}.get(suffix, b"\xa3")
        end = whole.rindex(mark, 0, end)
    (tmp_path / f"cut.{suffix}").write_bytes(whole[:end])
    with pytest.raises(VideoError) as caught:
        read(tmp_path / f"cut.{suffix}")
    assert caught.value.kind in ("breaks-midway", "cannot-open", "no-frames")


def test_video_reader__names_a_reason_of_ffmpeg_in_words(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(b"123" * 100)
    with pytest.raises(VideoError) as caught:
        VideoReader(path)
    reason = "Invalid data found when processing input"
    assert str(caught.value) == f"'{path}' cannot be opened: {reason}."


def test_video_reader__breaks_at_damage_in_the_middle(tmp_path: Path) -> None:
    whole = bytearray(
        write_clip(tmp_path / "a.mkv", noise_frames(60, 160, 96), options={"g": "5", "bf": "0"}).read_bytes()
    )
    read(tmp_path / "a.mkv")
    whole[len(whole) // 2 : len(whole) // 2 + 2000] = bytes(2000)
    (tmp_path / "b.mkv").write_bytes(whole)
    with pytest.raises(VideoError) as caught:
        read(tmp_path / "b.mkv")
    assert caught.value.kind == "breaks-midway"


def test_video_reader__takes_a_name_with_a_colon_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("a.mp4"), noise_frames(2)).rename("clip:1.mp4")
    assert len(read(Path("clip:1.mp4"))[0]) == 2


def test_raw_geometry__names_an_unknown_pixel_format(tmp_path: Path) -> None:
    (tmp_path / "a.yuv").write_bytes(bytes(768))
    with pytest.raises(VideoError, match="pixel_format 'yuv42p' is none that FFmpeg knows"):
        VideoReader(tmp_path / "a.yuv", RawGeometry(32, 16, "yuv42p", 25.0))


def test_video_reader__refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(VideoError, match="is not a file"):
            VideoReader(path)


def test_video_reader__keeps_one_frame_at_a_time(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", noise_frames(120, 160, 96))
    frame_bytes = 160 * 96 * 3
    tracemalloc.start()
    try:
        with VideoReader(path) as reader:
            assert sum(1 for _ in reader) == 120
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 6 * frame_bytes


def test_decoder_identity__names_the_versions() -> None:
    assert av.__version__ in decoder_identity()
    assert "libswscale" in decoder_identity()


def test_video_reader__frame_counts_equal_the_published_ones(shared_data: Path) -> None:
    with (shared_data / "labels" / "KONVID_1K_metadata.csv").open() as file:
        published = {f"{row['flickr_id']}.mp4": row for row in csv.DictReader(file)}
    clips = sorted((shared_data / "konvid-mini").glob("*.mp4"))
    assert len(clips) == 14
    for clip in clips:
        with VideoReader(clip) as reader:
            count = sum(1 for _ in reader)
            source = reader.source()
        expected = published[clip.name]
        assert count == int(expected["nb_frames"])
        assert (source["width"], source["height"]) == (int(expected["width"]), int(expected["height"]))
        assert source["stated_frame_rate_hz"] == pytest.approx(float(expected["framerate"]), rel=1e-3)


def ended(
    path: Path, limits: DecodeLimits | None = None, raw: RawGeometry | None = None
) -> VideoEnd | VideoFailed:
    last = list(decode_here(DecodeJob(path, raw, limits=limits or DecodeLimits())))[-1]
    assert isinstance(last, VideoEnd | VideoFailed)
    return last


def test_decode_limits__refuse_a_too_large_frame_or_video(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", noise_frames(5))
    size = noise_frames(1).shape[1:3]
    pixels = size[0] * size[1]
    result = ended(clip, DecodeLimits(max_pixels=pixels - 1))
    assert isinstance(result, VideoFailed)
    assert (result.kind, f"give --max-pixels {pixels}" in result.message) == ("too-large", True)
    result = ended(clip, DecodeLimits(max_frames=4))
    assert isinstance(result, VideoFailed)
    assert (result.kind, "has more than 4 frames" in result.message) == ("too-long", True)
    assert isinstance(ended(clip, DecodeLimits(pixels, 5)), VideoEnd)


def test_decode_limits__a_header_of_ten_gigapixels_costs_no_memory(tmp_path: Path) -> None:
    (tmp_path / "bomb.y4m").write_bytes(b"YUV4MPEG2 W100000 H100000 F25:1 Ip C420\nFRAME\n" + bytes(1000))
    (tmp_path / "bomb.yuv").write_bytes(bytes(100))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, raw in (("bomb.y4m", None), ("bomb.yuv", RawGeometry(100_000, 100_000, "yuv420p", 25.0))):
        result = ended(tmp_path / name, raw=raw)
        assert isinstance(result, VideoFailed)
        assert result.kind in ("too-large", "cannot-open", "breaks-midway")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


def test_decode_limits__a_header_of_a_milliard_frames_is_not_believed(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.avi", noise_frames(5), codec="mjpeg", pixel_format="yuvj420p")
    content = bytearray(path.read_bytes())
    for marker, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        struct.pack_into("<I", content, content.index(marker) + offset, 10**9)
    path.write_bytes(content)
    result = list(decode_here(DecodeJob(path, count_frames=True)))
    assert len([message for message in result if not isinstance(message, VideoEnd | VideoFailed)]) <= 3


@pytest.mark.parametrize(
    ("given", "words"), [({"max_pixels": 0}, "max_pixels is 0"), ({"max_frames": 0}, "max_frames is 0")]
)
def test_decode_limits__refuse_wrong_values(given: dict[str, int], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        DecodeLimits(**given)
    with pytest.raises(VideoError, match="more than the 10 pixels allowed"):
        DecodeLimits(max_pixels=10).check_size(Path("a.mp4"), 4, 4)


@pytest.mark.parametrize("ending", ["h264", "ts"])
def test_video_reader__refuses_frames_of_another_size(tmp_path: Path, ending: str) -> None:
    small = write_clip(tmp_path / f"small.{ending}", noise_frames(3, 64, 48))
    large = write_clip(tmp_path / f"large.{ending}", noise_frames(3, 96, 64))
    joined = tmp_path / f"joined.{ending}"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    with VideoReader(joined) as frames, pytest.raises(VideoError) as caught:
        list(frames)
    problem = f"'{joined}' changes from 64x48 to 96x64 at frame 3; split it by size."
    assert (caught.value.kind, str(caught.value)) == ("size-changes", problem)


def test_video_reader__refuses_a_movie_that_ends_after_a_whole_packet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(
        tmp_path / "a.mp4", noise_frames(25), options={"bf": "0"}, container_options={"movflags": "faststart"}
    )
    with av.open(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        end = packets[9].pos + packets[9].size
    path.write_bytes(path.read_bytes()[:end])
    monkeypatch.setattr(reader, "cut_reason", lambda path: None)  # which sees it before
    with (
        VideoReader(path) as frames,
        pytest.raises(VideoError, match=r"after 10 of 25 frames: the stream ends"),
    ):
        list(frames)


def test_video_reader__knows_no_source_before_the_frames(tmp_path: Path) -> None:
    with VideoReader(write_clip(tmp_path / "a.mp4", noise_frames(2))) as frames:
        with pytest.raises(VideoError, match=r"read the frames of '.*a.mp4' before its source"):
            frames.source()
        assert len(list(frames)) == 2
        assert frames.source()["codec"] == "h264"
