"""The engine of one machine: this process, or one process a device where there are several."""

from vqafeat.extraction.engines.base import ENGINES, Engine, Extraction
from vqafeat.extraction.runner import ExtractionSummary, Progress, extract_dataset
from vqafeat.extraction.spreading import extract_on_devices


def extract_here(given: Extraction, progress: Progress) -> ExtractionSummary:
    """Extract on this machine; raises as `extract_dataset` and `extract_on_devices` do."""
    common = (given.dataset, given.store, given.extractors)
    if len(given.devices) > 1:
        return extract_on_devices(*common, given.request, given.devices, given.missing, given.resources, progress)
    return extract_dataset(*common, given.missing, given.resources, progress)


ENGINES.add("local", Engine(extract_here, beyond_one_machine=False))
