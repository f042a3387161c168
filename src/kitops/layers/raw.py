"""The one file of a raw layer: what the layer's annotations say of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kitops.errors import TrustError
from kitops.layers.untar import parse_member
from kitops.oci.annotations import FILE_METADATAS

if TYPE_CHECKING:
    from kitops.layers.untar import Member
    from kitops.oci.descriptor import Descriptor


def raw_metadata(desc: Descriptor) -> dict[str, object]:
    """What a raw layer's annotation tells of its file; empty where it is none."""
    told = next((desc.annotations[key] for key in FILE_METADATAS if key in desc.annotations), "{}")
    try:
        table = json.loads(told)
    except (ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def raw_mode(desc: Descriptor) -> int:
    """The permission bits that a raw layer's annotation tells, else 0644."""
    told = told_mode(desc)
    return 0o644 if told is None else told


def told_mode(desc: Descriptor) -> int | None:
    """The permission bits that a raw layer's annotation tells; None where it tells none."""
    mode = raw_metadata(desc).get("mode")
    return mode & 0o777 if isinstance(mode, int) and mode > 0 else None


def raw_member(desc: Descriptor, path: str, what: str) -> Member:
    """What a raw layer is: a file of the layer's size as stored, or by its ``typeflag`` a directory.

    A type is a number as modctl writes it (0, 5, 2), or a letter of tar as others do (48, 53, 50).

    Args:
        desc: the layer.
        path: what it is called.
        what: names it in errors.

    Raises:
        TrustError: it has no name or one that leads out, or it is a link or device.
    """
    table = raw_metadata(desc)
    name = path.rstrip("/").encode()
    if not name:
        raise TrustError(f"{what}: it does not say what its file is called")
    flag = table.get("typeflag")
    kind = (chr(flag) if ord("0") <= flag < ord("z") else str(flag)) if type(flag) is int else "0"
    mode = told_mode(desc)
    if mode is None:
        mode = 0o755 if kind == "5" else 0o644
    member = parse_member(name, kind.encode(), mode, desc.size, what)
    if member is None:
        raise TrustError(f"{what}: it does not say what its file is called")
    return member
