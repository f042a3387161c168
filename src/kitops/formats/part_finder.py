"""Which part of a Kitfile a layer belongs to: by its path, by its digest, or by its place. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from kitops.formats.parts import Kind, Part, list_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kitops.formats.config import Config
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.descriptor import Descriptor

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
        self._waiting = list(list_parts(kitfile))
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
                    self._waiting.remove(part)
                return part
        return None

    def in_order(self, desc: Descriptor, path: str, kind: Kind | None, known: Config) -> Part | None:
        """By digest and path where the config tells digests, else (kits of 2024) the next of its kind."""
        found = _pick([part for part in self._waiting if kind in (None, part.kind)], desc, path, known)
        if found is not None and found.path == (path or found.path):
            self._waiting.remove(found)
        return found


def _upwards(path: str) -> Iterator[str]:
    """``path``, the directories above it, and the root of all."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield "."


def _pick(candidates: Sequence[Part], desc: Descriptor, path: str, known: Config) -> Part | None:
    """By digest and path where the config tells digests, else (kits of 2024) the next in order."""
    matching = [part for part in candidates if part in known.digests and known.digests[part].digest == desc.digest]
    for part in matching:
        if part.path == path:
            return part
    if matching:
        return matching[0]
    unknown = [part for part in candidates if part not in known.digests]
    return next((part for part in unknown if path and part.path == path), unknown[0] if unknown else None)
