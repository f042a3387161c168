"""The layers of a conversion: taken as they are, or made anew in the store from those that are there."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from kitops.content.events import Advanced, Finished, Message, Started
from kitops.content.protocols import LayerRecord
from kitops.errors import NotFoundError, PackError
from kitops.formats.build import PackedLayer
from kitops.formats.image import MODELS
from kitops.formats.plan import PlannedLayer
from kitops.layers.codec import Codec
from kitops.layers.compose import LayerOut, read_content, read_files
from kitops.layers.merge import Once, Plain, above, merge, order
from kitops.layers.raw import raw_metadata, raw_mode
from kitops.layers.write import Format
from kitops.oci.digest import Digest
from kitops.ops.reading import layer_content
from kitops.weights.ranges import open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kitops.content.protocols import Run
    from kitops.formats.conversion import Target
    from kitops.formats.modelkit import KitLayer
    from kitops.layers.compose import Take
    from kitops.layers.untar import Member, PieceReader
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
        made: dict[str, Made] = {}
        empty: set[str] = set()
        once = _once(target)

        def take(member: Member, parts: Iterator[memoryview]) -> None:
            if not _is_wanted(member, target) or not once.takes(member):
                for _ in parts:  # passed over
                    pass
            elif member.is_dir:
                empty.add(member.path)
            elif target.is_spread or (not made and member.path == target.part.path):
                written = self._write(target.codec, max(member.size, 0), lambda out: _write_all(out, parts))
                layer = _packed(target, written.record, member.path, member.mode & 0o777, written.size)
                made[member.path] = Made(layer, written.is_new)
            else:
                raise PackError(
                    f"{target.part.field}: {target.part.path} is not one file, as a raw layer is",
                    hint="leave --layer-format out, or convert to modelpack, which spreads directories",
                )

        for source in target.newest_first:
            once.start_layer()
            self._read(source, take, item, run)
        for path in sorted(empty.difference(*map(above, made))):
            run.observer(Message("warning", f"{target.part.field}: left out {path}, a directory without files"))
        if not made:
            raise PackError(
                f"{target.part.field}: {target.part.path} has no file, as raw layers are", hint="use --layer-format tar"
            )
        return [made[path] for path in sorted(made, key=order)]

    def _archive(self, target: Target, item: str, run: Run) -> Made:
        """One archive of all that the sources hold. Of an image, later layers hide what earlier ones have."""
        alone = target.sources[0] if len(target.sources) == 1 else None

        def fill(out: LayerOut) -> None:
            if self.is_image:
                out.add_member(MODELS.encode(), 0o755, 0, (), is_dir=True)
            if alone is not None and alone.form is Format.TAR and not alone.within:
                self._copy(alone, target, out, item, run)
            else:
                self._merge(target, out, item, run)

        written = self._write(target.codec, target.size, fill, is_archive=True)
        packed = _packed(target, written.record, target.part.path, 0, 0)
        if (self.is_image or target.is_spread) and alone is not None and alone.form is Format.RAW:
            packed = replace(packed, file=alone.path)  # layers of one part can be told apart by it
        return Made(packed, written.is_new)

    @property
    def _prefix(self) -> str:
        return f"{MODELS}/" if self.is_image else ""

    def _copy(self, source: KitLayer, target: Target, out: LayerOut, item: str, run: Run) -> None:
        """The members of one archive, in its order."""
        once = _once(target)

        def take(member: Member, parts: Iterator[memoryview]) -> None:
            if once.takes(member):  # else it is a directory, of which there is nothing to read
                name = f"{self._prefix}{member.path}".encode()
                out.add_member(name, member.mode, member.size, parts, is_dir=member.is_dir)

        self._read(source, take, item, run)

    def _merge(self, target: Target, out: LayerOut, item: str, run: Run) -> None:
        """The members of several layers, in the order of pack."""

        def moved(size: int) -> None:
            run.observer(Advanced(item, size))

        sources = [
            Plain(
                layer_content(layer, self.located.ref),
                partial(self._open_plain, layer, moved, run),
                layer.codec is not Codec.NONE,
            )
            for layer in target.newest_first
        ]
        wants = partial(_is_wanted, target=target)
        has_any = merge(sources, out, wants, run, moved, once=_once(target), prefix=self._prefix)
        is_all = target.sources[0].within and not target.sources[0].path  # a part of our own images may be empty
        if not has_any and is_all:
            raise PackError(f"{self.located.ref} has no file below /{MODELS}")

    @contextmanager
    def _open_plain(self, layer: KitLayer, moved: Callable[[int], None], run: Run) -> Iterator[int]:
        """The uncompressed bytes of a layer in a file: its blob, or verified ones in one that goes with the block."""
        if layer.codec is Codec.NONE:
            with open_file(self.store.blobs.path(layer.desc.digest)) as blob:
                yield blob.fd
            return
        with self.store.blobs.create(self.lease) as spool:
            with LayerOut(spool.fd, Codec.NONE, None, run.cancel, beside=layer.desc.size > BIG) as out:
                with self.located.source.stream(layer.desc) as reader:
                    read_content(
                        reader,
                        layer_content(layer, self.located.ref),
                        run,
                        lambda pieces: _write_all(out, pieces.rest()),
                        moved,
                    )
                out.finish(is_archive=False)
            yield spool.fd

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


def _write_all(out: LayerOut, parts: Iterator[memoryview]) -> None:
    for part in parts:
        out.write(part)


def _once(target: Target) -> Once:
    return Once(target.part.field, is_image=bool(target.sources[0].within))


def _is_wanted(member: Member, target: Target) -> bool:
    """All but a Kitfile that somebody copied into an image: no part has it, as the ModelKit itself does."""
    return member.path != "Kitfile" or not target.sources[0].within or target.part.path == "Kitfile"


def _told_size(layer: KitLayer) -> int | None:
    """The uncompressed bytes of a compressed raw layer, where its annotation tells; 0 for archives, which have none."""
    if layer.form is Format.TAR:
        return 0
    size = raw_metadata(layer.desc).get("size")
    return size if isinstance(size, int) and size >= 0 else None


def _packed(target: Target, record: LayerRecord, path: str, mode: int, size: int) -> PackedLayer:
    planned = PlannedLayer(target.part, target.form, target.codec, frozenset())
    if target.form is Format.TAR:
        return PackedLayer(planned, record, family=target.family)
    file = path if path != target.part.path else ""
    return PackedLayer(planned, record, mode=mode, file_size=size, file=file, family=target.family)
