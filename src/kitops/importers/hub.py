"""Models and datasets of Hugging Face, through its own client: a tree of files pinned to one commit.

The client lists, authenticates, redirects and tells errors apart. Bodies are read from where a reader wants to begin,
so that an import which was killed goes on; the client's own download begins anew after a kill. What lies in Xet storage
comes from there (:mod:`kitops.importers.xet`), the rest, and heads of files, over plain HTTP by range.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kitops.errors import NetworkError, SourceError
from kitops.importers.hub_errors import Asked, told
from kitops.importers.tree import Origin, RemoteFile
from kitops.importers.xet import XetStorage
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kitops.content.cancel import CancelToken
    from kitops.content.protocols import Reader
    from kitops.importers.location import Location

BLOCK: Final = 256 * 1024
CONNECT_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 30.0
"""A connection that sends nothing for so long is given up."""
_XET_ID: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """How to reach the hub.

    Args:
        token: to send; None leaves it to the hub's client (``HF_TOKEN``, its own login).
        endpoint: of another hub; None leaves it to the client (``HF_ENDPOINT``).
        user_agent: what to say of ourselves.
    """

    token: str | None = None
    endpoint: str | None = None
    user_agent: str = "kitops"


def open_hub(location: Location, revision: str, options: HubOptions, cancel: CancelToken) -> HubTree:
    """The tree of a repository at the commit that ``revision`` (a branch, tag or commit) is now.

    Args:
        location: the repository.
        revision: which state of it.
        options: how to reach the hub.
        cancel: ends a read that waits for the network.

    Raises:
        SourceError: it is missing, closed, gated, or has no such revision; or the client is not installed.
        NetworkError: the hub cannot be reached.
    """
    try:
        from huggingface_hub import HfApi, get_token  # noqa: PLC0415 - an extra, and 140 ms
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # noqa: PLC0415 - as above
    except ImportError as error:
        raise SourceError(
            "importing from Hugging Face needs its client, which is not installed", hint="pip install 'kitops[hf]'"
        ) from error

    kind = "dataset" if location.is_dataset else "model"
    api = HfApi(options.endpoint, token=options.token, library_name=options.user_agent)
    prefix = "datasets/" if location.is_dataset else ""
    page = f"{api.endpoint}/{prefix}{location.where}"
    asked = Asked(location.where, revision, page, has_token=bool(options.token or get_token()))
    with told(asked, "reading"):
        found = api.repo_info(location.where, repo_type=kind, revision=revision)
        commit = found.sha or revision
        listed = api.list_repo_tree(location.where, recursive=True, revision=commit, repo_type=kind)
        below = f"{location.folder}/" if location.folder else ""
        entries: list[Any] = [entry for entry in listed if hasattr(entry, "size") and entry.path.startswith(below)]
    origin = Origin(
        kind="huggingface",
        uri=page,
        revision=commit,
        asked=revision,
        name=location.where,
        digests={"gitCommit": commit},
        is_dataset=location.is_dataset,
    )
    xet_ids = {entry.path: entry.xet_hash for entry in entries if _XET_ID.fullmatch(entry.xet_hash or "")}
    xet = None
    if xet_ids and XetStorage.is_available():
        headers = build_hf_headers(token=options.token, library_name=options.user_agent)
        token_url = f"{api.endpoint}/api/{kind}s/{location.where}/xet-read-token/{commit}"
        xet = XetStorage(token_url, headers, options.user_agent, cancel)
    return HubTree(origin, tuple(_file(entry) for entry in entries), asked, options, xet, xet_ids)


@dataclass(frozen=True, slots=True)
class HubTree:
    """A repository of the hub at one commit (``kitops.importers.tree.Tree``). Thread-safe."""

    origin: Origin
    files: Sequence[RemoteFile]
    _asked: Asked = field(repr=False)
    _options: HubOptions = field(repr=False)
    _xet: XetStorage | None = field(repr=False)
    _xet_ids: Mapping[str, str] = field(repr=False)

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """``size`` bytes of a file from ``offset`` on.

        Raises:
            SourceError: the hub does not give them.
            NetworkError: the hub cannot be reached.
        """
        if not size:
            return b""
        with self._read(path, f"bytes={offset}-{offset + size - 1}") as (status, reader):
            if offset and status == 200:  # the server does not know ranges
                reader.skip(offset)
            return reader.read(size)

    @contextmanager
    def open(self, file: RemoteFile, offset: int = 0) -> Iterator[Reader]:
        """The bytes of a file from ``offset`` on, unverified.

        Raises:
            SourceError: the hub does not give them, for good.
            NetworkError: the connection failed.
        """
        xet_id = self._xet_ids.get(file.path)
        if self._xet is not None and xet_id is not None and self._xet.is_worth_trying:
            what = f"{self.origin.name}/{file.path}"
            with self._xet.open(xet_id, file.size, offset, what) as pieces:
                yield _BodyReader(pieces, what)
            return
        with self._read(file.path, f"bytes={offset}-" if offset else "") as (status, reader):
            if offset and status == 200:  # the server does not know ranges
                reader.skip(offset)
            yield reader

    @contextmanager
    def _read(self, path: str, wanted: str) -> Iterator[tuple[int, _BodyReader]]:
        """GET a file, or the range ``wanted`` of it."""
        import httpx2  # noqa: PLC0415 - comes with the hub's client
        from huggingface_hub import hf_hub_url  # noqa: PLC0415 - as above
        from huggingface_hub.utils import (  # type: ignore[attr-defined]  # noqa: PLC0415 - as above
            build_hf_headers,
            hf_raise_for_status,
            http_stream_backoff,
        )

        origin = self.origin
        url = hf_hub_url(
            origin.name,
            path,
            repo_type="dataset" if origin.is_dataset else "model",
            revision=origin.revision,
            endpoint=self._options.endpoint,
        )
        headers = build_hf_headers(token=self._options.token, library_name=self._options.user_agent)
        headers["Accept-Encoding"] = "identity"
        if wanted:
            headers["Range"] = wanted
        what = f"{origin.name}/{path}"
        timeout = httpx2.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
        with (
            told(self._asked, "reading"),
            http_stream_backoff("GET", url, headers=headers, timeout=timeout, max_retries=0) as response,
        ):
            hf_raise_for_status(response)
            yield response.status_code, _BodyReader(response.iter_raw(BLOCK), what)


class _BodyReader:
    """The chunks of a body as a reader."""

    def __init__(self, chunks: Iterator[bytes], what: str) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._what = what

    def readinto(self, buffer: memoryview, /) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, fewer only at the end."""
        found = bytearray(size)
        view, done = memoryview(found), 0
        while done < size and (count := self.readinto(view[done:])):
            done += count
        return bytes(found[:done])

    def skip(self, size: int) -> None:
        """Read over ``size`` bytes.

        Raises:
            NetworkError: the body is shorter.
        """
        buffer = memoryview(bytearray(BLOCK))
        while size:
            count = self.readinto(buffer[:size])
            if not count:
                raise NetworkError(f"reading {self._what}: the hub sends less than it announced")
            size -= count


def _file(entry: Any) -> RemoteFile:
    """A file as the hub lists it; of what lies in LFS it tells the SHA-256 of the bytes."""
    lfs = entry.lfs
    if lfs is None:
        return RemoteFile(entry.path, entry.size, git_blob=entry.blob_id)
    return RemoteFile(entry.path, lfs.size, Digest.parse(f"sha256:{lfs.sha256}"))
