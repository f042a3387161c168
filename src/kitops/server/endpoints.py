"""The endpoints of the distribution specification (v1.1) over a shelf: from a call to a reply, without sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kitops.server import blob_endpoints, list_endpoints, manifest_endpoints, upload_endpoints
from kitops.server.access import OpenAccess
from kitops.server.answers import RefusedError, Reply, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from kitops.server.call import Call
    from kitops.server.shelf import Shelf


def _get_base(shelf: Shelf, call: Call) -> Reply:  # noqa: ARG001 - as every endpoint
    return json_reply({})


_ENDPOINTS: Final[dict[str, dict[str, Callable[[Shelf, Call], Reply]]]] = {
    "base": {"GET": _get_base},
    "catalog": {"GET": list_endpoints.get_catalog},
    "tags": {"GET": list_endpoints.get_tags},
    "referrers": {"GET": list_endpoints.get_referrers},
    "blob": {"GET": blob_endpoints.get_blob, "DELETE": blob_endpoints.delete_blob},
    "uploads": {"POST": upload_endpoints.post_uploads},
    "upload": {
        "GET": upload_endpoints.get_upload,
        "PATCH": upload_endpoints.patch_upload,
        "PUT": upload_endpoints.put_upload,
        "DELETE": upload_endpoints.delete_upload,
    },
    "manifest": {
        "GET": manifest_endpoints.get_manifest,
        "PUT": manifest_endpoints.put_manifest,
        "DELETE": manifest_endpoints.delete_manifest,
    },
}


class Endpoints:
    """Answers calls. Thread-safe.

    Args:
        shelf: the content.
        read_only: refuse every change.
        has_referrers: offer the list of referrers, as 1.1 asks; an older registry does not.
    """

    def __init__(self, shelf: Shelf, *, read_only: bool = False, has_referrers: bool = True) -> None:
        self._shelf = shelf
        self._read_only = read_only
        self._has_referrers = has_referrers

    def answer(self, call: Call) -> Reply:
        """The reply to ``call``.

        Raises:
            RefusedError: it is an error.
        """
        call.check_access()
        methods = _ENDPOINTS[call.endpoint]
        method = "GET" if call.method == "HEAD" else call.method
        found = methods.get(method)
        if found is None:
            allowed = ", ".join(sorted(methods))
            raise RefusedError(405, "UNSUPPORTED", f"{call.method} is not possible here", (("Allow", allowed),))
        if method != "GET" and "origin" in call.headers and isinstance(call.access, OpenAccess):
            # the browser of whoever serves reaches loopback for any page; such a page has an origin, and a client none
            raise RefusedError(403, "DENIED", "web pages cannot change a registry without passwords")
        if self._read_only and method != "GET":
            raise RefusedError(405, "UNSUPPORTED", "this registry is read-only", (("Allow", "GET"),))
        if not self._has_referrers and call.endpoint == "referrers":
            raise RefusedError(404, "UNSUPPORTED", "this registry does not list referrers")
        reply = found(self._shelf, call)
        if not self._has_referrers:
            kept = tuple(header for header in reply.headers if header[0] != "OCI-Subject")
            return Reply(reply.status, kept, reply.body, reply.file, reply.start, reply.size)
        return reply
