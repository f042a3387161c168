"""Who refers to a manifest: by the referrers API, else by the fallback tag (distribution-spec v1.1).

A registry without the API knows nothing of ``subject``. The index at the tag ``sha256-<hex>`` then lists what refers
to that digest, and it is the clients who keep it right. Nothing guards it between reading and writing but an ETag,
where one is offered; so after each write it is read again, and written again when somebody else's write took ours
away.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kitops.content.events import Message
from kitops.content.verify import check_bytes
from kitops.errors import InvalidValueError, RegistryError
from kitops.oci import mediatype
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import MAX_MANIFEST_SIZE
from kitops.oci.subject import describe_referrer, fallback_tag
from kitops.registry.auth import Scopes
from kitops.registry.headers import media_type, parse_refusal
from kitops.registry.manifests import read_index
from kitops.registry.pages import MAX_PAGE, read_pages
from kitops.registry.session import Request
from kitops.registry.urls import add_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from kitops.registry.session import Session
    from kitops.registry.transport import Answer

_WRITES: Final = 8
"""How often an index is written when others write it at the same time."""
_NO_API: Final = (400, 404, 405, 501)
_ERROR_BYTES: Final = 64 * 1024
_CONFLICT: Final = (409, 412)


class Referrers:
    """The referrers of one repository's manifests. Thread-safe.

    Args:
        session: talks to the registry.
        repository: its name as the registry's API has it.
        locator: its name for people.
    """

    def __init__(self, session: Session, repository: str, locator: str) -> None:
        self._session = session
        self._repository = repository
        self._locator = locator
        self._pull = Scopes.parse(f"repository:{repository}:pull")
        self._push = Scopes.parse(f"repository:{repository}:pull,push")
        self._has_api: bool | None = None
        self._lock = threading.Lock()

    def find(self, subject: Digest, artifact_type: str | None = None) -> list[Descriptor]:
        """What refers to ``subject``, with all annotations; only of ``artifact_type`` if that is given.

        Raises:
            RegistryError: the listing is not one, or the fallback tag points to something that is no index.
        """
        found = self._ask(subject, artifact_type)
        if found is None:
            index = self._read_index(subject)
            found = list(index.manifests) if index is not None else []
        unique = {desc.digest: desc for desc in found}
        return [desc for desc in unique.values() if artifact_type in (None, desc.artifact_type)]

    def add(self, desc: Descriptor, raw: bytes) -> None:
        """See that the manifest ``desc``, just put without an ``OCI-Subject`` in the answer, is found by its subject.

        Raises:
            RegistryError: the registry does not take the index, or others write it all the time.
        """
        described = describe_referrer(desc, raw)
        if described is None:
            return
        subject, referrer = described
        listed = self._ask(subject.digest, None)
        if listed is None:
            self._edit(subject.digest, lambda old: _with(old, referrer))

    def drop(self, desc: Descriptor, raw: bytes) -> None:
        """See that the manifest ``desc``, just deleted, is not listed any more where clients keep the list.

        Raises:
            RegistryError: as :meth:`add`.
        """
        described = describe_referrer(desc, raw)
        if described is not None and self._ask(described[0].digest, None) is None:
            self._edit(described[0].digest, lambda old: _without(old, desc.digest))

    def note_api(self) -> None:
        """The registry named the subject of what was put (``OCI-Subject``): it keeps the list itself."""
        self._has_api = True

    # --- the API

    def _ask(self, subject: Digest, artifact_type: str | None) -> list[Descriptor] | None:
        """What the API lists, page after page; None where there is none."""
        if self._has_api is False:
            return None
        target = f"/v2/{self._repository}/referrers/{subject}"
        request = Request(
            method="GET",
            target=add_query(target, "artifactType", artifact_type) if artifact_type else target,
            doing="listing referrers of",
            what=f"{self._locator}@{subject}",
            scopes=self._pull,
            headers={"Accept": mediatype.INDEX},
            ok=(200, *_NO_API),
        )
        found: list[Descriptor] = []
        for answer in read_pages(self._session, request):
            kind = media_type(answer.header("Content-Type"))
            if answer.status != 200 or kind not in mediatype.INDEXES:
                # a registry with the API may say so of a repository that is not there yet
                if "NAME_UNKNOWN" not in parse_refusal(answer.read_some(_ERROR_BYTES)).codes:
                    self._has_api = False
                return None
            page = read_index(answer.read(MAX_PAGE), f"the referrers of {self._locator}@{subject}")
            is_applied = "artifactType" in (answer.header("OCI-Filters-Applied") or "")
            found += (
                replace(desc, artifact_type=artifact_type) if is_applied and artifact_type else desc
                for desc in page.manifests
            )
        self._has_api = True
        return found

    # --- the fallback tag

    def _edit(self, subject: Digest, change: Callable[[tuple[Descriptor, ...]], tuple[Descriptor, ...]]) -> None:
        """Change the index of ``subject`` until what is there is what it should be."""
        with self._lock:
            for attempt in range(_WRITES):
                self._session.run.cancel.wait(0.02 * attempt)
                index = self._read_index(subject)
                old = index.manifests if index is not None else ()
                new = change(old)
                if new == old:
                    return
                if not new and index is not None and self._delete(index.digest):
                    continue
                self._write_index(subject, new, index)
        raise RegistryError(
            f"listing {self._locator}@{subject} at the tag {fallback_tag(subject)}: others change it all the time",
            hint="run the same command again",
        )

    def _read_index(self, subject: Digest) -> _Found | None:
        tag = fallback_tag(subject)
        what = f"{self._locator}:{tag}"
        request = Request(
            method="GET",
            target=f"/v2/{self._repository}/manifests/{tag}",
            doing="reading",
            what=what,
            scopes=self._pull,
            headers={"Accept": ", ".join(sorted(mediatype.INDEXES | mediatype.MANIFESTS, reverse=True))},
            ok=(200, 404),
        )
        with self._session.send(request) as answer:
            if answer.status == 404:
                return None
            data = answer.read(MAX_MANIFEST_SIZE)
            if (said := _said(answer)) is not None:
                check_bytes(data, Descriptor(mediatype.INDEX, said, len(data)), what)
            return _Found(read_index(data, what).manifests, said or Digest.of(data), answer.header("ETag"))

    def _write_index(self, subject: Digest, manifests: tuple[Descriptor, ...], old: _Found | None) -> None:
        """Put the index; when others were faster, the next round sees it."""
        try:
            self._put(subject, Index.build(manifests).raw, old)
        except RegistryError as error:
            there = tuple(desc for desc in manifests if self._has(desc))
            if error.status not in (400, 404) or there == manifests:
                raise
            # some registries take no index with members that are gone: somebody deleted them without telling it
            self._put(subject, Index.build(there).raw, old)

    def _put(self, subject: Digest, data: bytes, old: _Found | None) -> None:
        tag = fallback_tag(subject)
        headers = {"Content-Type": mediatype.INDEX}
        if old is not None and old.etag is not None:
            headers["If-Match"] = old.etag
        request = Request(
            method="PUT",
            target=f"/v2/{self._repository}/manifests/{tag}",
            doing="uploading",
            what=f"{self._locator}:{tag}",
            scopes=self._push,
            headers=headers,
            body=data,
            ok=(200, 201, 202, *_CONFLICT),
        )
        with self._session.send(request) as answer:
            text = f"{tag} lists the referrers: answered {answer.status}"
            self._session.run.observer(Message("debug", text))

    def _has(self, desc: Descriptor) -> bool:
        request = Request(
            method="HEAD",
            target=f"/v2/{self._repository}/manifests/{desc.digest}",
            doing="looking for",
            what=f"{self._locator}@{desc.digest}",
            scopes=self._pull,
            headers={"Accept": desc.media_type},
            ok=(200, 404),
        )
        with self._session.send(request) as answer:
            return answer.status == 200

    def _delete(self, digest: Digest) -> bool:
        """Delete an index whose last entry is gone; False where the registry does not delete."""
        request = Request(
            method="DELETE",
            target=f"/v2/{self._repository}/manifests/{digest}",
            doing="deleting",
            what=f"{self._locator}@{digest}",
            scopes=Scopes.parse(f"repository:{self._repository}:delete,pull"),
            ok=(200, 202, 204, *_NO_API),
        )
        with self._session.send(request) as answer:
            return answer.status in (200, 202, 204)


@dataclass(frozen=True, slots=True)
class _Found:
    """An index at a fallback tag: its entries, its own digest, and the ETag that it came with."""

    manifests: tuple[Descriptor, ...]
    digest: Digest
    etag: str | None


def _with(old: tuple[Descriptor, ...], referrer: Descriptor) -> tuple[Descriptor, ...]:
    return old if any(desc.digest == referrer.digest for desc in old) else (*old, referrer)


def _without(old: tuple[Descriptor, ...], digest: Digest) -> tuple[Descriptor, ...]:
    return tuple(desc for desc in old if desc.digest != digest)


def _said(answer: Answer) -> Digest | None:
    try:
        return Digest.parse(answer.header("Docker-Content-Digest") or "")
    except InvalidValueError:
        return None
