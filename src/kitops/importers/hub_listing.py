"""What the hub's API says of a repository, read strictly: a commit, and the files at it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from kitops.errors import InvalidValueError, SourceError
from kitops.importers.tree import RemoteFile
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.importers.hub_wire import HubWire

_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)
_XET_ID: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub lists it, and what Xet storage calls it; empty where it is not there."""

    file: RemoteFile
    xet_id: str = ""


def fetch_commit(wire: HubWire, api: str, revision: str) -> str:
    """The commit that ``revision`` is now.

    Args:
        wire: the way to the hub.
        api: the URL of the repository's API.
        revision: a branch, tag or commit.

    Raises:
        SourceError: there is no such repository or revision, or the answer makes no sense.
        NetworkError: the hub cannot be reached.
    """
    found, _ = wire.fetch_json(f"{api}/revision/{quote(revision, safe='')}", wire.asked.repo)
    commit = found.get("sha") if isinstance(found, dict) else None
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise SourceError(
            f"reading {wire.asked.repo}: {wire.endpoint} tells no commit of {revision!r}",
            hint="check that this is a hub of Hugging Face (HF_ENDPOINT)",
        )
    if _COMMIT.fullmatch(revision) and commit != revision:
        raise SourceError(f"reading {wire.asked.repo}: {wire.endpoint} gives commit {commit} for {revision}")
    return commit


def fetch_files(wire: HubWire, api: str, commit: str) -> Iterator[HubFile]:
    """The files of a commit, page after page.

    Raises:
        SourceError: the listing makes no sense, or never ends.
        NetworkError: the hub cannot be reached.
    """
    url = f"{api}/tree/{commit}?recursive=true&expand=false"
    seen: set[str] = set()
    while url:
        if url in seen:
            raise SourceError(f"reading {wire.asked.repo}: the hub's listing never ends")
        seen.add(url)
        page, url = wire.fetch_json(url, f"the listing of {wire.asked.repo}")
        yield from parse_page(page, wire.asked.repo)


def parse_page(page: object, repo: str) -> list[HubFile]:
    """The files of one page of a listing.

    Raises:
        SourceError: it makes no sense.
    """
    if not isinstance(page, list):
        raise _wrong(repo, "it is no list")
    return [found for entry in page if (found := _parse(entry, repo)) is not None]


def _parse(entry: object, repo: str) -> HubFile | None:
    """A file; None for a directory."""
    if not isinstance(entry, dict):
        raise _wrong(repo, "an entry is no object")
    kind, path = entry.get("type"), entry.get("path")
    if not isinstance(path, str) or not path:
        raise _wrong(repo, "an entry has no path")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise _wrong(repo, f"the path {path!a} is no text") from None
    if kind == "directory":
        return None
    if kind != "file":
        raise _wrong(repo, f"{path} is neither a file nor a directory")
    xet = entry.get("xetHash")
    xet_id = xet if isinstance(xet, str) and _XET_ID.fullmatch(xet) else ""
    lfs = entry.get("lfs")
    if lfs is None:
        oid = entry.get("oid")
        git_blob = oid if isinstance(oid, str) and _COMMIT.fullmatch(oid) else ""
        return HubFile(RemoteFile(path, _size(entry, path, repo), git_blob=git_blob), xet_id)
    if not isinstance(lfs, dict):
        raise _wrong(repo, f"what {path} is in LFS is not told")
    try:
        digest = Digest.parse(f"sha256:{lfs.get('oid')}")
    except InvalidValueError:
        raise _wrong(repo, f"{path} has no SHA-256 in LFS") from None
    return HubFile(RemoteFile(path, _size(lfs, path, repo), digest), xet_id)


def _size(entry: dict[str, object], path: str, repo: str) -> int:
    size = entry.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        raise _wrong(repo, f"{path} has no size")
    return size


def _wrong(repo: str, why: str) -> SourceError:
    return SourceError(
        f"reading the listing of {repo}: {why}", hint="check that this is a hub of Hugging Face (HF_ENDPOINT)"
    )
