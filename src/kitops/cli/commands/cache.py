"""``kit cache``: ``info``, ``clear`` and ``adopt``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kitops.cli._lazy import kit_group
from kitops.cli._options import file_path, kit_command, result_format
from kitops.cli._output import counted, format_size

if TYPE_CHECKING:
    from kitops.cli._session import Session


@kit_group("cache")
def command() -> None:
    """Show or clear temporary files; adopt another tool's storage."""


@kit_command("info", examples=[("kit cache info", "how much the store takes, and what of it is temporary")])
@result_format
@click.pass_obj
def info(session: Session, /) -> None:
    """Print what the local store takes on the disk."""
    from kitops.ops.cache import cache_info

    with session.place() as place:
        found = cache_info(place)
    rows = [
        f"Store: {session.home / 'store'}",
        f"ModelKits: {format_size(found.blobs_size)} in {found.blobs} blobs",
        f"Unfinished downloads: {format_size(found.partial_size)}",
        f"Unfinished uploads to this store: {format_size(found.incoming_size)}",
        f"On the way out: {format_size(found.trash_size)}",
        f"Digest cache: {format_size(found.packed_size)} in {found.packed} entries",
    ]
    value = {
        "store": str(session.home / "store"),
        "blobs": found.blobs,
        "blobsSize": found.blobs_size,
        "partialSize": found.partial_size,
        "incomingSize": found.incoming_size,
        "trashSize": found.trash_size,
        "digestCacheEntries": found.packed,
        "digestCacheSize": found.packed_size,
    }
    session.result("\n".join(rows), value)


@kit_command("clear", examples=[("kit cache clear", "unfinished transfers and the digest cache; no ModelKit")])
@result_format
@click.pass_obj
def clear(session: Session, /) -> None:
    """Remove temporary files that no running process owns; ModelKits stay."""
    from kitops.ops.cache import cache_clear

    with session.place() as place:
        done = cache_clear(place)
    session.result(
        f"Freed {format_size(done.size)} ({counted(done.files, 'file')})", {"freed": done.size, "files": done.files}
    )


@kit_command("adopt", examples=[("kit cache adopt ~/.local/share/kitops/storage", "ModelKits of the Go tool")])
@click.argument("storage", required=False, type=file_path(file_okay=False), metavar="[DIR]")
@result_format
@click.pass_obj
def adopt(session: Session, /, *, storage: str | None) -> None:
    """Take over the ModelKits of the Go tool's storage DIR (default: the one below the root of storage).

    Its files are shared where the file system can, else copied; its storage stays as it is.
    """
    from kitops.ops.cache import cache_adopt

    chosen = Path(storage) if storage else session.home
    inner = chosen / "storage"  # the root of the Go tool is as good as the directory itself
    source = inner if os.path.isdir(inner) or not storage else chosen
    is_own = os.path.realpath(source) == os.path.realpath(session.home / "storage")  # which a new store adopts anyway
    with session.place(adopts=not is_own) as place:
        done = cache_adopt(place, source)
    value = {"modelKits": done.manifests, "tags": done.tags, "linked": done.linked, "copied": done.copied,
             "skipped": list(done.skipped)}  # fmt: skip
    session.result(f"Adopted {done.manifests} ModelKits with {done.tags} tags", value)


for _command in (info, clear, adopt):
    command.add_command(_command)
