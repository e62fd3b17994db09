"""Heads, orders, samplings and losses on konvid58: ten 60/20/20 splits, the default recipe; seconds, SROCC,
and p against the first line.

python tests/bench/bench_fit.py [heads|orders|samplings|losses …]
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import print_row, start_table

from vqafeat.extraction.importers import import_vsfa, vsfa_dataset
from vqafeat.splits import make_split
from vqafeat.statistics import compare
from vqafeat.store import FeatureStore
from vqafeat.training.config import FitConfig
from vqafeat.training.fit import fit

FEATURES = Path(__file__).parents[3] / "shared" / "data" / "konvid58"
SPLITS = 10
JOBS = 2
GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "heads": {
        name: {"head": name} for name in ("sub-gru", "no-time", "avg-gru", "sub-lstm", "transformer", "svr")
    },
    "orders": {name: {"order": name} for name in ("OO", "OS", "SO", "SS")},
    "samplings": {name: {"sampling": name} for name in ("all", "sample-4", "sample-8", "sample-16")},
    "losses": {
        "l1": {},
        "plcc": {"overrides": {"loss": "plcc"}},
        "srcc, strength 0.01": {"overrides": {"loss": "srcc", "soft_rank_strength": 0.01}},
        "plcc+srcc, strength 0.01": {"overrides": {"loss": "plcc+srcc", "soft_rank_strength": 0.01}},
        "rank": {"overrides": {"loss": "rank"}},
        "rank-mdtvsfa": {"overrides": {"loss": "rank-mdtvsfa"}},
        "l1+rank": {"overrides": {"loss": "l1+rank"}},
    },
}


def main() -> None:
    """Print one line a choice."""
    if not FEATURES.is_dir():
        sys.exit(f"features are absent: {FEATURES}")
    with tempfile.TemporaryDirectory() as folder:
        dataset = vsfa_dataset(FEATURES, "konvid58")
        store = FeatureStore.create(Path(folder) / "konvid58.zarr", dataset)
        import_vsfa(FEATURES, dataset, store)
        splits = [make_split(store.dataset, "content", run) for run in range(SPLITS)]
        for group in sys.argv[1:] or GROUPS:
            start_table(group, "test SROCC, mean ± deviation (median)", "seconds")
            series = {}
            for name, choice in GROUPS[group].items():
                start = time.perf_counter()
                config = FitConfig(**{"features": "resnet50", **choice})
                run = fit(store, config, Path(folder) / group / name, splits=splits, jobs=JOBS)
                srocc = run.metrics.srocc
                series[name] = srocc.values
                seconds = time.perf_counter() - start
                words = f"{srocc.mean:.3f} ± {srocc.std:.3f} ({srocc.median:.3f})"
                print_row(name, words, f"{seconds:.0f}")
            for comparison in compare(series, baseline=next(iter(series))):
                print(comparison, flush=True)


if __name__ == "__main__":
    main()
