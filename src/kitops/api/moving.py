"""Between places: what is pushed, pulled, copied, saved, named and removed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kitops.api.settings import PathLike, Settings, make_place, parse_all
from kitops.oci.reference import Reference
from kitops.ops.choices import list_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitops.ops.copy import Transferred
    from kitops.ops.load import Loaded
    from kitops.ops.plan import Plan
    from kitops.ops.pull import Pulled
    from kitops.ops.push import Pushed
    from kitops.ops.remove import Removed
    from kitops.ops.save import Saved
    from kitops.ops.tag import Tagged


def push(source: str, destination: str | Sequence[str] | None = None, *, settings: Settings | None = None) -> Pushed:
    """Push ``source`` of the local store to ``destination`` (to its own registry without one)."""
    from kitops.ops.push import push as work  # noqa: PLC0415 - each verb costs what it needs

    return work(make_place(settings), Reference.parse(source), parse_all(destination))


def pull(
    ref: str, *, filters: str | Sequence[str] = (), verify: bool = False, settings: Settings | None = None
) -> Pulled:
    """Pull ``ref``, and the ModelKits that its model comes from, into the local store; the first of several tags.

    Args:
        ref: what to pull.
        filters: ``"model"``, ``"datasets:train"``: only these parts; a later pull without filters completes it.
        verify: read what is in the store already, and fetch again what is damaged.
        settings: where and how.

    Raises:
        KitError: see :func:`kitops.ops.pull.pull`.
    """
    from kitops.formats.select import Filter  # noqa: PLC0415 - as above
    from kitops.ops.pull import pull as work  # noqa: PLC0415 - as above

    chosen = [Filter.parse(text) for text in list_texts(filters)]
    return work(make_place(settings), Reference.parse_tags(ref), chosen, verify=verify)[0]


def plan_pull(ref: str, *, filters: str | Sequence[str] = (), settings: Settings | None = None) -> Plan:
    """What :func:`pull` would move, and whether it fits; nothing is changed."""
    from kitops.formats.select import Filter  # noqa: PLC0415 - as above
    from kitops.ops.pull import plan_pull as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse_tags(ref), [Filter.parse(text) for text in list_texts(filters)])


def plan_push(source: str, destination: str | Sequence[str] | None = None, *, settings: Settings | None = None) -> Plan:
    """What :func:`push` would move; nothing is changed."""
    from kitops.ops.plan import plan_push as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(source), parse_all(destination))


def copy(source: str, destination: str, *, recursive: bool = False, settings: Settings | None = None) -> Transferred:
    """Copy an artifact of any type, digests unchanged.

    Args:
        source: a reference in a registry, ``store:REF``, ``oci:DIRECTORY[:NAME]`` or ``oci-archive:FILE[:NAME]``.
        destination: the same; without a tag it gets that of the source.
        recursive: with what refers to it: signatures, attestations, and what refers to those.
        settings: where and how.
    """
    from kitops.ops.copy import copy as work  # noqa: PLC0415 - as above
    from kitops.ops.location import Location  # noqa: PLC0415 - as above

    ends = Location.parse(source), Location.parse(destination)
    return work(make_place(settings), *ends, recursive=recursive)


def save(
    refs: str | Sequence[str],
    output: PathLike,
    *,
    remote: bool = False,
    referrers: bool = True,
    parents: bool = True,
    settings: Settings | None = None,
) -> Saved:
    """Write ModelKits into one file for :func:`load`.

    Args:
        refs: what to save; the store is looked at first, then its registry.
        output: the file, an OCI image layout in a tar; it appears whole or not at all.
        remote: only the registry is looked at.
        referrers: with what refers to them: signatures, attestations.
        parents: with the ModelKits that they take their models from.
        settings: where and how.
    """
    from kitops.ops.save import SaveOptions  # noqa: PLC0415 - as above
    from kitops.ops.save import save as work  # noqa: PLC0415 - as above

    options = SaveOptions(remote=remote, referrers=referrers, parents=parents)
    return work(make_place(settings), parse_all(refs), os.fspath(output), options)


def load(path: PathLike, *, repository: str | None = None, settings: Settings | None = None) -> Loaded:
    """Load every artifact of an OCI image layout (a tar or a directory) into the local store, verified.

    Args:
        path: what :func:`save` wrote, or ``skopeo copy … oci-archive:``.
        repository: where what has a bare tag, or no name, goes.
        settings: where and how.
    """
    from kitops.ops.load import load as work  # noqa: PLC0415 - as above

    name = None if repository is None else Reference.parse(repository)
    return work(make_place(settings), os.fspath(path), repository=name)


def tag(
    source: str, destination: str | Sequence[str], *, remote: bool = False, settings: Settings | None = None
) -> Tagged:
    """Give a ModelKit of the local store, or with ``remote`` anything in a registry, other names."""
    from kitops.ops.tag import tag as local  # noqa: PLC0415 - as above
    from kitops.ops.tag import tag_remote  # noqa: PLC0415 - as above

    work = tag_remote if remote else local
    return work(make_place(settings), Reference.parse(source), parse_all(destination))


def remove(
    ref: str | Sequence[str],
    *,
    force: bool = False,
    remote: bool = False,
    referrers: bool = False,
    settings: Settings | None = None,
) -> Removed:
    """Remove ModelKits from the store, or with ``remote`` from their registry, with their ``referrers`` there if asked.

    All of several are looked up before any goes.
    """
    from kitops.ops.remove import remove as local  # noqa: PLC0415 - as above
    from kitops.ops.remove import remove_remote  # noqa: PLC0415 - as above

    place, parsed = make_place(settings), parse_all(ref)
    if remote:
        return remove_remote(place, parsed, force=force, referrers=referrers)
    return local(place, parsed, force=force)
