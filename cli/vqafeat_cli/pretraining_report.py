"""What `pretrain` and `demo-pretrain` say while images are checked and a network is trained."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import Progress as Bar

from vqafeat.pretraining.pretrain import PretrainedNetwork, PretrainingRequest, pretrain
from vqafeat.pretraining.trainer import PretrainingRecord, Step
from vqafeat_cli.progress import bar_columns


def run_shown(request: PretrainingRequest) -> PretrainedNetwork:
    """Run a pre-training; a line an epoch goes to standard error, and a bar while a terminal is there."""
    for item in request.sets:
        name, images = item.image_set.name, len(item.image_set.images)
        parts = f"{len(item.training)} for training, {len(item.validation)} for validation"
        click.echo(f"{name}: {images} images ({parts}), {len(item.rows)} pairs; deviations: {item.image_set.std_source}", err=True)
    events = pretrain(request)
    with _progress_bar("epoch") as show:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                found: PretrainedNetwork = end.value
                return found
            if isinstance(event, Step):
                state = f"loss {event.loss:.4f}, {event.images_per_second:.0f} images/s"
                show(f"epoch {event.epoch} of {request.recipe.epochs}", event.number, event.steps, state)
            else:
                click.echo(epoch_line(event, request.recipe.epochs), err=True)


def epoch_line(record: PretrainingRecord, epochs: int) -> str:
    """Return an epoch's losses, its validation SROCC by set, and its speed, as a line."""
    sroccs = ", ".join(f"{name} {value:.3f}" for name, value in record.validation_srocc.items()) or "none"
    rate = 2 * record.pairs / record.seconds
    return (
        f"epoch {record.epoch:2} of {epochs}: fidelity {record.fidelity:.4f}, hinge {record.hinge:.4f}; "
        f"validation SROCC: {sroccs}; {rate:.0f} images/s"
    )


@contextmanager
def check_progress(images: int, words: str = "checking images") -> Iterator[Callable[[int], None]]:
    """Show how many images are done."""
    with _progress_bar(words) as show:
        yield lambda done: show(words, done, images, "")


@contextmanager
def _progress_bar(description: str) -> Iterator[Callable[[str, int, int, str], None]]:
    """Show a bar on standard error while a terminal is there; it is told what is done, how far, of how many, and how it goes."""
    console = Console(stderr=True)
    with Bar(*bar_columns(), console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=None, state="")
        yield lambda words, done, total, state: bar.update(task, description=words, completed=done, total=total, state=state)
