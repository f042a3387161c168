"""``kit unpack --repair``: what is missing or changed is unpacked again, and nothing else is touched."""

from __future__ import annotations

import shlex
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.content.events import Advanced, Finished, Message, Planned, Started
from kitops.errors import (
    AuthenticationError,
    FileSystemError,
    IntegrityError,
    KitError,
    NetworkError,
    NotFoundError,
    RegistryError,
)
from kitops.kitfile.dump import dump
from kitops.kitfile.remote import find_clash
from kitops.layers.check import Checker
from kitops.layers.codec import Codec
from kitops.layers.extract import Existing, Extraction
from kitops.layers.ignore import is_ours
from kitops.layers.layer_content import LayerContent
from kitops.layers.stamps import Tracked as TrackedFile
from kitops.layers.stamps import read_tree
from kitops.layers.write import Format
from kitops.oci.descriptor import Descriptor
from kitops.oci.reference import Reference
from kitops.ops.modes import find_other_modes, open_up, set_mode
from kitops.ops.obstacles import clear_way
from kitops.ops.tracked import open_tracked
from kitops.ops.unpack_record import FETCHED, Fetched, Record, RecordedLayer, note_kitfile, write_record
from kitops.ops.verify import check_content

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kitops.layers.check import LayerCheck
    from kitops.layers.stamps import Tree
    from kitops.ops.place import Place
    from kitops.ops.remote_data import RemoteDataset
    from kitops.ops.tracked import Tracked
    from kitops.ops.verify import Checked


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was mended.

    Args:
        desc: the ModelKit.
        directory: where.
        mended: files and directories that were missing or changed.
        modes: files and directories whose permission bits were others.
        kept: number of files that were right, and were not touched.
        extra: files beside the ModelKit's; they stay.
        size: bytes of the files that were made.
    """

    desc: Descriptor
    directory: Path
    mended: tuple[str, ...]
    modes: tuple[str, ...]
    kept: int
    extra: tuple[str, ...]
    size: int


def repair(place: Place, ref: Reference | None, directory: Path, *, include_remote: bool = False) -> Repaired:
    """Read every file of ``directory`` and unpack again what is not as in ``ref``.

    What can be mended is mended, and told, before an error says what could not.

    Args:
        place: has the store, which is asked for layers first, then their registry.
        ref: the ModelKit; what the record says was unpacked without.
        directory: what was unpacked; with ``ref`` it is made where it is missing.
        include_remote: fetch remote datasets that are missing or changed, too.

    Raises:
        NotFoundError: there is no such ModelKit, a layer that is needed is nowhere, or what is wrong came from a remote
            dataset and is not to be fetched.
        FileSystemError: something cannot be written.
        IntegrityError: a layer is damaged, or what is wrong cannot be told.
    """
    with open_tracked(place, directory, ref, include_remote=include_remote) as tracked:
        if ref is not None:  # a directory that is not there lacks every file
            _make(directory)
        opened = open_up(directory, [layer.recorded for layer in tracked.layers])
        tree = read_tree(directory, place.run)
        checked = check_content(place, tracked, directory, tree)
        job = _Repair(place, tracked, checked, directory, tree)
        modes = sorted({*opened, *job.mend_modes()})
        mended, size = job.mend_layers()
        fetched = job.fetch() if include_remote else Fetched()
        mended = sorted({*mended, *(member.path for _, member in fetched.files)})  # prompts may share files with code
        job.renew_record(fetched)
        modes = [path for path in modes if path not in mended]
        for path in mended:
            place.run.observer(Message("info", f"Mended {path}"))
        for path in modes:
            place.run.observer(Message("info", f"Mended the permission bits of {path}"))
        job.check_left(fetched)
    found = checked.compared
    directories = {path for check in checked.layers for path, _, is_dir in check.members if is_dir}
    kept = found.files - len({*found.changed, *found.missing} - directories)
    return Repaired(found.desc, directory, tuple(mended), tuple(modes), kept, found.extra, size + fetched.size)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileSystemError.wrap(error, "unpacking into", directory) from error


class _Repair:
    """One repair, in steps: permission bits, layers, remote datasets, the record, and what is left.

    Args:
        place: where layers are.
        tracked: what should be there.
        checked: what is wrong.
        directory: where.
        tree: what was there before.
    """

    def __init__(self, place: Place, tracked: Tracked, checked: Checked, directory: Path, tree: Tree) -> None:
        self._place = place
        self._tracked = tracked
        self._directory = directory
        self._tree = tree
        self._pairs = list(zip(tracked.layers, checked.layers, strict=True))
        is_kitfile_wrong = "Kitfile" in (*checked.compared.changed, *checked.compared.missing)
        self._packed = {"Kitfile": "Kitfile"} | {
            path: path
            for layer, check in self._pairs
            for path, _, is_dir in check.members
            if not is_dir and layer.content.desc.media_type != FETCHED
        }
        self._wrong_kitfile = checked.kitfile if is_kitfile_wrong else None
        self._found: list[RecordedLayer] = []  # remote datasets that were there already
        self._failure: KitError | None = None  # of the fetch
        self._left: dict[int, KitError] = {}  # layers that are not mended, by number, and why

    def mend_modes(self) -> list[str]:
        """Give everything the permission bits that it had; paths."""
        found = [
            other
            for layer, check in self._pairs
            for other in find_other_modes(layer.recorded, check.members, self._tree)
        ]
        if not found:
            return []
        umask = 0
        if not all(other.is_exact for other in found):
            with Extraction(self._directory, existing=Existing.OVERWRITE, run=self._place.run) as extraction:
                umask = extraction.umask  # as an unpack would have it
        for other in sorted(found):
            set_mode(self._directory, other.path, other.bits if other.is_exact else other.bits & ~umask)
        return sorted({other.path for other in found})

    def mend_layers(self) -> tuple[list[str], int]:
        """Unpack again what is wrong and can be had: paths, and bytes of the files that were made."""
        wrong = {number: _list_wrong(check) for number, (_, check) in enumerate(self._pairs) if not check.is_clean}
        mended: list[str] = []
        if not wrong and self._wrong_kitfile is None:
            return mended, 0
        only = {path for paths in wrong.values() for path, _ in paths}
        run = self._place.run
        run.observer(Planned("mend", len(wrong), sum(self._pairs[number][0].content.desc.size for number in wrong)))
        with Extraction(self._directory, existing=Existing.OVERWRITE, run=run, only=only) as extraction:
            for number, paths in wrong.items():
                if self._add(number, paths, extraction):
                    mended += [path for path, _ in paths]
            if self._wrong_kitfile is not None:
                clear_way(self._directory, self._tree, [("Kitfile", False)], run)
                extraction.add_file("Kitfile", dump(self._wrong_kitfile).encode())
                mended.append("Kitfile")
            return mended, extraction.commit().size

    def _add(self, number: int, paths: Sequence[tuple[str, bool]], extraction: Extraction) -> bool:
        """Stage what is wrong of one layer; False where it cannot be had."""
        (layer, check), run, copies = self._pairs[number], self._place.run, self._tracked.copies
        content = layer.content
        if content.desc.media_type == FETCHED:
            self._left[number] = NotFoundError(f"{content.path} came from a remote dataset")
            return False
        if not check.is_certain:
            self._left[number] = IntegrityError(
                f"{self._directory}: {layer.recorded.label}", "the files of the ModelKit", "others",
                hint="its content is needed to mend it: see that the store or the registry has it",
            )  # fmt: skip
            return False
        item = f"{content.path} {content.desc.digest}"
        with ExitStack() as stack:
            try:
                copies.is_damaged(layer)  # else it would be found in the midst of unpacking
                reader = stack.enter_context(copies.open(layer))
            except (NotFoundError, NetworkError, RegistryError, AuthenticationError) as error:
                self._left[number] = error
                return False
            clear_way(self._directory, self._tree, paths, run)
            run.observer(Started(item, layer.recorded.label, content.desc.size))
            extraction.add_stream(reader, content, lambda size: run.observer(Advanced(item, size)))
            run.observer(Finished(item, "done"))
        return True

    def fetch(self) -> Fetched:
        """Fetch the remote datasets that are missing or changed."""
        wanted = list(self._list_remote())
        if not wanted:
            return Fetched()
        from kitops.ops.remote_fetch import RemoteFiles  # noqa: PLC0415 - most repairs fetch nothing

        clear_way(self._directory, self._tree, [(path, False) for _, path in wanted], self._place.run)
        try:
            with ExitStack() as stack:
                remote = [one for one, _ in wanted]
                files = RemoteFiles(self._place, remote, self._directory, Existing.OVERWRITE, stack)
                files.fetch()
                return files.put_in_place()
        except KitError as error:
            self._failure = error
            return Fetched()

    def _list_remote(self) -> Iterator[tuple[RemoteDataset, str]]:
        """Objects that are not there as they should be, and where they go."""
        if self._tracked.kit is None:
            return
        from kitops.ops.remote_fetch import select_remote, target_path  # noqa: PLC0415 - as above

        right = {layer.content.path for layer, check in self._pairs if check.is_clean and not layer.located}
        for one in select_remote(self._tracked.kit.kitfile, ()):
            if not isinstance(one.remote, Reference):
                path = target_path(one)
                if path in right:
                    continue
                if is_ours(path) or find_clash(self._packed, path) is not None:
                    text = f"{one.label} is not fetched: {path} is in the way of a file of the ModelKit"
                    self._place.run.observer(Message("warning", text))
                    continue
                there = self._find_there(one, path)
                if there is None:
                    yield one, path
                else:
                    self._found.append(there)

    def _find_there(self, one: RemoteDataset, path: str) -> RecordedLayer | None:
        """A dataset that nobody fetched, but whose file is there with the wanted content."""
        digest, tree = one.wanted.digest if one.wanted else None, self._tree
        if digest is None or path not in tree.files:
            return None
        content = LayerContent(
            Descriptor(FETCHED, digest, tree.files[path].size), Format.RAW, Codec.NONE, path, "", one.label
        )
        checker = Checker(self._directory, tree, self._place.run, beside=True, moved=lambda _: None)
        if not checker.check_raw(content).is_clean:
            return None
        member = TrackedFile(path, tree.modes[path] & 0o777, tree.files[path], tree.modes[path])
        return RecordedLayer(self._tracked.ref, content, (member,))

    def renew_record(self, fetched: Fetched) -> None:
        """Note what is there now; what is not mended keeps the stamps that it should have."""
        tree = read_tree(self._directory, self._place.run)
        found = [RecordedLayer(self._tracked.ref, content, (member,)) for content, member in fetched.files]
        found += self._found
        new = {layer.content.path for layer in found}
        layers = [
            layer.recorded if number in self._left else layer.recorded.with_members(_stamp(check, tree))
            for number, (layer, check) in enumerate(self._pairs)
            if layer.content.path not in new
        ]
        tracked = self._tracked
        is_partial = tracked.record is not None and tracked.record.is_partial
        kitfile = tracked.record.kitfile if tracked.record is not None else None
        if tracked.kitfile is not None:
            kitfile = note_kitfile(self._directory / "Kitfile")
        try:
            write_record(self._directory, Record(tracked.ref, tracked.desc, (*layers, *found), is_partial, kitfile))
        except FileSystemError as error:
            self._place.run.observer(Message("warning", f"{error.message}: `kit status` will know less"))

    def check_left(self, fetched: Fetched) -> None:
        """Raise the error about what is not mended, once all else is."""
        new = {content.path for content, _ in fetched.files}
        left = [(self._pairs[number][0].content, error) for number, error in self._left.items()]
        remote = [content.path for content, _ in left if content.desc.media_type == FETCHED and content.path not in new]
        errors = [error for content, error in left if content.desc.media_type != FETCHED]
        if self._failure is not None:
            errors.append(self._failure)
        elif remote:
            words = [
                "kit",
                "unpack",
                str(self._tracked.ref),
                "-d",
                str(self._directory),
                "--repair",
                "--include-remote",
            ]
            text = f"{', '.join(remote)}: not mended, as it came from a remote dataset"
            errors.append(NotFoundError(text, hint=shlex.join(words)))
        for error in errors[1:]:
            self._place.run.observer(Message("warning", error.message))
        if errors:
            raise errors[0]


def _list_wrong(check: LayerCheck) -> list[tuple[str, bool]]:
    wrong = {*check.changed, *check.missing}
    return [(path, is_dir) for path, _, is_dir in check.members if path in wrong]


def _stamp(check: LayerCheck, tree: Tree) -> Iterator[TrackedFile]:
    for path, mode, is_dir in check.members:
        with suppress(KeyError):  # removed by somebody since
            yield TrackedFile(path, mode, None if is_dir else tree.files[path], tree.modes[path])
