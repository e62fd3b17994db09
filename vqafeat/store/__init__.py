"""The feature store: the only thing that both stages know."""

from vqafeat.store.checking import verify_store
from vqafeat.store.feature_store import FeatureStore
from vqafeat.store.keys import store_key, store_path

__all__ = ["FeatureStore", "store_key", "store_path", "verify_store"]
