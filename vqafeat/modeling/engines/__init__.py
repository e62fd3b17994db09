"""What drives the splits of a fit: this machine, or a cluster."""

from vqafeat.modeling.engines import local, on_ray
from vqafeat.modeling.engines.base import ENGINES, Fit, FitEngine

__all__ = ["ENGINES", "Fit", "FitEngine", "local", "on_ray"]
