"""Heads on konvid58 through the command line's own path: ten 60/20/20 splits, the default recipe; seconds and SROCC."""

import sys
import tempfile
import time
from pathlib import Path

from vqafeat.extraction.imports import import_vsfa, vsfa_dataset
from vqafeat.modeling.fitting import fit
from vqafeat.splits import SplitRequest, make_split
from vqafeat.store import FeatureStore

FEATURES = Path(__file__).parents[3] / "shared" / "data" / "konvid58"
SPLITS = 10
JOBS = 2


def main() -> None:
    """Print one line a head."""
    if not FEATURES.is_dir():
        sys.exit(f"features are absent: {FEATURES}")
    with tempfile.TemporaryDirectory() as folder:
        dataset = vsfa_dataset(FEATURES, "konvid58")
        store = FeatureStore.create(Path(folder) / "konvid58.zarr", dataset)
        import_vsfa(FEATURES, dataset, store)
        splits = [make_split(store.dataset, "content", SplitRequest(run)) for run in range(SPLITS)]
        print(f"head      seconds  test SROCC mean ± std (median)   ({SPLITS} splits, {JOBS} jobs)")
        for head in ("no-time", "avg-gru", "sub-lstm", "sub-gru"):
            start = time.perf_counter()
            run = fit(store, "resnet50", head, splits, Path(folder) / head, jobs=JOBS)
            srocc = run.summary.srocc
            print(f"{head:9} {time.perf_counter() - start:7.1f}  {srocc.mean:.3f} ± {srocc.std:.3f} ({srocc.median:.3f})", flush=True)


if __name__ == "__main__":
    main()
