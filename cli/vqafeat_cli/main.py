"""The command `vqafeat`: the group of all commands, and the exit codes.

Exit codes: 0 done, 1 an expected error in one sentence, 2 wrong usage, 3 finished with failures,
130 interrupted. Bugs keep their traceback.
"""

import io
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import click

from vqafeat import __version__
from vqafeat.errors import VqafeatError
from vqafeat.registry import load_plugin
from vqafeat.remote import network_errors
from vqafeat.system import provide_cache_folders
from vqafeat_cli.demo import demo, demo_pretrain
from vqafeat_cli.evaluate import compare, ensemble, evaluate
from vqafeat_cli.extract import extract
from vqafeat_cli.fit import fit
from vqafeat_cli.importers import export, importing
from vqafeat_cli.list import complete_names, listing
from vqafeat_cli.options import PATH, several
from vqafeat_cli.predict import predict, score
from vqafeat_cli.pretrain import coral, pretrain
from vqafeat_cli.runs import runs
from vqafeat_cli.show import show
from vqafeat_cli.table import report, table
from vqafeat_cli.verify import pack, unpack, verify

# Idle OpenMP threads wait without using the processor. By default they use it while they wait, which makes a
# run up to ten times slower beside other processes. OpenMP reads the variable when PyTorch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Spellings of version 1 still work, but no help text shows them. They apply to commands that have the new
# spelling and not the old one: `report --videos` is another option.
FORMER_OPTIONS = {
    "--bucket-batches": "--length-bucket-size",
    "--engine": "--backend",
    "--label-scale": "--label-scaling",
    "--mixing": "--multi-dataset",
    "--patience": "--startup-timeout",
    "--ranks-read": "--rank-input",
    "--recorded": "--published-predictions",
    "--scale-of": "--score-scale",
    "--score-scale": "--largest-label",
    "--videos": "--part",
}


class _Group(click.Group):
    """A group whose commands also accept the former spellings of their options."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        called = command.commands.get(rest[0]) if isinstance(command, click.Group) and rest else command
        known = {spelling for option in called.params for spelling in option.opts} if called else set()
        for index, argument in enumerate(rest):
            option, equals, value = argument.partition("=")
            present = FORMER_OPTIONS.get(option)
            if present in known and option not in known:
                rest[index] = f"{present}{equals}{value}"
        return name, command, rest


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120, "show_default": True}
_PLUGIN = "Python file that registers backbones, heads or losses; repeatable."


@click.group(cls=_Group, context_settings=_SETTINGS)
@click.version_option(__version__, "-V", "--version", prog_name="vqafeat")
@several("--plugin", "plugins", metavar="FILE", type=PATH, help=_PLUGIN)
def cli(plugins: tuple[Path, ...]) -> None:
    """Extract per-frame deep features of videos once, and train video quality models on them in minutes.

    \b
    Example with the demo data set:
      vqafeat demo
    """
    for plugin in plugins:
        load_plugin(plugin)


for command in (
    *(extract, fit, evaluate, ensemble, compare, report, score, predict, importing, export, pretrain, coral),
    *(listing, runs, show, verify, pack, unpack, table, demo, demo_pretrain),
):
    cli.add_command(command)
complete_names(cli)


def _words(error: Exception) -> str:
    """Return the message of an error, with a next step if it is the system's and about a file."""
    if not isinstance(error, OSError) or error.filename is None or isinstance(error, VqafeatError):
        return str(error)
    reason = f"'{error.filename}' cannot be read or written to ({error.strerror})"
    return f"{reason}; make room or make it accessible and run the same command again, or name another path."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    provide_cache_folders()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale may lack ±, and a path may be no text
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: click.echo(f"Warning: {message}", err=True)
            code = cli.main(args=arguments, prog_name="vqafeat", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; finished work is kept, and the same command resumes from there.", err=True)
        code = 130
    except BrokenPipeError:
        code = 0
    except (VqafeatError, *network_errors()) as error:  # type: ignore[misc]
        click.echo(f"Error: {_words(error)}", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
