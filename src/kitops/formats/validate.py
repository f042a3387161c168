"""Whether a ModelPack artifact is what the specification says: stricter than the specification's own validator.

That one looks at the config alone. This one also checks the manifest, the layers' types and annotations, that there is
one diff ID a layer and, given the blobs, that each is true. Every problem is told, with its place.
Source: model-spec, ``docs/spec.md``, ``docs/config.md``, ``docs/annotations.md``, ``schema/config-schema.json``.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError, KitError
from kitops.formats.config import Config
from kitops.formats.grammar import is_time
from kitops.formats.layertypes import MODELPACK_ARTIFACTS, MODELPACK_CONFIGS, LayerType
from kitops.formats.modelpack_fields import CONFIG, DESCRIPTOR, MODELFS, Violation, check_object
from kitops.kitfile.schema import clean_path
from kitops.layers.codec import PIECE, decompress
from kitops.layers.untar import PieceReader, read_members
from kitops.layers.write import Format
from kitops.oci import gojson, mediatype
from kitops.oci.annotations import FILE_METADATA, FILE_PATH, FILE_UNTESTED, KITFILE, TITLE
from kitops.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from kitops.content.protocols import Reader, Run
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.gojson import Json
    from kitops.oci.manifest import Manifest

_LAYER: Final = re.compile(
    r"application/vnd\.cncf\.model\.(?:weight|weight\.config|doc|code|dataset)\.v1\.(?:raw|tar|tar\+gzip|tar\+zstd)",
    re.ASCII,
)
_TYPE_FLAGS: Final = frozenset({0, 2, 5, ord("0"), ord("2"), ord("5")})
"""A file, a link, a directory: as modctl writes them, and as letters of tar as others do."""


def validate_modelpack(manifest: Manifest, config: bytes) -> tuple[Violation, ...]:
    """Everything that is wrong with a manifest and its config blob; empty when nothing is. Pure."""
    violations = [*_check_manifest(manifest), *_check_config(config, manifest)]
    return tuple(dict.fromkeys(violations))


def validate_layers(
    manifest: Manifest, config: bytes, open_blob: Callable[[Descriptor], AbstractContextManager[Reader]], run: Run
) -> tuple[Violation, ...]:
    """Whether each layer's diff ID is the digest of its content, and its content what its type says.

    Args:
        manifest: names the layers.
        config: has the diff IDs.
        open_blob: gives the bytes of a layer, verified.
        run: watched for the end.
    """
    told = _diff_ids(config)
    found: list[Violation] = []
    for number, desc in enumerate(manifest.layers):
        where = f"layers[{number}]"
        kind = LayerType.parse(desc.media_type)
        if kind is None or number >= len(told):
            continue  # told by validate_modelpack
        try:
            with open_blob(desc) as reader:
                digest, size = _digest_content(reader, kind, str(desc.digest), run)
        except KitError as error:
            found.append(Violation(where, error.message))
            continue
        if str(digest) != told[number]:
            found.append(Violation(f"config.modelfs.diffIds[{number}]", f"is {told[number]}, the content has {digest}"))
        if kind.format is Format.RAW and (promised := _metadata(desc).get("size", size)) != size:
            found.append(Violation(f"{where}.annotations", f"{FILE_METADATA}: size is {promised}, the file has {size}"))
    return tuple(found)


# --- the manifest


def _check_manifest(manifest: Manifest) -> Iterator[Violation]:
    table = gojson.loads(manifest.raw, "manifest")
    said = table.get("mediaType") if isinstance(table, dict) else None
    if said != mediatype.MANIFEST:
        yield Violation("mediaType", f"must be {mediatype.MANIFEST}, is {said!r}")
    if manifest.artifact_type != MODELPACK_ARTIFACTS[0]:
        yield Violation("artifactType", f"must be {MODELPACK_ARTIFACTS[0]}, is {manifest.artifact_type!r}")
    if manifest.config.media_type != MODELPACK_CONFIGS[0]:
        yield Violation("config.mediaType", f"must be {MODELPACK_CONFIGS[0]}, is {manifest.config.media_type!r}")
    if not manifest.layers:
        yield Violation("layers", "there must be one at least")
    taken: dict[str, int] = {}
    for number, desc in enumerate(manifest.layers):
        yield from _check_layer(f"layers[{number}]", desc)
        path = desc.annotations.get(FILE_PATH)
        if path is None or not desc.media_type.endswith(".raw"):
            continue
        other = taken.setdefault(path, number)
        if manifest.layers[other].digest != desc.digest:
            yield Violation(f"layers[{number}].annotations", f"{FILE_PATH}: layers[{other}] is another {path!r}")
    if (kitfile := manifest.annotations.get(KITFILE)) is not None:
        try:
            Config.parse(kitfile, KITFILE)
        except InvalidValueError as error:
            yield Violation("annotations", error.message)


def _check_layer(where: str, desc: Descriptor) -> Iterator[Violation]:
    if not _LAYER.fullmatch(desc.media_type):
        yield Violation(f"{where}.mediaType", f"{desc.media_type!r} is none of the specification")
    where, known = f"{where}.annotations", desc.annotations
    path, title = known.get(FILE_PATH), known.get(TITLE)
    is_raw = desc.media_type.endswith(".raw")
    if path is None:
        if is_raw:
            yield Violation(where, f"{FILE_PATH} is missing: a raw layer has no other name")
    elif not _is_path(path):
        yield Violation(where, f"{FILE_PATH}: {path!r} is not a clean path below the root")
    if None not in (path, title) and path != title:
        yield Violation(where, f"{TITLE} is {title!r}, {FILE_PATH} is {path!r}")
    if known.get(FILE_UNTESTED) not in (None, "true", "false"):
        yield Violation(where, f"{FILE_UNTESTED}: {known[FILE_UNTESTED]!r} is neither 'true' nor 'false'")
    if FILE_METADATA in known:
        size = desc.size if is_raw else None
        for problem in _check_metadata(known[FILE_METADATA], path, size):
            yield Violation(where, f"{FILE_METADATA}: {problem}")


def _check_metadata(text: str, path: str | None, size: int | None) -> Iterator[str]:
    """What is wrong with the metadata of a file; ``size`` is that of the layer where it must be the file's."""
    try:
        table = gojson.loads(text, "it")
    except InvalidValueError as error:
        yield error.message
        return
    if not isinstance(table, dict):
        yield "it is not an object"
        return
    limits = {"mode": 1 << 32, "uid": 1 << 32, "gid": 1 << 32, "size": 1 << 63, "typeflag": 1 << 8}
    for key in sorted(table.keys() ^ {"name", "mtime", *limits}):
        yield f"{key!r} is {'not known' if key in table else 'missing'}"
    for key, limit in limits.items():
        value = table.get(key, 0)
        if type(value) is not int or not 0 <= value < limit:
            yield f"{key} is not a whole number below {limit}"
    if (flag := table.get("typeflag", 0)) not in _TYPE_FLAGS:
        yield f"typeflag {flag!r} is neither file nor directory nor link"
    name, mtime = table.get("name", ""), table.get("mtime", "")
    if not isinstance(mtime, str) or ("mtime" in table and not is_time(mtime)):
        yield f"mtime {mtime!r} is not a time of RFC 3339"
    if not isinstance(name, str) or (path is not None and name not in (path, path.rpartition("/")[2])):
        yield f"name {name!r} is not that of {path!r}"
    if size is not None and table.get("size", size) != size:
        yield f"size is {table['size']!r}, the layer has {size}"


