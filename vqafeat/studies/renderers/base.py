"""What a renderer is: a filled table in, text out."""

from collections.abc import Callable

from vqafeat.registry import Registry
from vqafeat.remote import Place
from vqafeat.studies.running import StudyResult

# (filled table, folder of the stores for the commands that are told) → text
Renderer = Callable[[StudyResult, Place], str]
RENDERERS: Registry[Renderer] = Registry("format of a table")
