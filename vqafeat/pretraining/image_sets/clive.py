"""LIVE In the Wild Image Quality Challenge (Ghadiyaram and Bovik 2016): three MATLAB files below `Data/`, pictures below `Images/`."""

from pathlib import Path

from vqafeat.datasets.matlab import mat5_variables
from vqafeat.errors import DatasetError
from vqafeat.pretraining.image_sets.base import IMAGE_SETS, ImageSet, ImageSetReader, first_there, labelled

TRAINING_IMAGES = 7  # t1.bmp … t7.bmp, which subjects were shown to learn the task
CLIVE_STD_SOURCE = "AllStdDev_release.mat"


def read_clive(root: Path) -> ImageSet:
    """Return LIVE Challenge without the seven training images that its lists begin with.

    Source: `data_clive.m` in the released code of UNIQUE, which takes rows 8 to 1169.

    Raises:
        DatasetError: a file is missing or of another layout.
    """
    folder = first_there(root, ("Data", "."), "label files of LIVE Challenge")
    files = ("AllImages_release", "AllMOS_release", "AllStdDev_release")
    names, mos, std = (mat5_variables(folder / f"{name}.mat", name)[0] for name in files)
    if not len(names) == len(mos) == len(std) > TRAINING_IMAGES:
        raise DatasetError(
            f"'{folder}': {len(names)} names, {len(mos)} MOS and {len(std)} deviations; the three files have to have as many, "
            f"and more than the {TRAINING_IMAGES} training images. Fetch them again."
        )
    kept = slice(TRAINING_IMAGES, None)
    listed = [str(name) for name in names[kept]]
    scores, deviations = ([float(value) for value in column[kept]] for column in (mos, std))
    images = labelled(first_there(root, ("Images", "."), "images of LIVE Challenge"), listed, scores, deviations)
    return ImageSet("clive", images, folder / "AllMOS_release.mat", CLIVE_STD_SOURCE)


IMAGE_SETS.add("clive", ImageSetReader(read_clive, "LIVE Challenge: Data/All*_release.mat, Images/", pairs=40_000))
