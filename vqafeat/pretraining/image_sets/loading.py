"""How an image set is named on the command line."""

from pathlib import Path

from vqafeat.errors import ArgumentError, DatasetError
from vqafeat.pretraining.image_sets.base import IMAGE_SETS, ImageSet
from vqafeat.pretraining.image_sets.own import read_own


def load_image_set(argument: str) -> ImageSet:
    """Read the image set that `NAME=FOLDER` names, or `NAME=FILE.csv` for images of one's own.

    Raises:
        ArgumentError: the argument has no such form.
        UnknownNameError: a folder is given under a name that is no known set's.
        DatasetError: the folder or its label file is not what it should be.
    """
    name, separator, place = argument.partition("=")
    if not separator or not name or not place:
        raise ArgumentError(
            f"--images {argument} has to be NAME=FOLDER with a known set ({', '.join(IMAGE_SETS.names())}), or NAME=FILE.csv with the "
            "columns image,mos,std."
        )
    path = Path(place)
    if path.suffix.lower() == ".csv":
        return read_own(path, name)
    reader = IMAGE_SETS.get(name)
    if not path.is_dir():
        raise DatasetError(f"--images {argument}: '{path}' is no folder; give the folder of '{name}' as it ships.")
    return reader.read(path)
