"""The layers of a conversion: taken as they are, or made anew in the store from those that are there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kitops.content.events import Advanced, Finished, Message, Started
from kitops.content.protocols import LayerRecord
from kitops.errors import NotFoundError, PackError, TrustError
from kitops.formats.build import PackedLayer
from kitops.formats.image import MODELS
from kitops.formats.plan import PlannedLayer
from kitops.layers.codec import Codec
from kitops.layers.compose import LayerOut, read_content, read_files
from kitops.layers.raw import raw_metadata, raw_mode
from kitops.layers.untar import Member
from kitops.layers.write import Format
from kitops.oci.descriptor import Descriptor
from kitops.oci.digest import Digest
from kitops.ops.reading import layer_content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kitops.content.protocols import Run
    from kitops.formats.conversion import Target
    from kitops.formats.modelkit import KitLayer
    from kitops.layers.compose import Take
    from kitops.layers.untar import PieceReader
    from kitops.ops.locate import Located
    from kitops.store import Store
    from kitops.store.lease import Lease


BIG: Final = 4 << 20
"""Bytes from which on a layer is written in a thread of its own."""


@dataclass(frozen=True, slots=True)
class Made:
    """One layer of the result, and whether the store did not have it."""

    layer: PackedLayer
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Composer:
    """Makes layers in the store from the layers of one artifact. Its methods may run in several threads.

    Args:
        store: takes what is made.
        located: the artifact.
        lease: holds blobs.
        diff_ids: of compressed layers, where they are known.
        is_image: whether archives are for an image: everything is below ``/models``.
    """

    store: Store
    located: Located
    lease: Lease
    diff_ids: Mapping[Digest, Digest]
    is_image: bool

    def reuse(self, target: Target, run: Run) -> PackedLayer:
        """The only source of ``target``, as it is; nothing of it is read where its diff ID is known.

        Raises:
            IntegrityError: it had to be read for its diff ID, and is damaged.
        """
        layer = target.sources[0]
        desc = layer.desc
        size = desc.size if layer.codec is Codec.NONE else _told_size(layer)
        diff_id = desc.digest if layer.codec is Codec.NONE else self.diff_ids.get(desc.digest)
        if diff_id is None or (layer.form is Format.RAW and size is None):
            diff_id, size = self._measure(layer, run)
        return _packed(target, LayerRecord(desc.digest, desc.size, diff_id), layer.path, raw_mode(desc), size or 0)

    def make(self, target: Target, run: Run) -> list[Made]:
        """The layer or layers of ``target``.

        Raises:
            PackError: a raw layer would have to hold several files, or another one than its part.
            IntegrityError: a source is damaged.
            FileSystemError: the store cannot be written.
        """
        item = f"{target.part.field} {target.sources[0].desc.digest}"
        run.observer(Started(item, target.sources[0].label, target.size))
        if target.is_reused:
            desc = target.sources[0].desc
            if not self.store.blobs.hold(desc.digest, desc.size, self.lease):
                raise NotFoundError(f"blob {desc.digest} of {self.located.ref} is lost from the store")
            made = [Made(self.reuse(target, run))]
        elif target.form is Format.RAW:
            made = self._spread(target, item, run)
        else:
            made = [self._archive(target, item, run)]
        run.observer(Finished(item, "done" if any(one.is_new for one in made) else "exists"))
        return made

    def _spread(self, target: Target, item: str, run: Run) -> list[Made]:
        """Every file becomes a raw layer of its own; a ModelKit's must be the part itself."""
        made: list[Made] = []
        seen: set[str] = set()
        empty: set[str] = set()

        def take(member: Member, parts: Iterator[memoryview]) -> None:
            if member.path in seen or _is_kitfile(member, target):
                _pass_over(member, parts, target)
                return
            seen.add(member.path)
            above = member.path.rpartition("/")[0]
            while above:
                empty.discard(above)
                seen.add(above)
                above = above.rpartition("/")[0]
            if member.is_dir:
                empty.add(member.path)
                return
            if not target.is_spread and (made or member.path != target.part.path):
                raise PackError(
                    f"{target.part.field}: {target.part.path} is not one file, as a raw layer is",
                    hint="leave --layer-format out, or convert to modelpack, which spreads directories",
                )
            written = self._write(target.codec, max(member.size, 0), lambda out: _write_all(out, parts))
            layer = _packed(target, written.record, member.path, member.mode & 0o777, written.size)
            made.append(Made(layer, written.is_new))

        for source in target.newest_first:
            self._read(source, take, item, run)
        for path in sorted(empty):
            run.observer(Message("warning", f"{target.part.field}: left out {path}, a directory without files"))
        if not made:
            raise PackError(
                f"{target.part.field}: {target.part.path} has no file, as raw layers are", hint="use --layer-format tar"
            )
        return made

    def _archive(self, target: Target, item: str, run: Run) -> Made:
        """One archive of all that the sources hold. Of an image, later layers hide what earlier ones have."""

        def fill(out: LayerOut) -> None:
            archive = _Archive(out, f"{MODELS}/" if self.is_image else "", target)
            for source in target.newest_first:
                is_raw = source.form is Format.RAW
                take = archive.take_alone if is_raw else archive.take
                self._read(self._settle(source, run) if is_raw else source, take, item, run)
            if archive.is_empty and target.sources[0].within:
                raise PackError(f"{self.located.ref} has no file below /{MODELS}")

        written = self._write(target.codec, target.size, fill, is_archive=True)
        packed = _packed(target, written.record, target.part.path, 0, 0)
        alone = target.sources[0] if len(target.sources) == 1 else None
        if (self.is_image or target.is_spread) and alone is not None and alone.form is Format.RAW:
            packed = replace(packed, file=alone.path)  # layers of one part can be told apart by it
        return Made(packed, written.is_new)

    def _settle(self, layer: KitLayer, run: Run) -> KitLayer:
        """A raw layer whose size is known: a compressed one is uncompressed into the store first."""
        if layer.codec is Codec.NONE:
            return layer
        found: list[LayerRecord] = []

        def take(_: Member, parts: Iterator[memoryview]) -> None:
            found.append(self._write(Codec.NONE, 0, lambda out: _write_all(out, parts)).record)

        self._read(layer, take, "", run)
        desc = Descriptor(layer.desc.media_type, found[0].digest, found[0].size, layer.desc.annotations)
        return replace(layer, desc=desc, codec=Codec.NONE)

    def _measure(self, layer: KitLayer, run: Run) -> tuple[Digest, int]:
        """Digest and bytes of a layer's uncompressed content, by reading it."""
        hasher = hashlib.sha256()
        size = 0

        def use(content: PieceReader) -> None:
            nonlocal size
            for part in content.rest():
                hasher.update(part)
                size += len(part)

        with self.located.source.stream(layer.desc) as reader:
            read_content(reader, layer_content(layer, self.located.ref), run, use, lambda _: None)
        return Digest.from_hasher(hasher), size

    def _read(self, layer: KitLayer, take: Take, item: str, run: Run) -> None:
        def moved(size: int) -> None:
            if item:
                run.observer(Advanced(item, size))

        with self.located.source.stream(layer.desc) as reader:
            read_files(reader, layer_content(layer, self.located.ref), run, take, moved)

    def _write(
        self, codec: Codec, size: int, fill: Callable[[LayerOut], object], *, is_archive: bool = False
    ) -> _Written:
        """A new blob with what ``fill`` writes: about ``size`` bytes, or just so many for a plain file."""
        blobs = self.store.blobs
        with blobs.create(self.lease) as blob:
            claimed = size if codec is Codec.NONE and not is_archive else None
            with LayerOut(blob.fd, codec, claimed, blobs.run.cancel, beside=size > BIG) as out:
                fill(out)
                size = out.size
                record = out.finish(is_archive=is_archive)
            is_new = not blobs.exists(record.digest)
            blob.commit(record.digest, record.size)
        return _Written(record, size, is_new)


