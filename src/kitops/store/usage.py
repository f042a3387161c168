"""What the store takes on the disk."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kitops.store.layout import Layout


@dataclass(frozen=True, slots=True)
class Usage:
    """Numbers of files and their bytes.

    Args:
        blobs: number of blobs.
        blobs_size: their bytes.
        partial_size: bytes of unfinished downloads and of files being written.
        incoming_size: bytes of unfinished uploads to the store while it is served.
        trash_size: bytes of blobs on the way out.
        packed: number of entries of the digest cache: what gave which layer, where files are in layers, what was sent.
        packed_size: their bytes.
    """

    blobs: int
    blobs_size: int
    partial_size: int
    incoming_size: int
    trash_size: int
    packed: int
    packed_size: int


def measure(layout: Layout) -> Usage:
    """Add up what is there now."""
    blobs, blobs_size = _add_up(layout.blobs)
    caches = [_add_up(directory) for directory in (layout.packed, layout.members, layout.sent)]
    packed, packed_size = (sum(numbers) for numbers in zip(*caches, strict=True))
    unfinished = _add_up(layout.partial)[1] + _add_up(layout.ingest)[1]
    incoming, trash = _add_up(layout.incoming)[1], _add_up(layout.trash)[1]
    return Usage(blobs, blobs_size, unfinished, incoming, trash, packed, packed_size)


def _add_up(directory: str) -> tuple[int, int]:
    count = size = 0
    for parent, _, files in os.walk(directory):
        for name in files:
            with suppress(FileNotFoundError):
                size += os.stat(f"{parent}/{name}").st_size
                count += 1
    return count, size
