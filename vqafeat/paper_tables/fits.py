"""The fits of a table: finished ones are reused, others are trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vqafeat.errors import VqafeatError
from vqafeat.paper_tables.sources import FeatureStores
from vqafeat.paper_tables.table import TableFit
from vqafeat.store.features import FeatureReader
from vqafeat.training.fit import fit
from vqafeat.training.joint_store import JointStore
from vqafeat.training.loop import Progress
from vqafeat.training.run import Run


@dataclass(frozen=True)
class FitCache:
    """Trains the fits of cells, and reuses finished ones with the same configuration.

    Attributes:
        runs: folder of the run folders.
        images: image set → its folder or label file.
        weights: network that processes images → weights file.
        fast_copy: (store, feature sets joined by +) → a faster reader of the same features.
        progress: called with a split's number and each epoch's record.
    """

    stores: FeatureStores
    runs: Path
    jobs: int = 1
    device: str = "cpu"
    skip_missing: bool = False
    images: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    fast_copy: Callable[[FeatureReader, str], FeatureReader] = lambda source, features: source
    progress: Progress | None = None
    _done: dict[str, "Run | VqafeatError"] = field(default_factory=dict, repr=False, compare=False)

    def fit(self, request: TableFit, others: Sequence[str] = ()) -> Run:
        """Return the run of a fit; an error is raised again for each cell of the same fit.

        Args:
            others: data sets that the cell uses in addition; the demo data set is divided among all.
        """
        key = repr((request, len(others) if self.stores.stands_in else 0))
        if key not in self._done:
            try:
                self._done[key] = self._fit(request, others)
            except VqafeatError as error:
                self._done[key] = error
        run = self._done[key]
        if isinstance(run, VqafeatError):
            raise run
        return run

    def _fit(self, request: TableFit, others: Sequence[str]) -> Run:
        config = self.stores.adapt(request).config
        store = joined(self.sources(request, others)[: len(request.datasets)])
        out, jobs = self.runs / config.folder_name(store.dataset.name), min(self.jobs, config.splits)
        config = replace(config, skip_missing=self.skip_missing or config.skip_missing)
        return fit(store, config, out, jobs=jobs, device=self.device, reuse=True, progress=self.progress)

    def sources(self, request: TableFit, others: Sequence[str] = ()) -> list[FeatureReader]:
        """Return the stores of a fit's data sets, then those of `others`."""
        features, datasets = self.stores.adapt(request).features, (*request.datasets, *others)
        return [self.fast_copy(source, features) for source in self.stores.sources(datasets)]


def joined(sources: Sequence[FeatureReader]) -> FeatureReader:
    """Return several stores as one."""
    return sources[0] if len(sources) == 1 else JointStore(sources)
