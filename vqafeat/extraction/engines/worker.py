"""A worker of a cluster: networks that stay loaded, and the extraction of one machine for each share of videos."""

import os
from contextlib import ExitStack
from pathlib import Path

from vqafeat.backbones.feature_set import ExtractorRequest
from vqafeat.cluster import enter
from vqafeat.datasets import Dataset
from vqafeat.extraction.ledger import Failure
from vqafeat.extraction.pipeline import Pipeline, Resources
from vqafeat.extraction.runner import ExtractionSummary, Run, Silent
from vqafeat.remote import Place
from vqafeat.store import FeatureStore, held_together


class _Noted:
    """The failures of a share, which the driver writes to the ledger."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    def add(self, failure: Failure) -> None:
        self.failures.append(failure)


class ExtractionWorker:
    """One process of a cluster that extracts shares of videos, one after another.

    Args:
        folder: that the driver works in; relative paths count from it.
        store: where all machines see it.
        request: what extractors are built from.
        resources: of this process.
    """

    def __init__(self, folder: Path, store: Place, request: ExtractorRequest, resources: Resources) -> None:
        self._folder, self._path, self._request, self._resources = folder, store, request, resources
        self._pipeline: Pipeline | None = None
        self._held = ExitStack()

    def prepare(self) -> int:
        """Load the networks, unless they are, and return the number of this process.

        Raises:
            ClusterError: this machine does not see the driver's folder.
            StoreError: this machine does not see the store.
            IdentityError: this machine's networks or decoder are not those of the store.
            WeightsError: it does not have the weights.
        """
        if self._pipeline is None:
            enter(self._folder)
            self._store = FeatureStore.open(self._path, writable=True)
            self._extractors = self._request.build()
            for extractor in self._extractors:
                self._store.add_feature_set(extractor.feature_set, extractor.identity)
            self._held.enter_context(held_together(self._path))  # until this process ends
            self._pipeline = Pipeline(self._extractors, self._resources, folder=self._path)
        return os.getpid()

    def extract(self, share: Dataset) -> ExtractionSummary:
        """Extract the videos of a share, as a run on one machine does; raises as `prepare`, and StoreError where a write fails."""
        self.prepare()
        assert self._pipeline is not None
        return Run(share, self._store, self._extractors, _Noted(), Silent()).follow(self._pipeline)
