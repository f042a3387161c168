"""What ``kit pack`` does with what it packs: keep it, push it, or send it straight to registries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kitops.cli._session import Session
    from kitops.oci.reference import Reference
    from kitops.ops.pack import Packed, PackOptions
    from kitops.ops.place import Place


def pack_here(place: Place, context: Path, targets: Sequence[Reference], options: PackOptions, *, push: bool) -> Packed:
    """Pack into the local store, and push to ``targets``, or with ``push`` to its own names."""
    from kitops.ops.pack import pack

    packed = pack(place, context, replace(options, references=tuple(targets)) if targets else options)
    if push or targets:
        from kitops.ops.push import push as send_on

        send_on(place, packed.references[0], packed.references)
    return packed


def send(place: Place, context: Path, targets: Sequence[Reference], options: PackOptions) -> Packed:
    """Pack straight into registries; nothing is kept here."""
    from kitops.ops.pack_to import pack_to

    return pack_to(place, context, targets, options)


def tell(session: Session, packed: Packed, *, pushed: bool) -> None:
    """Print what was packed."""
    names = [str(ref) for ref in packed.references]
    line = f"Model saved: {packed.desc.digest}" + (f"\nPushed {packed.desc.digest}" if pushed else "")
    session.result(
        line,
        {
            "digest": str(packed.desc.digest),
            "references": names,
            "size": packed.size,
            "newSize": packed.new_size,
            "pushed": pushed,
        },
    )
