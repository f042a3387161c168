"""Models and datasets of Hugging Face, through its own client: a tree of files pinned to one commit.

The client authenticates, redirects and tells errors apart. Bodies are read from where a reader wants to begin, so that
an import which was killed goes on; the client's own download begins anew after a kill. What lies in Xet storage comes
from there (:mod:`kitops.importers.xet`), the rest, and heads of files, over plain HTTP by range.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from kitops.content.apart import call_apart
from kitops.errors import SourceError
from kitops.importers.hub_errors import Asked
from kitops.importers.hub_listing import fetch_commit, fetch_files
from kitops.importers.hub_wire import BodyReader, HubWire
from kitops.importers.location import check_endpoint
from kitops.importers.tree import Origin, RemoteFile
from kitops.importers.xet import XetStorage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kitops.content.protocols import Reader, Run
    from kitops.importers.location import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """How to reach the hub.

    Args:
        token: to send; None leaves it to the hub's client (``HF_TOKEN``, its own login).
        endpoint: of another hub; None leaves it to the client (``HF_ENDPOINT``).
        user_agent: what to say of ourselves.
    """

    token: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    user_agent: str = "kitops"


def open_hub(location: Location, revision: str, options: HubOptions, run: Run) -> HubTree:
    """The tree of a repository at the commit that ``revision`` (a branch, tag or commit) is now.

    Args:
        location: the repository, or a folder or file of it.
        revision: which state of it.
        options: how to reach the hub.
        run: told of breaks; its cancel token ends every wait.

    Raises:
        SourceError: it is missing, closed, gated, empty, or has no such revision; or the client is not installed.
        NetworkError: the hub cannot be reached.
        InvalidValueError: the hub's address is none.
    """
    try:
        from huggingface_hub import __version__, constants, get_token  # noqa: PLC0415 - an extra, and 140 ms
    except ImportError as error:
        raise SourceError(
            "importing from Hugging Face needs its client, which is not installed", hint="pip install 'kitops[hf]'"
        ) from error

    endpoint = check_endpoint(options.endpoint or constants.ENDPOINT)
    kind = "dataset" if location.is_dataset else "model"
    page = f"{endpoint}/{'datasets/' if location.is_dataset else ''}{location.where}"
    token = options.token
    if token is None and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        token = call_apart(get_token, run.cancel)  # it may renew a login
    # not by the client, which would ask the hub first how to tell it who is calling
    headers = {"user-agent": f"{options.user_agent}; hf_hub/{__version__}"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    asked = Asked(location.where, revision, page, has_token=bool(token))
    wire = HubWire(asked, endpoint, headers, run)
    api = f"{endpoint}/api/{kind}s/{location.where}"
    commit = fetch_commit(wire, api, revision)
    found = [one for one in fetch_files(wire, api, commit) if _is_in(one.file.path, location.folder)]
    if not found:
        where = f"at {location.folder} " if location.folder else ""
        raise SourceError(f"{location.where} has no files {where}at revision {revision!r}", hint=f"see {page}")
    origin = Origin(
        kind="huggingface",
        uri=page,
        revision=commit,
        asked=revision,
        name=location.where,
        digests={"gitCommit": commit},
        is_dataset=location.is_dataset,
        folder=location.folder,
    )
    xet_ids = {one.file.path: one.xet_id for one in found if one.xet_id}
    xet = None
    if xet_ids and XetStorage.is_available():
        xet = XetStorage(f"{api}/xet-read-token/{commit}", headers, options.user_agent, run.cancel)
    return HubTree(origin, tuple(one.file for one in found), wire, xet, xet_ids)


@dataclass(frozen=True, slots=True)
class HubTree:
    """A repository of the hub at one commit (``kitops.importers.tree.Tree``). Thread-safe."""

    origin: Origin
    files: Sequence[RemoteFile]
    _wire: HubWire = field(repr=False)
    _xet: XetStorage | None = field(repr=False)
    _xet_ids: Mapping[str, str] = field(repr=False)

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """``size`` bytes of a file from ``offset`` on; a connection that breaks is tried again.

        Raises:
            SourceError: the hub does not give them.
            NetworkError: the hub cannot be reached.
        """
        if not size:
            return b""

        def read() -> bytes:
            with self._read(path, f"bytes={offset}-{offset + size - 1}") as (status, reader):
                if offset and status == 200:  # the server does not know ranges
                    reader.skip(offset)
                return reader.read(size)

        return self._wire.patiently(read)

    @contextmanager
    def open(self, file: RemoteFile, offset: int = 0) -> Iterator[Reader]:
        """The bytes of a file from ``offset`` on, unverified.

        Raises:
            SourceError: the hub does not give them, for good.
            NetworkError: the connection failed.
        """
        xet_id = self._xet_ids.get(file.path)
        if self._xet is not None and xet_id is not None and self._xet.is_worth_trying:
            what = self._what(file.path)
            with self._xet.open(xet_id, file.size, offset, what) as pieces:
                yield BodyReader(pieces, what)
            return
        with self._read(file.path, f"bytes={offset}-" if offset else "") as (status, reader):
            if offset and status == 200:  # the server does not know ranges
                reader.skip(offset)
            yield reader

    @contextmanager
    def _read(self, path: str, wanted: str) -> Iterator[tuple[int, BodyReader]]:
        """GET a file, or the range ``wanted`` of it."""
        url = f"{self.origin.uri}/resolve/{quote(self.origin.revision, safe='')}/{quote(path)}"
        with self._wire.get(url, self._what(path), wanted=wanted) as (response, reader):
            yield response.status_code, reader

    def _what(self, path: str) -> str:
        return f"{self.origin.name}/{path}"


def _is_in(path: str, folder: str) -> bool:
    """Whether a file is the one, or in the folder, that a URL of the hub names."""
    return not folder or path == folder or path.startswith(f"{folder}/")
