"""The formats of a filled table; each is one file that registers itself in `RENDERERS`."""

from vqafeat.studies.renderers.base import RENDERERS, Renderer

from vqafeat.studies.renderers import (  # isort: skip  (the files register themselves)
    markdown,
    latex,
    comma_separated,
    html,
)

__all__ = ["RENDERERS", "Renderer", "comma_separated", "html", "latex", "markdown"]
