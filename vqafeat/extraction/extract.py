"""Extract the features of a data set: in this process, in one process a device, or on the machines of a Ray
cluster.
"""

from vqafeat.extraction.loop import Extraction, ExtractionSummary, Progress, extract_dataset
from vqafeat.extraction.multi_device import extract_on_devices


def run_extraction(work: Extraction, progress: Progress) -> ExtractionSummary:
    """Extract what the store lacks; raises as `extract_dataset`, `extract_on_devices` and `extract_on_ray`
    do.
    """
    if work.cluster is not None:
        from vqafeat.extraction.ray_backend import extract_on_ray

        return extract_on_ray(work, work.cluster, progress)
    common = (work.dataset, work.store, work.extractors)
    if len(work.devices) > 1:
        return extract_on_devices(*common, work.request, work.devices, work.missing, work.resources, progress)
    return extract_dataset(*common, work.missing, work.resources, progress)
