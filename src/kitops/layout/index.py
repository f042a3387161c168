"""``index.json`` of an OCI image layout: which manifests it holds, and what they are called. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kitops.errors import NotFoundError
from kitops.oci import gojson, mediatype
from kitops.oci.annotations import REF_NAME
from kitops.oci.descriptor import Descriptor, expect_list, expect_map
from kitops.oci.index import Index

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json

EMPTY: Final = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'


@dataclass(frozen=True, slots=True)
class Names:
    """The entries of an ``index.json`` in their order; what we do not know of them is kept when it is written again."""

    raw: bytes = field(repr=False)
    descriptors: tuple[Descriptor, ...]

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Names:
        """Read an ``index.json``.

        Raises:
            InvalidValueError: it is not one.
        """
        return cls(raw, Index.parse(raw, what).manifests)

    @property
    def texts(self) -> list[str]:
        """What the manifests are called, without those that have no name."""
        return [name for desc in self.descriptors if (name := name_of(desc)) is not None]

    def named(self, name: str) -> list[Descriptor]:
        """The entries that are called exactly so."""
        return [desc for desc in self.descriptors if name_of(desc) == name]

    def find(self, name: str, what: str) -> Descriptor:
        """The manifest that is called ``name``, or is the only one whose name ends in the tag ``name``.

        Raises:
            NotFoundError: there is none, or several end so.
        """
        found = self.named(name) or [desc for desc in self.descriptors if (name_of(desc) or "").endswith(f":{name}")]
        if len({desc.digest for desc in found}) == 1:
            return found[0]
        if found:
            texts = ", ".join(name_of(desc) or "" for desc in found[:5])
            raise NotFoundError(f"{what} has several {name!r}", hint=f"name one of {texts}")
        hint = f"it has {', '.join(self.texts[:5])}" if self.texts else "nothing in it has a name: use a digest"
        raise NotFoundError(f"{what} has no {name!r}", hint=hint)

    def with_name(self, desc: Descriptor, name: str) -> bytes:
        """The bytes of the index in which ``name`` points to ``desc``; its entry without name is not needed then."""
        gone = [
            entry
            for entry in self.descriptors
            if name_of(entry) == name or (entry.digest == desc.digest and name_of(entry) is None)
        ]
        if [(entry.digest, name_of(entry)) for entry in gone] == [(desc.digest, name)]:
            return self.raw
        return self._rewritten(gone, dump_entry(desc, name))

    def with_nameless(self, desc: Descriptor) -> bytes:
        """The bytes of the index with ``desc`` in it, under whatever name."""
        if any(entry.digest == desc.digest for entry in self.descriptors):
            return self.raw
        return self._rewritten([], dump_entry(desc, None))

    def _rewritten(self, gone: list[Descriptor], new: Json) -> bytes:
        table = expect_map(gojson.loads(self.raw, "index.json"), "index.json")
        old = expect_list(table.get("manifests"), "manifests")
        kept = [item for item, desc in zip(old, self.descriptors, strict=True) if desc not in gone]
        return gojson.dumps({**table, "manifests": [*kept, new]})


def name_of(desc: Descriptor) -> str | None:
    """What an entry of ``index.json`` is called."""
    return desc.annotations.get(REF_NAME)


def dump_entry(desc: Descriptor, name: str | None) -> dict[str, Json]:
    """An entry of ``index.json``: media type, digest, size and artifact type of ``desc``, and its name."""
    annotations = {} if name is None else {REF_NAME: name}
    return Descriptor(desc.media_type, desc.digest, desc.size, annotations, artifact_type=desc.artifact_type).to_json()


def dump_names(entries: Iterable[tuple[Descriptor, str | None]]) -> bytes:
    """An ``index.json`` of these manifests; a function of the set: named ones by name, then the others by digest."""
    unique: dict[tuple[Digest, str | None], Descriptor] = {(desc.digest, name): desc for desc, name in entries}
    named = {digest for digest, name in unique if name is not None}
    order = sorted(unique, key=lambda key: (key[1] is None, key[1] or "", key[0]))
    manifests: list[Json] = [
        dump_entry(unique[key], key[1]) for key in order if key[1] is not None or key[0] not in named
    ]
    return gojson.dumps({"schemaVersion": 2, "mediaType": mediatype.INDEX, "manifests": manifests})
