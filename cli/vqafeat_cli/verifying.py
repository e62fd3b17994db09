"""What `verify` does beyond reading: mending, and comparing with the videos."""

import click
import numpy as np

from vqafeat.backbones.feature_set import backbone_names
from vqafeat.backbones.weights import parse_weights
from vqafeat.extraction.pipeline import Resources
from vqafeat.extraction.verify import compared, damaged_videos, repair, stored_extractors
from vqafeat.remote import Place
from vqafeat.store import FeatureStore, verify_store
from vqafeat_cli.progress import shown_progress


def repair_store(path: Place, root: Place, weights: tuple[str, ...], given: Resources) -> list[str]:
    """Extract the damaged videos of a store again; return what is still wrong."""
    store = FeatureStore.open(path, writable=True)
    names = damaged_videos(store)
    if names:
        extractors = stored_extractors(store, parse_weights(weights, backbone_names(store.feature_sets())))
        with shown_progress(len(names)) as progress:
            summary = repair(store, names, root, extractors, given, progress)
        for failure in summary.failures:
            click.echo(f"  {failure.kind}: {failure.message}", err=True)
        click.echo(f"{path}: {summary.extracted} of {len(names)} damaged videos extracted again.", err=True)
    left = list(verify_store(FeatureStore.open(path)))
    for problem in left:
        click.echo(f"still wrong: {problem}")
    return left


def compare_sample(
    store: FeatureStore, root: Place, sample: int, seed: int, tolerance: float, weights: tuple[str, ...], given: Resources
) -> int:
    """Extract a random sample of a store's complete videos again and compare; return how many entries differ."""
    extractors = stored_extractors(store, parse_weights(weights, backbone_names(store.feature_sets())))
    whole = [video.name for video in store.dataset.videos if _stored(store, video.name)]
    drawn = np.random.default_rng(seed).choice(len(whole), size=min(sample, len(whole)), replace=False)
    names = [whole[row] for row in sorted(drawn.tolist())]
    with shown_progress(len(names)) as progress:
        found = compared(store, names, root, extractors, tolerance, given, progress)
    for one in found:
        click.echo(str(one))
    differing = sum(not one.passed for one in found)
    click.echo(f"{store.path}: {len(found)} entries of {len(names)} videos compared with '{root}', {differing} differ.", err=True)
    return differing


def _stored(store: FeatureStore, video: str) -> bool:
    return any(store.is_complete(name, video) for name in store.feature_sets())
