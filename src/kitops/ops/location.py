"""Where a copy comes from or goes to, as people write it.

::

    registry.example.com/team/model:v1     a registry; remote:// in front says the same
    store:team/model:v1                    the local store; local:// says the same, and so does no registry at all
    oci:DIRECTORY[:NAME]                   an OCI image layout in a directory
    oci-archive:FILE[:NAME]                the same in one tar file

The path of a layout ends at its first colon, as for skopeo.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from kitops.errors import InvalidValueError
from kitops.oci.reference import Reference
from kitops.ops.locate import check_remote

Kind = Literal["registry", "store", "directory", "archive"]

_SCHEMES: Final[dict[str, Kind]] = {
    "oci-archive:": "archive",
    "oci:": "directory",
    "store:": "store",
    "local://": "store",
    "remote://": "registry",
    "docker://": "registry",
}
_LAYOUT = re.compile(r"((?:[A-Za-z]:[\\/])?[^:]+)(?::(.+))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Location:
    """One end of a copy. Make one with :meth:`parse`.

    Args:
        kind: what it is.
        references: of a registry or the store: one repository, with its tags; none for ``store:`` alone.
        path: of a layout.
        name: what something is called in a layout; None where that was not said.
    """

    kind: Kind
    references: tuple[Reference, ...] = ()
    path: str = ""
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> Location:
        """Read one.

        Raises:
            InvalidValueError: it is not one.
        """
        scheme = next((scheme for scheme in _SCHEMES if text.startswith(scheme)), "")
        rest = text.removeprefix(scheme)
        kind = _SCHEMES.get(scheme)
        if kind in ("directory", "archive"):
            match = _LAYOUT.fullmatch(rest)
            if match is None:
                raise InvalidValueError(
                    f"{text!r} names no path", hint=f"it looks like {scheme}PATH or {scheme}PATH:NAME"
                )
            return cls(kind, path=match.group(1), name=match.group(2))
        if kind == "store" and not rest:
            return cls(kind)
        references = Reference.parse_tags(rest)
        if kind is None:
            kind = "store" if references[0].is_local else "registry"
        if kind == "registry":
            check_remote(references[0])
        return cls(kind, references)

    @property
    def reference(self) -> Reference:
        """The only reference of a source.

        Raises:
            InvalidValueError: there are several, or none.
        """
        if len(self.references) != 1:
            names = ", ".join(map(str, self.references)) or "nothing"
            raise InvalidValueError(f"a copy comes from one artifact, not from {names}")
        return self.references[0]

    def with_tag(self, tag: str) -> Location:
        """The same place with another tag, or name in a layout."""
        if self.references:
            return Location(self.kind, (self.references[0].with_tag(tag),))
        return Location(self.kind, path=self.path, name=tag)
