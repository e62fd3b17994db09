"""The feature store: the only thing that both stages know."""

from vqafeat.store import packed as packed
from vqafeat.store import plain as plain
from vqafeat.store.checking import problems, verify_store
from vqafeat.store.digest import content_digest
from vqafeat.store.feature_store import FeatureStore
from vqafeat.store.keys import store_key, store_path, stores_in
from vqafeat.store.locking import held_together, sweep_after_writers, telling_refusals
from vqafeat.store.packing import pack_store, unpack_store

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
