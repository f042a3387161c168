"""``index.json``: the refs as any tool that knows OCI image layouts can read them.

A view, never the truth: it is written again from a scan of the refs after every change of theirs. Between the scan and
the rename another process may have changed a ref, and may even have renamed its newer index before; so whoever renamed
an index stamps the refs again, and starts over if they are not what it wrote. Every changer does this after its change,
so the last index to be renamed shows the last change. It is not flushed: after a power cut the next change, or
``kit prune``, writes it again.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError
from kitops.oci import annotations as keys
from kitops.oci import gojson, mediatype
from kitops.store.atomic import read_small, replace_file, told
from kitops.store.shelf import overlook

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitops.oci.gojson import Json
    from kitops.store.records import Listing
    from kitops.store.refs import Refs

_TRIES: Final = 1000


def refresh_index(refs: Refs, owner: str, *, removal: bool = False) -> None:
    """Write ``index.json`` from the refs, until they did not change meanwhile.

    Args:
        refs: the truth.
        owner: what the temporary file is named after.
        removal: something was removed: a disk too full for a new index is no reason to stop freeing space.

    Raises:
        FileSystemError: it cannot be written.
    """
    layout = refs.layout
    stamp = refs.stamp()
    for _ in range(_TRIES):
        content = dump_index(refs.list(damaged=overlook))
        try:
            with told("writing", layout.index_file):
                if read_small(layout.index_file) == content:
                    return
                replace_file(layout.temporary(owner), layout.index_file, content, durable=False)
        except FileSystemError as error:
            if removal and isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
                return
            raise
        before, stamp = stamp, refs.stamp()
        if stamp == before:
            return


_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def dump_index(rows: Iterable[Listing]) -> bytes:
    """The index of these rows: tags under their full reference, each manifest without any tag once, without name."""
    tagged: list[Json] = []
    untagged: dict[str, Json] = {}
    named = set()
    for row in rows:
        entry: dict[str, Json] = {
            "mediaType": row.desc.media_type,
            "digest": str(row.desc.digest),
            "size": row.desc.size,
        }
        if row.reference.tag is not None:
            named.add(str(row.desc.digest))
            entry["annotations"] = {keys.REF_NAME: str(row.reference)}
            tagged.append(entry)
        else:
            untagged[str(row.desc.digest)] = entry
        if row.desc.artifact_type is not None:
            entry["artifactType"] = row.desc.artifact_type
    nameless = [entry for digest, entry in untagged.items() if digest not in named]
    return gojson.dumps({"schemaVersion": 2, "mediaType": mediatype.INDEX, "manifests": [*tagged, *nameless]})
