"""The feature store: the only thing that both stages know."""

from vqafeat.store.checking import verify_store
from vqafeat.store.feature_store import FeatureStore
from vqafeat.store.keys import store_key, store_path
from vqafeat.store.locking import held_together, telling_refusals

__all__ = ["FeatureStore", "held_together", "store_key", "store_path", "telling_refusals", "verify_store"]
