"""Which part of a Kitfile a layer belongs to: by its path, by its digest, or by its place. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from kitops.formats.parts import Kind, Part, list_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kitops.formats.config import Config
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest

_ALSO: Final[Mapping[Kind | None, tuple[Kind, ...]]] = {
    Kind.CODE: (Kind.CODE, Kind.MCP_SERVER),
    Kind.MODEL: (Kind.MODEL, Kind.MODEL_PART),
    None: tuple(Kind),
}
"""The kinds that a type of another format stands for: it has none for bundles, and a Kitfile has one model."""


class PartFinder:
    """The parts of a Kitfile, each waiting for its layers.

    Args:
        kitfile: has the parts.
    """

    def __init__(self, kitfile: Kitfile) -> None:
        self._waiting = dict.fromkeys(list_parts(kitfile))
        self._index: _Index | None = None
        self._taken: set[tuple[Part, str]] = set()
        self._by_path: defaultdict[str, list[Part]] = defaultdict(list)
        for part in self._waiting:
            self._by_path[part.path].append(part)

    def at_path(self, path: str, kind: Kind | None) -> Part | None:
        """The part with this path, else the deepest one above it: a directory may be spread over one layer a file.

        Of several with the same path (prompts may share one), the first that has no such layer yet.
        """
        kinds = _ALSO.get(kind, (kind,))
        for place in _upwards(path):
            found = [part for part in self._by_path.get(place, ()) if part.kind in kinds]
            if found:
                part = next((part for part in found if (part, path) not in self._taken), found[0])
                self._taken.add((part, path))
                if part.path == path and part in self._waiting:
                    self._take(part)
                return part
        return None

    def in_order(self, desc: Descriptor, path: str, kind: Kind | None, known: Config) -> Part | None:
        """By digest and path where the config tells digests, else (kits of 2024) the next of its kind."""
        if self._index is None:
            self._index = _Index(self._waiting, known)
        found = self._index.find(desc.digest, path, kind) or self._index.find(None, path, kind)
        if found is not None and found.path == (path or found.path):
            self._take(found)
        return found

    def _take(self, part: Part) -> None:
        del self._waiting[part]
        if self._index is not None:
            self._index.remove(part)


class _Index:
    """Parts by the digests that a config tells of them (None where it tells none): there may be thousands.

    Args:
        parts: in their order.
        known: tells digests.
    """

    def __init__(self, parts: Iterable[Part], known: Config) -> None:
        self._known = known
        self._in_order: defaultdict[Digest | None, dict[Part, None]] = defaultdict(dict)
        self._exact: defaultdict[tuple[Digest | None, str], dict[Part, None]] = defaultdict(dict)
        for part in parts:
            digest = self._digest_of(part)
            self._in_order[digest][part] = self._exact[digest, part.path][part] = None

    def find(self, digest: Digest | None, path: str, kind: Kind | None) -> Part | None:
        """The first of ``kind`` (None: any) with this digest and path, else the first with this digest."""
        for found in (self._exact.get((digest, path), ()), self._in_order.get(digest, ())):
            for part in found:
                if kind in (None, part.kind):
                    return part
        return None

    def remove(self, part: Part) -> None:
        """Have ``part`` found no more."""
        digest = self._digest_of(part)
        del self._in_order[digest][part], self._exact[digest, part.path][part]

    def _digest_of(self, part: Part) -> Digest | None:
        found = self._known.digests.get(part)
        return None if found is None else found.digest


def _upwards(path: str) -> Iterator[str]:
    """``path``, the directories above it, and the root of all."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield "."
