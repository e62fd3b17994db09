"""The commands, each in a file of its own."""

from vqafeat_cli.commands.extract import extract

ALL = [extract]
