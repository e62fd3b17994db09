"""Per-frame deep features of videos, extracted once, and video quality models trained on them in minutes.

All public names are here. Each is imported when it is first used, because importing PyTorch takes seconds.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from vqafeat.registry import load_plugin

if TYPE_CHECKING:
    from vqafeat.backbones import Backbone, Variant
    from vqafeat.datasets import Dataset, load_dataset
    from vqafeat.evaluation.compare import compare_runs
    from vqafeat.evaluation.evaluate import evaluate
    from vqafeat.evaluation.model import Model, load_model
    from vqafeat.extraction.extract import extract
    from vqafeat.heads.base import Head
    from vqafeat.store import FeatureStore, open_store
    from vqafeat.store.features import FeatureDataset, collate
    from vqafeat.training.config import FitConfig
    from vqafeat.training.fit import fit
    from vqafeat.training.run import Run

__version__ = "0.1.0"

__all__ = ["Backbone", "Dataset", "FeatureDataset", "FeatureStore", "Variant"]
__all__ += ["FitConfig", "Head", "Model", "Run"]
__all__ += ["collate", "compare_runs", "evaluate", "extract", "fit"]
__all__ += ["load_dataset", "load_model", "load_plugin", "open_store"]
__all__ += ["register_backbone", "register_head", "register_loss"]
_NAMES = {
    "vqafeat.backbones": ("Backbone", "Variant"),
    "vqafeat.datasets": ("Dataset", "load_dataset"),
    "vqafeat.evaluation.compare": ("compare_runs",),
    "vqafeat.evaluation.evaluate": ("evaluate",),
    "vqafeat.evaluation.model": ("Model", "load_model"),
    "vqafeat.extraction.extract": ("extract",),
    "vqafeat.heads.base": ("Head",),
    "vqafeat.store": ("FeatureStore", "open_store"),
    "vqafeat.store.features": ("FeatureDataset", "collate"),
    "vqafeat.training.config": ("FitConfig",),
    "vqafeat.training.fit": ("fit",),
    "vqafeat.training.run": ("Run",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
Class = TypeVar("Class", bound="type[Head]")
Function = TypeVar("Function", bound=Callable[..., Any])


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'vqafeat' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def register_head(name: str) -> Callable[[Class], Class]:
    """Return a class decorator that makes a head available under `name`, here and in worker processes."""
    from vqafeat.heads import HEADS

    return HEADS.register(name)  # type: ignore[return-value]


def register_loss(name: str, **attributes: Any) -> Callable[[Function], Function]:
    """Return a decorator of a function (scores, labels) → loss, all tensors; `name` can be joined by `+`.

    Optional attributes are those of `vqafeat.losses.Loss`, for example `input_score="relative"`.
    """
    from vqafeat.losses import LOSSES
    from vqafeat.losses.base import Loss

    def decorate(function: Function) -> Function:
        LOSSES.add(name, Loss(function, **attributes))
        LOSSES._added[name] = function.__module__
        return function

    return decorate


def register_backbone(backbone: "Backbone") -> "Backbone":
    """Make a backbone available under its name, here and in worker processes; return it."""
    from vqafeat.backbones import BACKBONES

    return BACKBONES.add(backbone.name, backbone)
