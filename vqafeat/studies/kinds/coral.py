"""coral: the distance between images and the videos of data sets (Li et al., fig. 3)."""

from dataclasses import dataclass

from vqafeat.backbones.feature_set import backbone_names, build_extractors
from vqafeat.errors import ArgumentError
from vqafeat.pretraining.coral import DomainFeatures, combined, domain_distance, image_features, image_paths, mean_features
from vqafeat.studies.bench import Bench
from vqafeat.studies.kinds.base import KINDS, Measured, StudyKind, Task
from vqafeat.studies.study import Cell
from vqafeat.system import device_named


@dataclass(frozen=True)
class ImageDomain:
    """The images, of one set or of several taken together.

    Raises:
        ArgumentError: no set is named.
    """

    images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.images:
            raise ArgumentError("images is empty; name the sets, as coral = { images = ['koniq', 'spaq'] }.")


def images_lacked(cell: Cell, bench: Bench) -> tuple[str, ...]:
    """Say which images are not at hand."""
    if bench.shelf.stands_in:
        return ()
    return tuple(f"no images of {name}; name them with --images {name}=FOLDER" for name in cell.options.images if name not in bench.images)


def measure_coral(task: Task) -> Measured:
    """Return the CORAL distance of the images to the videos of all data sets, a video as the mean of its frames."""
    bench = task.bench
    asked = bench.shelf.adapted(task.request)
    if bench.shelf.stands_in:
        images, videos = (mean_features(source, asked.features) for source in bench.shelf.sources(("images", "videos")))
    else:
        images = combined([_of_images(name, asked.features, bench) for name in task.cell.options.images])
        videos = combined([mean_features(source, asked.features) for source in bench.members(asked)])
    sizes = f"{images.name} to {videos.name}: {len(images.values)} and {len(videos.values)} samples of {videos.values.shape[1]} channels"
    return Measured.single(domain_distance(images, videos), notes=(sizes,))


def _of_images(name: str, feature_set: str, bench: Bench) -> DomainFeatures:
    own = {network: file for network, file in bench.weights.items() if network in backbone_names([feature_set])}
    (extractor,) = build_extractors([feature_set], own)
    _, paths = image_paths(f"{name}={bench.images[name]}")
    return image_features(name, paths, extractor, device_named(bench.device))


KINDS.add(
    "coral",
    StudyKind("CORAL distance of images to videos", measure_coral, ImageDomain, measures=("distance",), lacks=images_lacked),
)
