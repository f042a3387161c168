"""``kit referrers``: what refers to a ModelKit: signatures, attestations, and what refers to those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.content.copy import list_graph
from kitops.content.events import Message
from kitops.errors import InvalidValueError, NotFoundError, TrustError
from kitops.oci.subject import describe_referrer
from kitops.ops.ends import open_origin
from kitops.ops.locate import check_pointer
from kitops.ops.location import Location

if TYPE_CHECKING:
    from kitops.content.protocols import Run
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.oci.gojson import Json
    from kitops.oci.reference import Reference
    from kitops.ops.ends import Origin
    from kitops.ops.place import Place

_MAX_REFERRERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that refers to another one.

    Args:
        desc: it, with its artifact type and annotations.
        subject: what it refers to.
    """

    desc: Descriptor
    subject: Digest

    def to_json(self) -> dict[str, Json]:
        """``digest, mediaType, artifactType, size, subject, annotations``."""
        return {
            "digest": str(self.desc.digest),
            "mediaType": self.desc.media_type,
            "artifactType": self.desc.artifact_type,
            "size": self.desc.size,
            "subject": str(self.subject),
            "annotations": dict(self.desc.annotations),
        }


def referrers(
    place: Place, ref: Reference, *, remote: bool = False, artifact_type: str | None = None
) -> tuple[Referrer, ...]:
    """What refers to ``ref`` in the local store, or with ``remote`` in its registry, and what refers to that.

    Args:
        place: where to look.
        ref: a ModelKit, or any artifact.
        remote: look in the registry.
        artifact_type: only of this type.

    Raises:
        InvalidValueError: ``ref`` has neither tag nor digest, or names no registry.
        NotFoundError: there is no such artifact.
    """
    check_pointer(ref)
    location = Location.parse(f"{'remote' if remote else 'local'}://{ref}")
    with open_origin(place, location) as origin:
        found = collect_referrers(origin, origin.resolve(location).desc, place.run)
    return tuple(one for one in found if artifact_type in (None, one.desc.artifact_type))


def collect_referrers(origin: Origin, root: Descriptor, run: Run) -> tuple[Referrer, ...]:
    """Everything that refers to a manifest of the graph below ``root``, and what refers to that, and so on.

    What a list shows that is not there, is no manifest, or refers to something else is left out and told.

    Raises:
        TrustError: there are more than ten thousand.
        KitError: whatever the source raises.
    """
    found: dict[Digest, Referrer] = {}
    graph: dict[Descriptor, bytes] = {}
    list_graph(origin.source, root, graph, run)
    waiting = list(graph)
    while waiting:
        subject = waiting.pop(0).digest
        for desc in origin.find_referrers(subject):
            if desc.digest in found or desc.digest == root.digest:
                continue
            below = _graph_of_referrer(origin, desc, subject, run)
            if not below:
                continue
            if len(found) >= _MAX_REFERRERS:
                raise TrustError(f"{root.digest} has more than {_MAX_REFERRERS} referrers", hint="copy it without them")
            found[desc.digest] = Referrer(desc, subject)
            waiting += below
    return tuple(found.values())


def _graph_of_referrer(origin: Origin, desc: Descriptor, subject: Digest, run: Run) -> dict[Descriptor, bytes]:
    """The manifests of the graph below a referrer; none where it cannot be read, or refers to something else."""
    below: dict[Descriptor, bytes] = {}
    try:
        list_graph(origin.source, desc, below, run)
    except (NotFoundError, InvalidValueError) as error:
        text = f"{desc.digest} is listed as a referrer of {subject} and left out: {error.message}"
        run.observer(Message("warning", text))
        return {}
    described = describe_referrer(desc, below[desc])
    if described is None or described[0].digest != subject:
        run.observer(Message("warning", f"{desc.digest} is listed as a referrer of {subject} and is none: left out"))
        return {}
    return below