@dataclass(frozen=True, slots=True)
class _Written:
    """A blob that was made: its bytes uncompressed (without the end of an archive), and whether it was not there."""

    record: LayerRecord
    size: int
    is_new: bool


class _Archive:
    """An archive that takes each path once.

    Args:
        out: takes its members.
        prefix: stands before every name.
        target: what it is for.
    """

    def __init__(self, out: LayerOut, prefix: str, target: Target) -> None:
        self._out = out
        self._target = target
        self._prefix = prefix
        self._seen: set[str] = set()
        if prefix:
            out.add_member(prefix.rstrip("/").encode(), 0o755, 0, (), is_dir=True)

    @property
    def is_empty(self) -> bool:
        return not self._seen

    def take(self, member: Member, parts: Iterator[memoryview]) -> None:
        """Add a member, unless its path was added already."""
        if member.path in self._seen or _is_kitfile(member, self._target):
            _pass_over(member, parts, self._target)
            return
        self._seen.add(member.path)
        name = f"{self._prefix}{member.path}".encode()
        self._out.add_member(name, member.mode, member.size, parts, is_dir=member.is_dir)

    def take_alone(self, member: Member, parts: Iterator[memoryview]) -> None:
        """Add a file that comes without the directories above it."""
        above = member.path.split("/")[:-1]
        for count in range(1, len(above) + 1):
            self.take(Member("/".join(above[:count]), is_dir=True, mode=0o755, size=0), iter(()))
        self.take(member, parts)


def _write_all(out: LayerOut, parts: Iterator[memoryview]) -> None:
    for part in parts:
        out.write(part)


def _is_kitfile(member: Member, target: Target) -> bool:
    """Whether it is the Kitfile that somebody copied into an image: no part has it, as the ModelKit itself does."""
    return member.path == "Kitfile" and bool(target.sources[0].within) and target.part.path != "Kitfile"


def _pass_over(member: Member, parts: Iterator[memoryview], target: Target) -> None:
    """Leave out what an image's later layer hides; elsewhere nobody could say which file is meant."""
    if not member.is_dir and not target.sources[0].within:
        raise TrustError(
            f"{target.part.field}: {member.path} is there twice",
            hint="do not trust this ModelKit, or unpack and pack it",
        )
    for _ in parts:
        pass


def _told_size(layer: KitLayer) -> int | None:
    """The uncompressed bytes of a compressed raw layer, where its annotation tells; 0 for archives, which have none."""
    if layer.form is Format.TAR:
        return 0
    size = raw_metadata(layer.desc).get("size")
    return size if isinstance(size, int) and size >= 0 else None


def _packed(target: Target, record: LayerRecord, path: str, mode: int, size: int) -> PackedLayer:
    planned = PlannedLayer(target.part, target.form, target.codec, frozenset())
    if target.form is Format.TAR:
        return PackedLayer(planned, record)
    return PackedLayer(planned, record, mode=mode, file_size=size, file=path if path != target.part.path else "")
