"""What a renderer is: a filled table in, text out."""

from collections.abc import Callable
from pathlib import Path

from vqafeat.registry import Registry
from vqafeat.studies.running import StudyResult

# (filled table, folder of the stores for the commands that are told) → text
Renderer = Callable[[StudyResult, Path], str]
RENDERERS: Registry[Renderer] = Registry("format of a table")
