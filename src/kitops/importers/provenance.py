"""What was imported from where, as an in-toto statement with an SLSA provenance predicate. Pure.

Source: https://slsa.dev/spec/v1.0/provenance and in-toto Statement v1. The predicate says which files came from which
revision with which digests, by which version of kitops, asked for how; times are the caller's to give.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.importers.tree import Origin
    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "https://kitops.org/import/v1"
"""What ``externalParameters`` mean: source, revision, filters and Kitfile of one import."""
BUILDER: Final = "https://kitops.org/kit"


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """A file as it was imported: its path in the source, size in bytes, digests by algorithm as SLSA names them."""

    path: str
    size: int
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import that has been done.

    Args:
        origin: where from.
        files: what came.
        version: of kitops.
        parameters: how it was asked for (filters, options, a Kitfile of one's own), without secrets.
        started: RFC 3339.
        finished: RFC 3339.
    """

    origin: Origin
    files: Sequence[ImportedFile]
    version: str
    started: str
    finished: str
    parameters: Mapping[str, Json] = field(default_factory=dict)


def build_predicate(done: Import) -> dict[str, Json]:
    """The SLSA v1 provenance predicate of an import."""
    origin = done.origin
    source: dict[str, Json] = {
        "uri": _pinned(origin.kind, origin.uri, origin.revision),
        "digest": dict(origin.digests),
    }
    parts: list[Json] = [
        {"uri": _pinned("git", part.uri, part.commit), "digest": {"gitCommit": part.commit}, "name": part.path}
        for part in origin.parts
    ]
    files: list[Json] = [
        {"name": file.path, "digest": dict(file.digests), "annotations": {"size": file.size}}
        for file in sorted(done.files, key=lambda file: file.path)
    ]
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "source": origin.uri,
                "revision": origin.asked,
                **({"folder": origin.folder} if origin.folder else {}),
                **done.parameters,
            },
            "internalParameters": {
                "kind": origin.kind,
                **({"source": dict(origin.parameters)} if origin.parameters else {}),
            },
            "resolvedDependencies": [source, *parts, *files],
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"kitops": done.version}},
            "metadata": {"startedOn": done.started, "finishedOn": done.finished},
        },
    }


def build_statement(predicate: Mapping[str, Json], name: str, digest: Digest) -> dict[str, Json]:
    """An in-toto statement that ``predicate`` is true of the artifact ``digest``, called ``name``."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {digest.algorithm: digest.encoded}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": dict(predicate),
    }


def _pinned(kind: str, uri: str, revision: str) -> str:
    """The URI of exactly this revision, in SLSA's way for version control."""
    scheme = "git+" if kind in ("git", "huggingface") and uri.startswith("http") else ""
    return f"{scheme}{uri}@{revision}" if revision else uri
