"""What is in an OCI image layout, wherever its files are: names, manifests, referrers, verified blobs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from kitops.content.verify import VerifyingReader, check_bytes
from kitops.errors import IntegrityError, InvalidValueError, NotFoundError, printable
from kitops.layout.index import Names, name_of
from kitops.oci import gojson, mediatype
from kitops.oci.descriptor import Descriptor, expect_map, expect_text
from kitops.oci.digest import Digest
from kitops.oci.index import Index
from kitops.oci.manifest import MAX_MANIFEST_SIZE
from kitops.oci.subject import describe_referrer, fallback_tag, is_fallback_tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from kitops.content.protocols import Reader

LAYOUT_FILE: Final = "oci-layout"
INDEX_FILE: Final = "index.json"
LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'


class Files(Protocol):
    """Where the files of a layout are; ``name`` is like ``blobs/sha256/<hex>``."""

    def size(self, name: str) -> int | None:
        """Bytes of a file, None where there is none."""
        ...

    def open(self, name: str) -> AbstractContextManager[Reader]:
        """The bytes of a file that is there."""
        ...


class Contents:
    """A layout as a source of content (``kitops.content.protocols``). Thread-safe.

    Args:
        files: where it is.
        what: names it in errors: ``"the layout models.tar"``.
    """

    def __init__(self, files: Files, what: str) -> None:
        self.what = what
        self._files = files
        self._referrers: dict[Digest, tuple[Digest, Descriptor] | None] = {}

    def check_layout(self) -> None:
        """Raise unless it is an OCI image layout of a version that we know.

        Raises:
            InvalidValueError: it is not.
        """
        size = self._files.size(LAYOUT_FILE)
        if size is None or self._files.size(INDEX_FILE) is None:
            missing = LAYOUT_FILE if size is None else INDEX_FILE
            raise InvalidValueError(f"{self.what} is not an OCI image layout: it has no {missing}")
        table = expect_map(gojson.loads(self._read(LAYOUT_FILE), f"{LAYOUT_FILE} of {self.what}"), LAYOUT_FILE)
        version = expect_text(table.get("imageLayoutVersion"), f"imageLayoutVersion of {self.what}")
        if version.partition(".")[0] != "1":
            raise InvalidValueError(f"{self.what} has image layout version {printable(version)}, 1.0.0 is known")

    def names(self) -> Names:
        """What ``index.json`` lists.

        Raises:
            InvalidValueError: it is not an index.
        """
        return Names.parse(self._read(INDEX_FILE), f"{INDEX_FILE} of {self.what}")

    # --- source

    def resolve(self, pointer: str) -> Descriptor:
        """The manifest that a name in ``index.json``, the tag at its end, or a digest points to.

        Raises:
            NotFoundError: there is no such manifest, or several have that tag.
        """
        if ":" in pointer and (digest := _parse_digest(pointer)) is not None:
            listed = next((desc for desc in self.names().descriptors if desc.digest == digest), None)
            return listed or self._sniff(digest)
        return self.names().find(pointer, self.what)

    def find_only(self) -> Descriptor:
        """The one manifest that refers to nothing.

        Raises:
            NotFoundError: there is none, or several: then one has to be named.
        """
        names = self.names()
        found = {
            desc.digest: desc
            for desc in names.descriptors
            if self._described(desc) is None and not is_fallback_tag(name_of(desc) or "")
        }
        if len(found) == 1:
            return next(iter(found.values()))
        hint = f"name one of {', '.join(names.texts[:5])}" if names.texts else "name one by its digest"
        raise NotFoundError(f"{self.what} holds {len(found)} artifacts, one is wanted", hint=hint if found else None)

    def fetch(self, desc: Descriptor) -> bytes:
        """A small blob or a manifest as verified bytes.

        Raises:
            NotFoundError: it is not there.
            IntegrityError: it is not what ``desc`` says.
        """
        what = self._blob_name(desc)
        if desc.data is not None:
            check_bytes(desc.data, desc, what)
            return desc.data
        data = self._read(blob_path(desc.digest), desc)
        check_bytes(data, desc, what)
        return data

    @contextmanager
    def open(self, desc: Descriptor) -> Iterator[Reader]:
        """The bytes of a blob, verified as they pass by."""
        with self.stream(desc) as reader:
            yield VerifyingReader(reader, desc, self._blob_name(desc))

    @contextmanager
    def stream(self, desc: Descriptor) -> Iterator[Reader]:
        """The bytes of a blob as they are, for a sink, which verifies.

        Raises:
            NotFoundError: it is not there.
            IntegrityError: it has another length.
        """
        self._check_size(blob_path(desc.digest), desc)
        with self._files.open(blob_path(desc.digest)) as reader:
            yield reader

    def exists(self, desc: Descriptor) -> bool:
        """Whether the blob is there with its length."""
        return self._files.size(blob_path(desc.digest)) == desc.size

    def referrers(self, subject: Digest, artifact_type: str | None = None) -> list[Descriptor]:
        """What ``index.json`` lists that refers to ``subject``, or that a fallback tag lists; with all annotations."""
        names = self.names()
        listed = [*names.descriptors, *self._members(names.named(fallback_tag(subject)))]
        described = {desc.digest: self._described(desc) for desc in listed if _may_refer(desc) and self.exists(desc)}
        found = [pair[1] for pair in described.values() if pair is not None and pair[0] == subject]
        return [desc for desc in found if artifact_type in (None, desc.artifact_type)]

    def artifacts(self) -> tuple[Descriptor, ...]:
        """What ``index.json`` lists; in place of lists of referrers (at fallback tags) their members that are here."""
        listed = self.names().descriptors
        members = {desc.digest: desc for desc in self._members(filter(_is_referrers_list, listed)) if self.exists(desc)}
        return (*(desc for desc in listed if not _is_referrers_list(desc)), *members.values())

    # --- parts

    def _members(self, indexes: Iterable[Descriptor]) -> list[Descriptor]:
        unique = {desc.digest: desc for desc in indexes if desc.media_type in mediatype.INDEXES}
        return [
            member
            for desc in unique.values()
            for member in Index.parse(self.fetch(desc), f"index {desc.digest} of {self.what}").manifests
        ]

    def _described(self, desc: Descriptor) -> tuple[Digest, Descriptor] | None:
        """The subject of a manifest and its own description as a referrer, or None; remembered."""
        if desc.digest not in self._referrers:
            pair = describe_referrer(desc, self.fetch(desc)) if _may_refer(desc) else None
            self._referrers[desc.digest] = None if pair is None else (pair[0].digest, pair[1])
        return self._referrers[desc.digest]

    def _sniff(self, digest: Digest) -> Descriptor:
        """The descriptor of a manifest that ``index.json`` does not list."""
        name = blob_path(digest)
        size = self._files.size(name)
        if size is None or size > MAX_MANIFEST_SIZE:
            raise NotFoundError(f"{self.what} has no manifest {digest}")
        data = self._read(name)
        check_bytes(data, Descriptor(mediatype.MANIFEST, digest, size), f"blob {digest} of {self.what}")
        table = expect_map(gojson.loads(data, f"blob {digest} of {self.what}"), f"blob {digest}")
        kind = table.get("mediaType") or (mediatype.INDEX if "manifests" in table else mediatype.MANIFEST)
        return Descriptor(expect_text(kind, "mediaType"), digest, size)

    def _read(self, name: str, desc: Descriptor | None = None) -> bytes:
        size = self._check_size(name, desc)
        if size > MAX_MANIFEST_SIZE:
            raise IntegrityError(f"{name} of {self.what}", f"at most {MAX_MANIFEST_SIZE} bytes", f"{size} bytes")
        found = bytearray(size + 1)
        view, count = memoryview(found), 0
        with self._files.open(name) as reader:
            while count < len(found) and (more := reader.readinto(view[count:])):
                count += more
        return bytes(view[:count])

    def _check_size(self, name: str, desc: Descriptor | None) -> int:
        size = self._files.size(name)
        if size is None:
            raise NotFoundError(f"{self.what} has no {name}")
        if desc is not None and size != desc.size:
            raise IntegrityError(self._blob_name(desc), f"{desc.size} bytes", f"{size} bytes")
        return size

    def _blob_name(self, desc: Descriptor) -> str:
        return f"blob {desc.digest} of {self.what}"


def blob_path(digest: Digest) -> str:
    """Where a blob is in a layout."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def _may_refer(desc: Descriptor) -> bool:
    return desc.media_type in mediatype.MANIFESTS or desc.media_type in mediatype.INDEXES


def _is_referrers_list(desc: Descriptor) -> bool:
    return is_fallback_tag(name_of(desc) or "") and desc.media_type in mediatype.INDEXES


def _parse_digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except InvalidValueError:
        return None
