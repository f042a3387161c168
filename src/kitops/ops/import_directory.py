"""``kit import`` of a plain directory: ``kit init`` and ``kit pack`` in one, and where it came from."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import TYPE_CHECKING

from kitops.content.parallel import run_all
from kitops.errors import FileSystemError, InvalidValueError
from kitops.formats.modelkit import read_modelkit
from kitops.importers.directory import open_directory, origin_of
from kitops.importers.provenance import ImportedFile
from kitops.kitfile.dump import dump
from kitops.kitfile.parse import NAMES
from kitops.layers.codec import Codec
from kitops.layers.members import list_files
from kitops.layers.write import Format
from kitops.oci.reference import UNNAMED
from kitops.ops.attach import say_origin
from kitops.ops.describe_tree import describe_tree
from kitops.ops.import_plan import Imported, ImportOptions, default_reference, describe_kitfile, now, tell_import
from kitops.ops.import_to import send_origin
from kitops.ops.pack import PackOptions, pack
from kitops.ops.pack_jobs import open_packing
from kitops.ops.pack_to import pack_to
from kitops.ops.reuse import BUFFER
from kitops.store.members import UNKNOWN, LayerFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kitops.content.protocols import Run
    from kitops.formats.modelkit import KitLayer
    from kitops.oci.gojson import Json
    from kitops.oci.reference import Reference
    from kitops.ops.pack import Packed
    from kitops.ops.place import Place
    from kitops.store import Store


def import_directory(
    place: Place, path: Path, options: ImportOptions | None = None, targets: Sequence[Reference] = ()
) -> Imported:
    """Pack a plain directory: with its Kitfile where it has one, else with a generated one.

    Args:
        place: takes it.
        path: the directory.
        options: as of :func:`kitops.ops.import_.import_`.
        targets: references of registries that it goes straight to, instead of the local store.

    Raises:
        InvalidValueError: filters are given, which a directory has in its ``.kitignore``.
        KitError: as :func:`kitops.ops.pack.pack`.
    """
    options = options or ImportOptions()
    if options.include or options.exclude or options.prefer:
        raise InvalidValueError(
            f"filters do not apply to the directory {path}", hint="name what is to be left out in its .kitignore"
        )
    started = now()
    text, asked = _choose_kitfile(place, path, options)
    origin = origin_of(path)
    references = options.references or (default_reference(origin),)
    packing = PackOptions(references=references, kitfile_text=text, symlinks=options.symlinks)
    packed = pack_to(place, path, targets, packing) if targets else pack(place, path, packing)
    files = _hash_files(place, path, packing) if targets else _list_files(place, packed)
    predicate = tell_import(origin, files, asked, options.version, started)
    if targets:
        send_origin(place, packed.desc, predicate, packed.references)
    else:
        with place.store.lease("import") as lease:
            say_origin(place, packed.desc, predicate, packed.references, lease)
    return Imported(
        packed.desc,
        packed.references,
        packed.kitfile,
        origin,
        predicate,
        size=packed.size,
        fetched_size=packed.new_size,
    )


def has_kitfile(path: Path) -> bool:
    """Whether a directory has a Kitfile, under any of its names."""
    return any((path / name).is_file() for name in NAMES)


def _choose_kitfile(place: Place, path: Path, options: ImportOptions) -> tuple[bytes | None, dict[str, Json]]:
    """The Kitfile's text, None for that of the directory; and where it is from, if it was not generated."""
    if options.kitfile_text is not None:
        return options.kitfile_text, describe_kitfile(options.kitfile_text, "given")
    if has_kitfile(path):
        return None, {}
    tree = open_directory(path, skip_links=options.symlinks == "skip")
    generated = dump(describe_tree(tree, tree.files, place.run, depth=options.depth))
    edited = options.edit(generated) if options.edit else generated
    return edited.encode(), {} if edited == generated else describe_kitfile(edited.encode(), "edited")


def _list_files(place: Place, packed: Packed) -> list[ImportedFile]:
    """The files that were packed, with their digests."""
    with place.store.lease("read", optional=True) as lease:
        lease.add(packed.desc.digest)
        kit = read_modelkit(place.store.repository(UNNAMED, lease), packed.desc)
        jobs = [partial(_read_layer, place.store, layer) for layer in kit.layers]
        found = run_all(jobs, place.run, workers=os.cpu_count() or 1)
    return [ImportedFile(file.path, file.size, {"sha256": file.sha256}) for files in found for file in files]


def _hash_files(place: Place, path: Path, options: PackOptions) -> list[ImportedFile]:
    """The files that were packed of a directory of which nothing is kept, with their digests."""

    def hash_one(name: str, size: int, source: bytes, run: Run) -> ImportedFile:
        hasher = hashlib.sha256()
        try:
            with open(source, "rb", buffering=0) as file:
                buffer = memoryview(bytearray(BUFFER))
                while count := file.readinto(buffer):
                    run.cancel.check()
                    hasher.update(buffer[:count])
        except OSError as error:
            raise FileSystemError.wrap(error, "reading", source) from error
        return ImportedFile(name, size, {"sha256": hasher.hexdigest()})

    with open_packing(place, path, options) as packing:
        entries = [entry for job in packing.jobs for entry in job.scan.entries if not entry.is_dir]
        jobs = [partial(hash_one, entry.name.decode(), entry.size, entry.source) for entry in entries]
        return run_all(jobs, place.run, workers=os.cpu_count() or 1)


def _read_layer(store: Store, layer: KitLayer, run: Run) -> Sequence[LayerFile]:
    """The files of a layer; one that was looked at before is not read again."""
    if layer.form is Format.RAW and layer.codec is Codec.NONE:
        return (LayerFile(layer.path, UNKNOWN, layer.desc.size, layer.desc.digest.encoded),)
    if known := store.members.read(layer.desc.digest):
        return known
    with store.blobs.open(layer.desc) as reader:
        what = f"layer {layer.label}"
        members = list_files(
            reader, layer.form, layer.codec, layer_path=layer.path, base=layer.base, what=what, run=run
        )
        files = [LayerFile(one.path, UNKNOWN, one.size, one.digest.encoded) for one in members]
    store.members.put(layer.desc.digest, files)
    return files
