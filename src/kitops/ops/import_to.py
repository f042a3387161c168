"""``kit import --to``: from where a model lives straight to registries; nothing of it is kept here.

Raw layers whose digest the source tells go through memory. Other layers are made here, for their digests must be known
before they are sent, and freed when they are there. What the first registry has is not fetched; the others get theirs
from it, so that nothing is read from the source twice.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from kitops.content.copy import copy
from kitops.content.events import Message
from kitops.errors import KitError
from kitops.formats.build import build_modelkit
from kitops.importers.provenance import build_statement
from kitops.oci.reference import UNNAMED
from kitops.ops.attach import IN_TOTO, attach_statement, tells_origin
from kitops.ops.gather import Gathering
from kitops.ops.import_plan import Imported, ImportOptions, plan_import
from kitops.ops.locate import check_remote, complete_name
from kitops.ops.neighbours import Neighbours
from kitops.ops.pack import put_built
from kitops.ops.plan import label_by
from kitops.ops.through import ThroughSource, free_sent
from kitops.store import graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.content.protocols import Source
    from kitops.importers.tree import Tree
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.gojson import Json
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place
    from kitops.registry.repository import Repository


def import_to(place: Place, tree: Tree, targets: Sequence[Reference], options: ImportOptions | None = None) -> Imported:
    """Import ``tree`` straight into registries.

    Args:
        place: where what is made here is until it is there.
        tree: the source.
        targets: references of registries.
        options: as of :func:`kitops.ops.import_.import_`; its references are not used.

    Raises:
        KitError: as :func:`kitops.ops.import_.import_`, and whatever a registry answers.
    """
    targets = [complete_name(target, place.run) for target in targets]
    for target in targets:
        check_remote(target)
    plan = plan_import(place, tree, options or ImportOptions())
    repositories: dict[str, list[Reference]] = {}
    for target in targets:
        repositories.setdefault(target.locator, []).append(target)
    groups = list(repositories.values())
    with ExitStack() as stack:
        sinks = [stack.enter_context(place.registry(group[0])) for group in groups]
        lease = stack.enter_context(place.store.lease("import"))
        gathering = Gathering(place.store, tree, lease, place.run, elsewhere=sinks[0].exists)
        layers = gathering.make_layers(plan.layers)
        desc = put_built(place, build_modelkit(plan.kitfile, layers, {}), lease)
        labels = {layer.record.digest: layer.path for layer in layers}
        label = label_by(lambda: labels)
        predicate = plan.tell()
        statement = build_statement(predicate, targets[0].locator, desc.digest)
        said = attach_statement(place, desc, statement, (), lease)
        here = ThroughSource(place.store.repository(UNNAMED, lease), gathering.openers, place.run, gathering.count)
        for index, (group, sink) in enumerate(zip(groups, sinks, strict=True)):
            source: Source = sinks[0] if index else here
            neighbours = Neighbours(place.store, group[0], sure=[other[0] for other in groups[:index]])
            copy(source, sink, desc, place.run, verb="import", neighbours=neighbours.find, label=label)
            for target in group:
                if target.tag is not None:
                    sink.tag(desc, target.tag)
            place.store.sent.note(sink.locator, desc.digest, [layer.record.digest for layer in layers])
            _send_statement(place, here, sink, desc, said, predicate=predicate)
        own = [desc.digest, *(child.digest for child in graph.children(place.store.blobs, desc))]
        doomed = [*own, *graph.tree_of(place.store.blobs, said.digest)]  # what an earlier attempt left here, too
    free_sent(place, doomed)
    size = sum(layer.record.size for layer in layers)
    return Imported(desc, tuple(targets), plan.kitfile, tree.origin, predicate, size, gathering.fetched_size)


def send_origin(place: Place, desc: Descriptor, predicate: Mapping[str, Json], targets: Sequence[Reference]) -> None:
    """Have where a ModelKit came from beside it in the registries that it is in; nothing of that is kept here."""
    statement = build_statement(predicate, targets[0].locator, desc.digest)
    with place.store.lease("import") as lease:
        said = attach_statement(place, desc, statement, (), lease)
        source = place.store.repository(UNNAMED, lease)
        for target in {target.locator: target for target in targets}.values():
            with place.registry(target) as sink:
                _send_statement(place, source, sink, desc, said, predicate=predicate)
        sent = graph.tree_of(place.store.blobs, said.digest)
    free_sent(place, sent)


def _send_statement(
    place: Place,
    source: Source,
    sink: Repository,
    desc: Descriptor,
    said: Descriptor,
    *,
    predicate: Mapping[str, Json],
) -> None:
    """Have where it came from beside a ModelKit that is there; a registry that does not take that is told of."""
    try:
        if not any(tells_origin(one, predicate, sink.fetch) for one in sink.referrers(desc.digest, IN_TOTO)):
            copy(source, sink, said, place.run, verb="import")
            sink.keep(said)
    except KitError as error:
        text = f"{sink.locator} does not take the provenance of {desc.digest}: {error.message}"
        place.run.observer(Message("warning", text))
