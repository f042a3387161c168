"""What ``kit pack`` does with what it packs: keep it, push it, or send it straight to registries."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from kitops.errors import InvalidValueError
from kitops.oci.annotations import KITFILE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kitops.cli._session import Session
    from kitops.oci.reference import Reference
    from kitops.ops.pack import Packed, PackOptions
    from kitops.ops.place import Place


def names_registry(word: str) -> bool:
    """Whether the word behind ``--push`` says where to: a reference with a registry, and no directory that is here."""
    from kitops.oci.reference import Reference

    if word.startswith("-") or os.path.isdir(word):
        return False
    try:
        return not Reference.parse_tags(word)[0].is_local
    except InvalidValueError:
        return False


def check_options(options: PackOptions, targets: Sequence[Reference], *, push: bool, keep: bool) -> None:
    """See that what was asked for goes together.

    Raises:
        click.UsageError: it does not.
    """
    wrong = ""
    if targets and (push or options.references):
        wrong = "--push REF and --push-to take neither a bare --push nor --tag; --keep keeps it here as REF"
    elif push and not options.references:
        wrong = "--push wants a --tag that names a registry, or a reference with a registry behind it"
    elif keep and not targets:
        wrong = "--keep is of --push REF and --push-to: what is packed without them is kept anyway"
    elif options.modelpack and KITFILE in options.annotations:
        wrong = f"--annotation {KITFILE}: a ModelPack artifact has its Kitfile there"
    if wrong:
        raise click.UsageError(wrong, click.get_current_context())


def work(
    place: Place, context: Path, targets: Sequence[Reference], options: PackOptions, *, push: bool, keep: bool
) -> Packed:
    """Pack into the local store, and push with ``push``; or straight to ``targets``, and ``keep`` it here too."""
    if not (targets or push):
        from kitops.ops.pack import pack

        return pack(place, context, options)
    from kitops.ops.pack_to import pack_and_push, pack_to

    if targets and not keep:
        return pack_to(place, context, targets, options)
    return pack_and_push(place, context, replace(options, references=tuple(targets)) if targets else options)


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
