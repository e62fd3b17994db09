"""What every engine is given, and the table of engines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from vqafeat.backbones.feature_set import Extractor, ExtractorRequest
from vqafeat.cluster import ClusterOptions
from vqafeat.datasets import Dataset
from vqafeat.errors import ArgumentError
from vqafeat.extraction.pipeline import CPU, Resources
from vqafeat.extraction.runner import ExtractionSummary, Progress
from vqafeat.registry import Registry
from vqafeat.store import FeatureStore


@dataclass(frozen=True)
class Extraction:
    """One extraction, as it is handed to an engine.

    Attributes:
        dataset: its videos, located.
        store: opened for writing.
        extractors: the feature sets.
        request: what the extractors were built from; other processes build their own.
        missing: names of videos whose file was not found, for the ledger.
        resources: of each process that runs networks.
        devices: of this machine that share the videos.
        cluster: what is asked of a cluster.

    Raises:
        ArgumentError: the request is for other feature sets than the extractors, or there is no device.
    """

    dataset: Dataset
    store: FeatureStore
    extractors: Sequence[Extractor]
    request: ExtractorRequest
    missing: Sequence[str] = ()
    resources: Resources = field(default_factory=Resources)
    devices: Sequence[torch.device] = (CPU,)
    cluster: ClusterOptions = field(default_factory=ClusterOptions)

    def __post_init__(self) -> None:
        built = {extractor.feature_set for extractor in self.extractors}
        if len(built) > len(set(self.request.feature_sets)):
            raise ArgumentError(
                f"the request names {', '.join(self.request.feature_sets)}, but extractors were built for {', '.join(built)}."
            )
        if not self.devices:
            raise ArgumentError("devices is empty; name at least one, such as --device cpu.")


@dataclass(frozen=True)
class Engine:
    """What drives an extraction.

    Attributes:
        run: does it, telling the progress; raises as `extract_dataset` does.
        beyond_one_machine: whether it reads `Extraction.cluster`, in place of devices.
    """

    run: Callable[[Extraction, Progress], ExtractionSummary]
    beyond_one_machine: bool


ENGINES: Registry[Engine] = Registry("engine")
