"""The feature store: the only thing that both stages know."""

from vqafeat.store import packed as packed
from vqafeat.store import plain as plain
from vqafeat.store.content import content_digest, problems, verify_store
from vqafeat.store.lock import held_together, sweep_after_writers, telling_refusals
from vqafeat.store.pack import pack_store, unpack_store
from vqafeat.store.store import FeatureStore
from vqafeat.store.zarr_io import store_key, store_path, stores_in

__all__ = [
    "FeatureStore",
    "content_digest",
    "held_together",
    "pack_store",
    "problems",
    "store_key",
    "store_path",
    "stores_in",
    "sweep_after_writers",
    "telling_refusals",
    "unpack_store",
    "verify_store",
]
