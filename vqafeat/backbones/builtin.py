"""Registration of the built-in backbones of builtin.toml, whose networks are imported on use."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from vqafeat.backbones.base import BACKBONES, Backbone, ClipRule, Variant
from vqafeat.backbones.published import WeightsSource
from vqafeat.io import read_toml
from vqafeat.schema import parse


@dataclass(frozen=True)
class _Entry:
    """A table of builtin.toml: the arguments of `Backbone`, with functions as `module:name`."""

    build: str
    channels: dict[str, int]
    variants: dict[str, Variant]
    unused: str
    with_feature_layers: str | None = None
    published: WeightsSource | None = None
    smallest_side: int | None = None
    clips: ClipRule | None = None
    prefixes: tuple[str, ...] | None = None
    classes: dict[str, tuple[int, ...]] | None = None
    files: str | None = None
    rename: str | None = None


_FUNCTIONS = ("build", "with_feature_layers", "rename")
_FILE = Path(__file__).with_suffix(".toml")


def _call(path: str, *arguments: object) -> Any:
    return resolve_name(path)(*arguments)


for _name, _entry in parse(dict[str, _Entry], read_toml(_FILE, "backbones"), f"'{_FILE}'").items():
    _options: dict[str, Any] = {key: value for key, value in vars(_entry).items() if value is not None}
    # can be pickled, and imports nothing before it is called
    _functions = {key: partial(_call, _options[key]) for key in _FUNCTIONS if key in _options}
    BACKBONES.add(_name, Backbone(_name, **{**_options, **_functions}))
