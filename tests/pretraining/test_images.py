"""Image files as 8-bit RGB, sizes and crops against torchvision, and recipes of the pre-training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional

from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.pretraining.config import PRETRAINING_RECIPES
from vqafeat.pretraining.images import (
    CONVERSIONS,
    check_images,
    random_crop,
    read_image,
    resized,
    training_size,
    validation_size,
)

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def test_read_image__leaves_rgb_as_it_is(tmp_path: Path) -> None:
    actual = read_image(saved(tmp_path / "a.png", Image.fromarray(RGB)))
    np.testing.assert_array_equal(np.asarray(actual), RGB)


def test_read_image__makes_rgb_of_grey_palette_cmyk_and_opaque_alpha(tmp_path: Path) -> None:
    grey = saved(tmp_path / "grey.png", Image.fromarray(RGB[..., 0]))
    np.testing.assert_array_equal(np.asarray(read_image(grey)), np.repeat(RGB[..., :1], 3, axis=2))
    palette = Image.fromarray(RGB // 64 * 64).convert("P", palette=Image.Palette.ADAPTIVE)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(np.asarray(read_image(saved(tmp_path / "palette.png", palette))), expected)
    # an entry of the palette is transparent, but no pixel has it
    unused = Image.fromarray(np.zeros((4, 4), dtype=np.uint8), mode=None).convert("P")
    unused.info["transparency"] = 200
    assert read_image(saved(tmp_path / "unused.png", unused, transparency=200)).mode == "RGB"
    cmyk = Image.fromarray(np.full((8, 8, 3), (200, 40, 60), dtype=np.uint8)).convert("CMYK")
    actual = np.asarray(read_image(saved(tmp_path / "cmyk.jpg", cmyk, quality=95))).astype(int)
    assert np.abs(actual - (200, 40, 60)).max() < 12
    opaque = Image.fromarray(RGB).convert("RGBA")
    np.testing.assert_array_equal(np.asarray(read_image(saved(tmp_path / "opaque.png", opaque))), RGB)


def test_read_image__makes_eight_bits_of_sixteen(tmp_path: Path) -> None:
    values = np.array([[0, 1, 128, 129, 32768, 65407, 65535]], dtype=np.uint16)
    actual = np.asarray(read_image(saved(tmp_path / "deep.png", Image.fromarray(values))))
    np.testing.assert_array_equal(actual[0, :, 0], np.rint(values[0] / 257))
    tiff = saved(tmp_path / "deep.tif", Image.fromarray(values.astype(np.int32)))
    np.testing.assert_array_equal(np.asarray(read_image(tiff)), actual)


def test_read_image__turns_by_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown by turning clockwise by 90 degrees
    path = saved(tmp_path / "turned.png", Image.fromarray(RGB), exif=exif)
    np.testing.assert_array_equal(np.asarray(read_image(path)), np.rot90(RGB, -1))


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
        "text.jpg": "text.jpg' is not an image that Pillow can read",
        "empty.png": "empty.png' is not an image that Pillow can read",
        "cut.jpg": r"cut.jpg' is a damaged image or cannot be read \(image file is truncated",
        "clear.png": "clear.png' is transparent in parts, and no background is known; save it without an "
        "alpha channel",
        "float.tif": "float.tif' has the pixel mode 'F', not one of RGB, ",
        "range.tif": r"range.tif' is a damaged image or cannot be read \(its values from -5 to .* 16 bits",
        "none.png": "none.png' does not exist",
    }


def test_read_image__names_what_cannot_be_used(tmp_path: Path) -> None:
    for name, message in write_bad(tmp_path).items():
        with pytest.raises(DatasetError, match=message):
            read_image(tmp_path / name)


def test_check_images__finds_all_bad_images_before_work_starts(tmp_path: Path) -> None:
    bad = write_bad(tmp_path)
    good = [saved(tmp_path / f"{number}.jpg", Image.fromarray(RGB)) for number in range(5)]
    counts: list[int] = []
    check_images(good, 2, counts.append)
    assert counts == [1, 2, 3, 4, 5]
    paths = [*good, *(tmp_path / name for name in bad)]
    with pytest.raises(
        DatasetError,
        match=r"7 of 12 images cannot be used: .*text.jpg' is not an image .*and 2 more\. Repair these files",
    ):
        check_images(paths, 2)


def test_conversions__convert_every_mode_that_is_taken() -> None:
    makeable = [
        mode for mode in CONVERSIONS if mode not in ("I;16L", "I;16N", "I;16B", "PA", "La", "RGBa", "RGBX")
    ]
    for mode in makeable:
        assert CONVERSIONS[mode](Image.new(mode, (3, 2))).mode == "RGB"


PIXELS = np.random.default_rng(0).integers(0, 256, (60, 91, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "training", "validation"),
    [
        ((1024, 768), (682, 512), (1024, 768)),
        ((3000, 4000), (512, 682), (768, 1024)),
        ((500, 500), (500, 500), (500, 500)),  # LIVE Challenge: smaller images stay as they are
        ((400, 2000), (400, 2000), (400, 2000)),
        ((200, 300), (384, 576), (200, 300)),  # no crop fits into it: enlarged
    ],
)
def test_preparations__enlarge_images_only_for_a_crop(
    size: tuple[int, int], training: object, validation: object
) -> None:
    recipe = PRETRAINING_RECIPES.get("li-released")
    assert (training_size(size, recipe), validation_size(size, recipe)) == (training, validation)
    square = recipe.overridden({"preparation": "square", "crop_side": 600})
    assert training_size(size, square) == validation_size(size, square) == (600, 600)
    with pytest.raises(
        ArgumentError, match=r"preparation 'square' takes no short_side; it resizes images to crop_side"
    ):
        square.overridden({"short_side": 640})


def test_resized__equals_torchvision() -> None:
    image = Image.fromarray(PIXELS)
    recipe = PRETRAINING_RECIPES.get("li-released").overridden({"short_side": 40, "crop_side": 32})
    size = training_size(image.size, recipe)
    expected = functional.resize(image, 40)
    np.testing.assert_array_equal(np.asarray(resized(image, size)), np.asarray(expected))


def test_cut__crops_are_parts_of_the_image_and_half_are_mirrored() -> None:
    image = Image.fromarray(PIXELS)
    everywhere = torch.from_numpy(PIXELS).unfold(0, 16, 1).unfold(1, 16, 1).permute(0, 1, 3, 4, 2)
    mirrored = 0
    places = set()
    for seed in range(60):
        part = random_crop(image, 16, True, np.random.default_rng(seed))
        plain, turned = (
            (everywhere == other).flatten(2).all(2).nonzero().tolist() for other in (part, part.flip(1))
        )
        assert len(plain) + len(turned) == 1
        mirrored += len(turned)
        places.add(tuple((plain or turned)[0]))
        assert torch.equal(part, random_crop(image, 16, True, np.random.default_rng(seed)))
    assert 15 < mirrored < 45
    assert len(places) > 50
    assert all(
        (everywhere == random_crop(image, 16, False, np.random.default_rng(seed))).flatten(2).all(2).any()
        for seed in range(20)
    )


def test_pretraining_recipes__equal_those_of_the_papers() -> None:
    released, paper = PRETRAINING_RECIPES.get("li-released"), PRETRAINING_RECIPES.get("li-paper")
    assert [released.pairs_a_step(epoch) for epoch in (1, 3, 4, 12)] == [128, 128, 32, 32]
    assert [released.head_alone(epoch) for epoch in (1, 3, 4)] == [True, True, False]
    rates = [released.rate(epoch) for epoch in (1, 3, 4, 7, 12)]
    np.testing.assert_allclose(rates, [1e-4, 1e-4, 1e-5, 1e-6, 1e-7], rtol=1e-12)
    assert (released.epochs, released.weight_decay, released.margin, released.detach_variance) == (
        12,
        5e-4,
        0.025,
        True,
    )
    assert (released.short_side, released.crop_side, released.flip) == (512, 384, True)
    assert (paper.epochs, paper.head_epochs, paper.preparation, paper.crop_side) == (12, 0, "square", 384)
    assert not paper.detach_variance


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0}, "learning_rate: 0 must be greater than 0"),
        ({"decay": 2}, "decay: 2 must be less than or equal to 1"),
        ({"weight_decay": float("inf")}, "weight_decay: inf must be a finite number"),
        ({"epochs": 0}, "epochs: 0 must be greater than or equal to 1"),
        ({"epochs": 2}, "head_epochs is 3; it has to be at most epochs, which is 2"),
        ({"crop_side": 600}, "crop_side is 600; it has to be at most short_side, which is 512"),
        ({"epoch": 3}, "recipe 'li-released': unknown key 'epoch': did you mean epochs or"),
    ],
)
def test_overridden__refuses_wrong_values(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        PRETRAINING_RECIPES.get("li-released").overridden(changes)
