"""``kit verify``: every file of a directory is read and compared with the digests of its ModelKit."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from kitops.content.events import Advanced, Finished, Message, Planned, Started
from kitops.content.parallel import run_all
from kitops.errors import (
    AuthenticationError,
    FileSystemError,
    IntegrityError,
    NetworkError,
    NotFoundError,
    RegistryError,
    TrustError,
)
from kitops.layers.check import Checker, LayerCheck, can_remake
from kitops.layers.cover import Cover
from kitops.layers.stamps import read_tree
from kitops.ops.kitfile import says_the_same
from kitops.ops.modes import find_other_modes
from kitops.ops.tracked import Compared, find_extra, open_tracked
from kitops.ops.unpack_record import write_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.kitfile.schema import Kitfile
    from kitops.layers.stamps import Tree
    from kitops.oci.reference import Reference
    from kitops.ops.layer_copies import Copies
    from kitops.ops.place import Place
    from kitops.ops.tracked import Tracked, TrackedLayer


def verify(place: Place, directory: Path, ref: Reference | None = None) -> Compared:
    """Read every file of ``directory`` and compare it with ``ref``, or with what its record says was unpacked.

    A layer need not be in the store: a raw one is the digest of its file, an archive is made again from its files. Only
    to tell which file of an archive changed, its bytes are wanted: from the store, or where its copy is damaged, which
    is told, from the registry. When all is well, the record's stamps are renewed.

    Raises:
        NotFoundError: there is no record and no ``ref``, or no such ModelKit.
        IntegrityError: what the registry sends is damaged.
        FileSystemError: a file cannot be read.
    """
    with open_tracked(place, directory, ref) as tracked:
        tree = read_tree(directory, place.run)
        checked = check_content(place, tracked, directory, tree)
        found = checked.compared
        if found.is_content_equal and tracked.record is not None:
            renewed = tracked.record.stamped(tree)
            if renewed != tracked.record:
                try:
                    write_record(directory, renewed)
                except FileSystemError as error:
                    place.run.observer(Message("debug", error.message))
    return found


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found: in all, of each layer in the order of those that are tracked, and the Kitfile to compare with."""

    compared: Compared
    layers: tuple[LayerCheck, ...]
    kitfile: Kitfile | None


@dataclass(slots=True)
class _Findings:
    changed: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    touched: set[str] = field(default_factory=set)
    modes: set[str] = field(default_factory=set)
    uncertain: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def check_content(place: Place, tracked: Tracked, directory: Path, tree: Tree) -> Checked:
    """Compare the content of every file in ``tree`` that belongs to a tracked layer.

    Raises:
        KitError: as :func:`verify`.
    """
    run = place.run
    workers = min(os.cpu_count() or 1, max(1, run.concurrency))
    found = _Findings()
    run.observer(Planned("verify", len(tracked.layers), sum(layer.content.desc.size for layer in tracked.layers)))
    work = _Work(directory, tree, tracked.copies, found, beside=len(tracked.layers) < workers)
    jobs = [partial(work.check_all, layers) for layers in _group(tracked.layers)]
    checks = [check for one in run_all(jobs, run, workers=workers) for check in one]
    blind: list[str] = []
    for layer, check in zip(tracked.layers, checks, strict=True):
        found.changed.update(check.changed)
        found.missing.update(check.missing)
        found.modes.update(other.path for other in find_other_modes(layer.recorded, check.members, tree))
        if not check.is_certain:
            if layer.recorded.members is None and not check.members:
                blind.append(layer.content.path)
            found.uncertain.append(layer.recorded.label)
            found.touched.update(_find_touched(layer, tree))
    names = {path for check in checks for path, _, _ in check.members}
    files = {path for check in checks for path, _, is_dir in check.members if not is_dir}
    if (kitfile := tracked.kitfile_beside(files, is_all=not blind)) is not None:
        _check_kitfile(directory, kitfile, tree, found)
    compared = Compared(
        tracked.ref,
        tracked.desc,
        len(files) + (kitfile is not None and "Kitfile" not in files),
        tuple(sorted(found.changed)),
        tuple(sorted(found.missing)),
        tuple(find_extra(tree, names, blind=blind)),
        tuple(sorted(found.touched - found.changed)),
        tuple(sorted(found.modes - found.changed)),
        tuple(found.uncertain),
        (*tracked.unknown, *found.unknown),
    )
    return Checked(compared, tuple(checks), kitfile)


