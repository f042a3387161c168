"""``kit unpack --repair``: what is missing or changed is unpacked again, and nothing else is touched."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.content.events import Message
from kitops.errors import FileSystemError, IntegrityError
from kitops.layers.extract import Existing, Extraction
from kitops.layers.stamps import Tracked as TrackedFile
from kitops.layers.stamps import read_tree
from kitops.ops.tracked import open_layer, open_tracked
from kitops.ops.unpack_record import Record, note_kitfile, write_record
from kitops.ops.verify import check_content

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from kitops.layers.check import LayerCheck
    from kitops.layers.stamps import Tree
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.reference import Reference
    from kitops.ops.place import Place
    from kitops.ops.tracked import Tracked
    from kitops.ops.verify import Checked


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was mended.

    Args:
        desc: the ModelKit.
        directory: where.
        mended: files and directories that were missing or changed.
        kept: number of files that were right, and were not touched.
        extra: files beside the ModelKit's; they stay.
        size: bytes of the files that were made.
    """

    desc: Descriptor
    directory: Path
    mended: tuple[str, ...]
    kept: int
    extra: tuple[str, ...]
    size: int


def repair(place: Place, ref: Reference | None, directory: Path) -> Repaired:
    """Read every file of ``directory`` and unpack again what is not as in ``ref``.

    Args:
        place: has the store, which is asked for layers first, then their registry.
        ref: the ModelKit; what the record says was unpacked without.
        directory: what was unpacked.

    Raises:
        NotFoundError: there is no such ModelKit, or a layer that is needed is nowhere.
        FileSystemError: something of another type stands in a file's place, or cannot be written.
        IntegrityError: a layer is damaged, or what is wrong cannot be told.
    """
    with open_tracked(place, directory, ref) as tracked:
        tree = read_tree(directory, place.run)
        checked = check_content(place, tracked, directory, tree)
        found = checked.compared
        if found.uncertain:
            raise IntegrityError(
                f"{directory}: {', '.join(found.uncertain)}", "the files of the ModelKit", "others",
                hint="its content is needed to mend it: see that the store or the registry has it",
            )  # fmt: skip
        wrong = frozenset((*found.changed, *found.missing))
        size = _mend(place, tracked, checked, directory, tree, wrong) if wrong else 0
        _renew_record(place, tracked, checked.layers, directory)
    directories = {path for check in checked.layers for path, _, is_dir in check.members if is_dir}
    kept = found.files - len(wrong - directories)
    return Repaired(found.desc, directory, tuple(sorted(wrong)), kept, found.extra, size)


def _mend(  # noqa: PLR0917 - one step of `repair`
    place: Place, tracked: Tracked, checked: Checked, directory: Path, tree: Tree, wrong: Collection[str]
) -> int:
    with Extraction(directory, existing=Existing.OVERWRITE, run=place.run, only=wrong) as extraction:
        _clear_links(directory, tree, wrong)
        for layer, check in zip(tracked.layers, checked.layers, strict=True):
            if not check.is_clean:
                with open_layer(place, layer) as reader:
                    extraction.add_stream(reader, layer.content, lambda _: None)
        if tracked.kitfile is not None and "Kitfile" in wrong:
            extraction.add_file("Kitfile", tracked.kitfile)
        return extraction.commit().size


def _clear_links(directory: Path, tree: Tree, wrong: Collection[str]) -> None:
    """Symbolic links and the like in the place of a file would be refused; what they point to is not touched."""
    for path in wrong:
        if path in tree.others:
            try:
                os.unlink(directory / path)
            except OSError as error:
                raise FileSystemError.wrap(error, "removing", directory / path) from error


def _renew_record(place: Place, tracked: Tracked, checks: Collection[LayerCheck], directory: Path) -> None:
    tree = read_tree(directory, place.run)
    layers = []
    for layer, check in zip(tracked.layers, checks, strict=True):
        members = []
        for path, mode, is_dir in check.members:
            with suppress(KeyError):  # removed by somebody since
                members.append(TrackedFile(path, mode, None if is_dir else tree.files[path]))
        layers.append(layer.recorded.with_members(members))
    is_partial = tracked.record is not None and tracked.record.is_partial
    kitfile = note_kitfile(directory / "Kitfile") if tracked.kitfile is not None else None
    record = Record(tracked.ref, tracked.desc, tuple(layers), is_partial, kitfile)
    try:
        write_record(directory, record)
    except FileSystemError as error:
        place.run.observer(Message("warning", f"{error.message}: `kit status` will know less"))
