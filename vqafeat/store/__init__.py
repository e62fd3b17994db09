"""The feature store: the only thing that both stages know."""

from vqafeat.store.content import content_digest, problems, verify_store
from vqafeat.store.lock import remove_partial_files_after_workers, translate_write_errors, worker_lock
from vqafeat.store.pack import pack_store, unpack_store
from vqafeat.store.store import FeatureStore, open_store
from vqafeat.store.zarr_io import store_key, store_path, stores_in

__all__ = [
    "FeatureStore",
    "content_digest",
    "open_store",
    "pack_store",
    "problems",
    "remove_partial_files_after_workers",
    "store_key",
    "store_path",
    "stores_in",
    "translate_write_errors",
    "unpack_store",
    "verify_store",
    "worker_lock",
]