@dataclass(frozen=True, slots=True)
class _Work:
    """Checks layers, several at a time."""

    directory: Path
    tree: Tree
    copies: Copies
    found: _Findings
    beside: bool

    def check_all(self, layers: Sequence[TrackedLayer], run: Run) -> list[LayerCheck]:
        """What the files of one layer are, or of those of an image, the newest first."""
        cover: Cover | None = Cover()
        checks = []
        for layer in layers:
            if cover is None:
                self.found.unknown.append(
                    f"{layer.recorded.label}: a newer layer, which may hide its files, is not here"
                )
                checks.append(LayerCheck(is_certain=False))
                continue
            check = self.check(layer, cover, run)
            checks.append(check)
            if not check.is_certain and layer.recorded.members is None and not check.members:
                cover = None
                continue
            for path, _, is_dir in check.members:
                cover.add(path, is_dir=is_dir)
        return checks

    def check(self, layer: TrackedLayer, cover: Cover, run: Run) -> LayerCheck:
        """What the files of one layer are that ``cover`` does not hide."""
        content = layer.content
        item = f"{content.path} {content.desc.digest}"
        run.observer(Started(item, layer.recorded.label, content.desc.size))
        checker = Checker(self.directory, self.tree, run, self.beside, lambda size: run.observer(Advanced(item, size)))
        try:
            check = self._check_once(checker, layer, cover)
        except (IntegrityError, TrustError, FileSystemError):
            if self.copies.path(layer) is None or not self.copies.is_damaged(layer):
                raise
            check = self._check_once(checker, layer, cover)
        run.observer(Finished(item, "done"))
        return check

    def _check_once(self, checker: Checker, layer: TrackedLayer, cover: Cover) -> LayerCheck:
        """From the files alone where that is certain, else beside a copy of the layer."""
        check = self._remake(checker, layer)
        if check is not None and check.is_certain:
            return check
        try:
            with self.copies.open(layer) as reader:
                check = checker.check_stream(layer.content, reader, cover)
            self.copies.vouch(layer)
        except (NotFoundError, NetworkError, RegistryError, AuthenticationError) as error:
            self.found.unknown.append(f"{layer.recorded.label}: {error.message}")
            return check or checker.check_names(layer.recorded.members or (), cover)
        return check

    def _remake(self, checker: Checker, layer: TrackedLayer) -> LayerCheck | None:
        """What the files tell, with the headers of the store's copy or those that the record knows."""
        blob = self.copies.path(layer) if can_remake(layer.content) else None
        if blob is None:
            return checker.check_alone(layer.content, layer.recorded.members)
        with blob.open("rb") as file:
            return checker.check_blob(layer.content, file.fileno())


def _group(layers: Sequence[TrackedLayer]) -> list[list[TrackedLayer]]:
    """Each layer by itself, but those of one image together: the newer hide files of the older."""
    groups: list[list[TrackedLayer]] = []
    for layer in layers:
        last = groups[-1][0] if groups else None
        if (
            last is not None
            and layer.content.within
            and last.content.within
            and last.recorded.ref == layer.recorded.ref
        ):
            groups[-1].append(layer)
        else:
            groups.append([layer])
    return groups


def _find_touched(layer: TrackedLayer, tree: Tree) -> list[str]:
    """The files of a layer whose stamps are not those of the record: where a change is likely."""
    return [
        member.path
        for member in layer.recorded.members or ()
        if member.stamp is not None and tree.files.get(member.path) not in (None, member.stamp)
    ]


def _check_kitfile(directory: Path, expected: Kitfile, tree: Tree, found: _Findings) -> None:
    if "Kitfile" not in tree.files:
        (found.changed if tree.has("Kitfile") else found.missing).add("Kitfile")
    elif not says_the_same(directory / "Kitfile", expected):
        found.changed.add("Kitfile")
