"""``kit import``: a model or dataset from where it lives becomes a ModelKit in the local store.

A part of the Kitfile that is one file becomes a raw layer: of what lies in LFS the source knows the SHA-256, which is
the layer's digest, so what is there already is not fetched. Directories become tar layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.formats.build import build_modelkit
from kitops.ops.attach import say_origin
from kitops.ops.gather import Gathering
from kitops.ops.import_directory import import_directory
from kitops.ops.import_plan import Imported, ImportOptions, default_reference, plan_import
from kitops.ops.import_to import import_to
from kitops.ops.locate import complete_name
from kitops.ops.pack import keep

if TYPE_CHECKING:
    from kitops.importers.tree import Tree
    from kitops.ops.place import Place

__all__ = ["ImportOptions", "Imported", "default_reference", "import_", "import_directory", "import_to"]


def import_(place: Place, tree: Tree, options: ImportOptions | None = None) -> Imported:
    """Import ``tree`` into the local store.

    Raises:
        InvalidValueError: a name has a digest, the filters leave nothing, or the Kitfile is not right.
        PackError: a path of the Kitfile is not in the source, or left out by its ``.kitignore``.
        NotFoundError: the ModelKit that the Kitfile takes its model from is nowhere.
        SourceError: the source has nothing, or does not give what it lists.
        IntegrityError: a file is not what the source said.
        NetworkError: the connection failed; run again, it goes on.
        FileSystemError: the disk is full.
    """
    options = options or ImportOptions()
    references = tuple(complete_name(ref, place.run) for ref in options.references)
    references = references or (default_reference(tree.origin),)
    plan = plan_import(place, tree, options)
    with place.store.lease("import") as lease:
        gathering = Gathering(place.store, tree, lease, place.run)
        layers = gathering.make_layers(plan.layers)
        desc = keep(place, build_modelkit(plan.kitfile, layers, {}), references, lease)
        predicate = plan.tell()
        say_origin(place, desc, predicate, references, lease)
    size = sum(layer.record.size for layer in layers)
    return Imported(desc, references, plan.kitfile, tree.origin, predicate, size, gathering.fetched_size)
