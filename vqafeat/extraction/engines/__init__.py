"""What drives an extraction: this machine, or a cluster."""

from vqafeat.extraction.engines import local, on_ray
from vqafeat.extraction.engines.base import ENGINES, Engine, Extraction

__all__ = ["ENGINES", "Engine", "Extraction", "local", "on_ray"]
