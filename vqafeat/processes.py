"""How processes start."""

import multiprocessing
from collections.abc import Sequence
from multiprocessing.context import BaseContext


def process_context(preloaded: Sequence[str]) -> BaseContext:
    """Return how processes start: never as copies of this one, since one that has used PyTorch's threads can hang when forked.

    Args:
        preloaded: modules that the server of new processes imports once, for all of them.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preloaded))
    return context
