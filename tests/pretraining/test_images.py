"""Image files of every kind as 8-bit RGB, and those that are refused by name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqafeat.errors import DatasetError
from vqafeat.pretraining.images import CONVERSIONS, check_pictures, read_picture

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def test_rgb_is_left_as_it_is(tmp_path: Path) -> None:
    found = read_picture(saved(tmp_path / "a.png", Image.fromarray(RGB)))
    np.testing.assert_array_equal(np.asarray(found), RGB)


def test_grey_palette_cmyk_and_opaque_alpha_become_rgb(tmp_path: Path) -> None:
    grey = saved(tmp_path / "grey.png", Image.fromarray(RGB[..., 0]))
    np.testing.assert_array_equal(np.asarray(read_picture(grey)), np.repeat(RGB[..., :1], 3, axis=2))
    palette = Image.fromarray(RGB // 64 * 64).convert("P", palette=Image.Palette.ADAPTIVE)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(
        np.asarray(read_picture(saved(tmp_path / "palette.png", palette))), expected
    )
    # an entry of the palette is transparent, but no pixel has it
    unused = Image.fromarray(np.zeros((4, 4), dtype=np.uint8), mode=None).convert("P")
    unused.info["transparency"] = 200
    assert read_picture(saved(tmp_path / "unused.png", unused, transparency=200)).mode == "RGB"
    cmyk = Image.fromarray(np.full((8, 8, 3), (200, 40, 60), dtype=np.uint8)).convert("CMYK")
    found = np.asarray(read_picture(saved(tmp_path / "cmyk.jpg", cmyk, quality=95))).astype(int)
    assert np.abs(found - (200, 40, 60)).max() < 12
    opaque = Image.fromarray(RGB).convert("RGBA")
    np.testing.assert_array_equal(np.asarray(read_picture(saved(tmp_path / "opaque.png", opaque))), RGB)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    values = np.array([[0, 1, 128, 129, 32768, 65407, 65535]], dtype=np.uint16)
    found = np.asarray(read_picture(saved(tmp_path / "deep.png", Image.fromarray(values))))
    np.testing.assert_array_equal(found[0, :, 0], np.rint(values[0] / 257))
    tiff = saved(tmp_path / "deep.tif", Image.fromarray(values.astype(np.int32)))
    np.testing.assert_array_equal(np.asarray(read_picture(tiff)), found)


def test_exif_turns_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown by turning clockwise by 90 degrees
    path = saved(tmp_path / "turned.png", Image.fromarray(RGB), exif=exif)
    np.testing.assert_array_equal(np.asarray(read_picture(path)), np.rot90(RGB, -1))


def write_bad(folder: Path) -> dict[str, str]:
    """Write images that cannot be used; returns the message of each."""
    (folder / "text.jpg").write_text("hello")
    (folder / "empty.png").write_bytes(b"")
    whole = saved(folder / "whole.jpg", Image.fromarray(np.tile(RGB, (8, 8, 1)))).read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    saved(folder / "clear.png", Image.fromarray(np.dstack([RGB, RGB[..., 0]])))
    saved(folder / "float.tif", Image.fromarray(RGB[..., 0].astype(np.float32)))
    saved(folder / "range.tif", Image.fromarray(RGB[..., 0].astype(np.int32) - 5))
    return {
        "text.jpg": "text.jpg' is no image that Pillow reads",
        "empty.png": "empty.png' is no image that Pillow reads",
        "cut.jpg": r"cut.jpg' is a damaged image or cannot be read \(image file is truncated",
        "clear.png": "clear.png' is transparent in parts, and no background is known; save it without an "
        "alpha channel",
        "float.tif": "float.tif' holds pixels of the kind 'F', not one of RGB, ",
        "range.tif": r"range.tif' is a damaged image or cannot be read \(its numbers run from -5 to",
        "none.png": "none.png' does not exist",
    }


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    for name, message in write_bad(tmp_path).items():
        with pytest.raises(DatasetError, match=message):
            read_picture(tmp_path / name)


def test_all_bad_images_are_found_before_work_starts(tmp_path: Path) -> None:
    bad = write_bad(tmp_path)
    good = [saved(tmp_path / f"{number}.jpg", Image.fromarray(RGB)) for number in range(5)]
    told: list[int] = []
    check_pictures(good, 2, told.append)
    assert told == [1, 2, 3, 4, 5]
    paths = [*good, *(tmp_path / name for name in bad)]
    with pytest.raises(
        DatasetError,
        match=r"7 of 12 images cannot be used: .*text.jpg' is no image .*and 2 more\. Mend these files",
    ):
        check_pictures(paths, 2)


def test_every_mode_that_is_taken_can_be_converted() -> None:
    makeable = [
        mode for mode in CONVERSIONS if mode not in ("I;16L", "I;16N", "I;16B", "PA", "La", "RGBa", "RGBX")
    ]
    for mode in makeable:
        assert CONVERSIONS.get(mode)(Image.new(mode, (3, 2))).mode == "RGB"
