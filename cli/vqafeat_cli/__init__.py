"""The command line: thin over the library, one file a command, heavy imports inside the commands."""
