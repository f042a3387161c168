"""``kit import`` of whatever a person names: each kind of source goes its own way into the store, or to a registry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from kitops.content.events import Message
from kitops.errors import InvalidValueError
from kitops.ops.import_ import ImportOptions, import_, import_directory, import_to
from kitops.ops.locate import check_name, check_remote
from kitops.ops.sources import SourceOptions, open_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.importers.location import Location
    from kitops.oci.reference import Reference
    from kitops.ops.import_ import Imported
    from kitops.ops.place import Place


def import_source(
    place: Place,
    location: Location,
    reach: SourceOptions,
    options: ImportOptions,
    targets: Sequence[Reference] = (),
) -> Imported:
    """Import what lies at ``location``.

    Args:
        place: takes it, or what is small of it.
        location: the source.
        reach: how to reach it.
        options: how to import.
        targets: references of registries that it goes straight to, instead of the local store.

    Raises:
        InvalidValueError: something is asked for that this kind of source, or a registry, does not have.
        KitError: as :func:`kitops.ops.import_.import_`.
    """
    if targets and options.references:
        raise InvalidValueError(
            "what goes straight to a registry is called as it is there", hint="leave out --tag, or --to and push it"
        )
    for ref in (*options.references, *targets):
        check_name(ref)
    for target in targets:
        check_remote(target)
    if location.kind == "directory":
        location.check_asked(revision=reach.revision, token=reach.token, submodules=reach.submodules)
        return import_directory(place, Path(os.path.expanduser(location.where)), options, targets)
    location.check_asked(symlinks=options.symlinks)
    if location.kind == "huggingface" and os.path.isdir(location.where):
        text = f"{location.where} is read from Hugging Face; the directory of that name is ./{location.where}"
        place.run.observer(Message("info", text))
    with open_source(place, location, reach) as tree:
        return import_to(place, tree, targets, options) if targets else import_(place, tree, options)
