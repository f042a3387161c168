"""Lists, in pages: tags, referrers, repositories (distribution-spec end-8 and end-12, and the catalog)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from kitops.oci import mediatype
from kitops.server.answers import RefusedError, Reply, json_reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.oci.gojson import Json
    from kitops.server.answers import Headers
    from kitops.server.call import Call
    from kitops.server.shelf import Shelf

_REFERRERS_PAGE: Final = 1000
"""Referrers a page where nobody asks for fewer."""
_REFERRERS_BYTES: Final = 2 * 1024 * 1024
"""Bytes of their descriptors a page, from which on no further one is added: clients take pages of 4 MiB and more."""


def get_tags(shelf: Shelf, call: Call) -> Reply:
    """The tags of a repository, in the order of their text."""
    tags = shelf.tags(call.repository)
    if tags is None:
        raise RefusedError(404, "NAME_UNKNOWN", f"there is no repository {call.repository}")
    page, headers = _page(call, tags)
    return json_reply({"name": call.repository, "tags": page}, headers)


def get_catalog(shelf: Shelf, call: Call) -> Reply:
    """The repositories of this registry."""
    page, headers = _page(call, shelf.repositories())
    return json_reply({"repositories": page}, headers)


def get_referrers(shelf: Shelf, call: Call) -> Reply:
    """The manifests that refer to a digest, which need not be here, as an index."""
    found = shelf.referrers(call.repository, call.digest)
    wanted = call.asked("artifactType")
    if wanted:
        found = [desc for desc in found if desc.artifact_type == wanted]
    by_digest = {str(desc.digest): desc.to_json() for desc in found}
    last = call.asked("last") or ""
    following = [by_digest[digest] for digest in sorted(by_digest) if digest > last]
    page, headers = _page(call, sorted(by_digest), most=_count_fitting(following))
    if wanted:
        headers = (*headers, ("OCI-Filters-Applied", "artifactType"))
    index = {
        "schemaVersion": 2,
        "mediaType": mediatype.INDEX,
        "manifests": [by_digest[digest] for digest in page],
    }
    return json_reply(index, headers, media_type=mediatype.INDEX)


def _count_fitting(rows: Sequence[Json]) -> int:
    """How many referrers make a page: their annotations may be as long as their manifests."""
    size = 0
    for count, row in enumerate(rows[:_REFERRERS_PAGE]):
        size += len(json.dumps(row))
        if size > _REFERRERS_BYTES:
            return max(count, 1)
    return _REFERRERS_PAGE


def _page(call: Call, names: Sequence[str], *, most: int | None = None) -> tuple[Sequence[str], Headers]:
    """Those of sorted ``names`` that are asked for, and the link to the next ones."""
    if last := call.asked("last"):
        names = [name for name in names if name > last]
    number = call.asked("n")
    if number is not None and not (number.isascii() and number.isdigit()):
        raise RefusedError(400, "UNSUPPORTED", "n must be a number")
    count = len(names) if number is None else int(number[:9])
    count = count if most is None else min(count, most)
    if not 0 < count < len(names):
        return names[:count], ()
    kept = {key: values[-1] for key, values in call.query.items() if key not in ("n", "last")}
    where = "_catalog" if call.endpoint == "catalog" else f"{call.repository}/{call.endpoint}"
    where += {"tags": "/list", "referrers": f"/{call.pointer}"}.get(call.endpoint, "")
    following = urlencode({**kept, "n": count, "last": names[count - 1]})
    return names[:count], (("Link", f'</v2/{where}?{following}>; rel="next"'),)