def _is_path(path: str) -> bool:
    """Whether it is relative, in its shortest form, and does not lead out."""
    is_below = path != ".." and not path.startswith(("/", "../"))
    return bool(path) and "\0" not in path and clean_path(path) == path and is_below


# --- the config


def _check_config(config: bytes, manifest: Manifest) -> Iterator[Violation]:
    try:
        table = gojson.loads(config, "config")
    except InvalidValueError as error:
        yield Violation("config", error.message)
        return
    if manifest.config.digest != Digest.of(config) or manifest.config.size != len(config):
        yield Violation("config", f"the blob is not {manifest.config.digest} of {manifest.config.size} bytes")
    sections = {"descriptor": DESCRIPTOR, "config": CONFIG, "modelfs": MODELFS}
    if not isinstance(table, dict):
        yield Violation("config", "it is not an object")
        return
    for key in sorted(table.keys() - sections.keys()):
        yield Violation(f"config.{key}", "is not known")
    for key, fields in sections.items():
        if key not in table:
            yield Violation(f"config.{key}", "is missing")
        else:
            yield from check_object(f"config.{key}", table[key], fields)
    yield from _check_diff_ids(table.get("modelfs"), manifest)


def _check_diff_ids(modelfs: Json, manifest: Manifest) -> Iterator[Violation]:
    where = "config.modelfs.diffIds"
    table = modelfs if isinstance(modelfs, dict) else {}
    for key in ("type", "diffIds"):
        if isinstance(modelfs, dict) and key not in table:
            yield Violation(f"config.modelfs.{key}", "is missing")
    told = table.get("diffIds")
    if not isinstance(told, list):
        return
    if len(told) != len(manifest.layers):
        yield Violation(where, f"there are {len(told)}, and {len(manifest.layers)} layers")
    for number, (diff_id, desc) in enumerate(zip(told, manifest.layers, strict=False)):
        if desc.media_type.endswith((".raw", ".tar")) and diff_id != str(desc.digest):
            yield Violation(f"{where}[{number}]", f"is {diff_id!r}, the layer is uncompressed and has {desc.digest}")


# --- the layers


def _diff_ids(config: bytes) -> list[Json]:
    try:
        table = gojson.loads(config, "config")
    except InvalidValueError:
        return []
    modelfs = table.get("modelfs") if isinstance(table, dict) else None
    found = modelfs.get("diffIds") if isinstance(modelfs, dict) else None
    return found if isinstance(found, list) else []


def _metadata(desc: Descriptor) -> dict[str, Json]:
    try:
        table = json.loads(desc.annotations.get(FILE_METADATA, "{}"))
    except (ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _digest_content(reader: Reader, kind: LayerType, what: str, run: Run) -> tuple[Digest, int]:
    """Digest and size of the uncompressed content; an archive is read to its end.

    Raises:
        IntegrityError: it is not what its type says.
        TrustError: an archive holds something unsafe.
    """
    hasher = hashlib.sha256()
    size = 0

    def hashed() -> Iterator[memoryview]:
        nonlocal size
        for piece in decompress(_read(reader, run), kind.codec, what):
            hasher.update(piece)
            size += len(piece)
            yield piece

    pieces = PieceReader(hashed(), what)
    if kind.format is Format.TAR:
        for member in read_members(pieces):
            if not member.is_dir:
                pieces.skip(member.size)
    pieces.drain()
    return Digest.from_hasher(hasher), size


def _read(reader: Reader, run: Run) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(PIECE))
    while count := reader.readinto(buffer):
        run.cancel.check()
        yield buffer[:count]
