"""`vqafeat pack` and `vqafeat unpack`."""

from typing import TYPE_CHECKING

import click

from vqafeat.remote import StorePath
from vqafeat_cli.options import with_store_paths

if TYPE_CHECKING:
    from vqafeat.store.pack import PackResult


_out_option = click.option(
    "--out", metavar="PATH|URL", help="Where the result goes.  [default: in place of STORE]"
)
_skip_missing_option = click.option(
    "--skip-missing",
    is_flag=True,
    help="Leave out what is incomplete or damaged, and name it; without it, nothing is done then.",
)


@click.command()
@click.argument("store", metavar="STORE")
@_out_option
@with_store_paths("store", "out")
@click.option(
    "--shard-size",
    default="64M",
    show_default=True,
    metavar="AMOUNT",
    help="Most bytes of features in one shard, which is one file.",
)
@_skip_missing_option
def pack(store: StorePath, out: StorePath | None, shard_size: str, skip_missing: bool) -> None:
    """Turn a finished store into one sharded array a feature set: thousands of files become a few, which
    every command reads.

    The result is read again and compared before it takes the place of STORE; a stop at any time loses
    nothing. Nothing can be written to a packed store: `vqafeat unpack` turns it back. Do neither while a fit
    reads the store.

    \b
    Examples:
      vqafeat pack features/konvid.zarr
      vqafeat pack features/lsvq.zarr --out packed/lsvq.zarr --shard-size 128M
      vqafeat pack features/lsvq.zarr --out s3://bucket/features/lsvq.zarr
    """
    from vqafeat.store import pack_store
    from vqafeat.system import parse_bytes

    _tell(pack_store(store, out, parse_bytes(shard_size), skip_missing), "packed")


@click.command()
@click.argument("store", metavar="STORE")
@_out_option
@with_store_paths("store", "out")
@_skip_missing_option
def unpack(store: StorePath, out: StorePath | None, skip_missing: bool) -> None:
    """Turn a packed store into one that can be written to, with the same content.

    \b
    Example:
      vqafeat unpack features/konvid.zarr
    """
    from vqafeat.store import unpack_store

    _tell(unpack_store(store, out, skip_missing), "unpacked")


def _tell(done: "PackResult", what: str) -> None:
    click.echo(
        f"{done.path}: {f'already {what}' if done.unchanged else what}, {done.videos} complete entries, content "
        f"{done.digest}"
    )
    for words in done.left_out:
        click.echo(f"  left out: {words}", err=True)
