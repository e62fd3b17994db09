"""`vqafeat pack` and `vqafeat unpack`."""

from typing import TYPE_CHECKING

import click
from click import option

from vqafeat_cli.options import amount_option, flag, parse_paths, storage_option

if TYPE_CHECKING:
    from vqafeat.store.pack import PackResult


_SKIP = "Leave out and list incomplete or damaged entries, instead of refusing the store."
_out_option = option("--out", metavar="PATH|URL", help="Store to write.  [default: replace STORE]")
_skip_missing_option = flag("--skip-missing", help=_SKIP)


@click.command()
@click.argument("store")
@_out_option
@storage_option
@amount_option("--shard-size", default="64M", help="Largest size of a shard of features, which is one file.")
@_skip_missing_option
def pack(
    store: str, out: str | None, storage_options: tuple[str, ...], shard_size: int, skip_missing: bool
) -> None:
    """Pack a finished store into a few large files.

    A packed store has one sharded array per feature set instead of thousands of files. Every command reads
    it, but none writes to it; `vqafeat unpack` turns it back. The result is read and compared before it
    replaces STORE, and an interruption loses nothing. Do not pack or unpack a store while a fit reads it.

    \b
    Examples:
      vqafeat pack features/konvid.zarr
      vqafeat pack features/lsvq.zarr --out packed/lsvq.zarr --shard-size 128M
      vqafeat pack features/lsvq.zarr --out s3://bucket/features/lsvq.zarr
    """
    from vqafeat.store import pack_store

    paths = parse_paths({"store": store, "out": out}, storage_options)
    _print_result(pack_store(paths["store"], paths.get("out"), shard_size, skip_missing), "packed")


@click.command()
@click.argument("store")
@_out_option
@storage_option
@_skip_missing_option
def unpack(store: str, out: str | None, storage_options: tuple[str, ...], skip_missing: bool) -> None:
    """Turn a packed store back into a writable one.

    \b
    Example:
      vqafeat unpack features/konvid.zarr
    """
    from vqafeat.store import unpack_store

    paths = parse_paths({"store": store, "out": out}, storage_options)
    _print_result(unpack_store(paths["store"], paths.get("out"), skip_missing), "unpacked")


def _print_result(result: "PackResult", verb: str) -> None:
    done = f"already {verb}" if result.unchanged else verb
    click.echo(f"{result.path}: {done}, {result.videos} complete entries, content {result.digest}")
    for entry in result.left_out:
        click.echo(f"  left out: {entry}", err=True)
