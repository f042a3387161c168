"""A ModelKit as it is stored: manifest, Kitfile, and which layer belongs to which part."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kitops.errors import InvalidValueError
from kitops.formats import modelpack
from kitops.formats.config import Config
from kitops.formats.layertypes import LayerType
from kitops.formats.parts import Kind, Part, list_parts
from kitops.formats.shape import Shape, shape_of
from kitops.kitfile.schema import clean_path
from kitops.oci import gojson, mediatype
from kitops.oci.annotations import FILE_PATH, KITFILE, LAYER_SUBTYPE
from kitops.oci.descriptor import expect_list, expect_map
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.content.protocols import Source
    from kitops.kitfile.schema import Kitfile
    from kitops.layers.codec import Codec
    from kitops.layers.write import Format
    from kitops.oci.descriptor import Descriptor


@dataclass(frozen=True, slots=True)
class KitLayer:
    """One layer of a ModelKit.

    Args:
        desc: the blob.
        form: tar or raw.
        codec: its compression.
        kind: what it is; None in very old kits.
        path: the path that it was packed from, or "" where that is not known.
        part: the part of the Kitfile that it belongs to; None where no part fits.
        base: the directory that a tar layer's names are relative to: the context, but in kits of 2024 the directory
            of the path.
        within: the only directory of a tar layer that belongs to the kit, names relative to it; "" for all of it.
    """

    desc: Descriptor
    form: Format
    codec: Codec
    kind: Kind | None
    path: str
    part: Part | None
    base: str = ""
    within: str = ""

    @property
    def label(self) -> str:
        """What to call it in front of people: the path, else the digest's beginning."""
        return self.path or self.desc.digest.short


@dataclass(frozen=True, slots=True)
class ModelKit:
    """A manifest that was understood.

    Args:
        desc: of the manifest.
        manifest: itself.
        kitfile: its own, or what was made from what is known.
        layers: those that hold files.
        shape: its format.
        is_authored: whether somebody wrote the Kitfile; else it was made here.
    """

    desc: Descriptor
    manifest: Manifest
    kitfile: Kitfile
    layers: tuple[KitLayer, ...]
    shape: Shape = Shape.MODELKIT
    is_authored: bool = True

    @property
    def is_modelpack(self) -> bool:
        return self.shape is Shape.MODELPACK

    @property
    def size(self) -> int:
        """Bytes of all layers, as stored."""
        return sum(layer.desc.size for layer in self.layers)

    @property
    def author(self) -> str:
        """The first author, or ""."""
        return self.kitfile.package.authors[0] if self.kitfile.package.authors else ""


def is_model_artifact(manifest: Manifest) -> bool:
    """Whether ``manifest`` can be read as a ModelKit, and does not only belong to another one, as a signature does."""
    shape = shape_of(manifest)
    return shape is not None and (manifest.subject is None or shape in (Shape.MODELKIT, Shape.MODELPACK))


def read_modelkit(source: Source, desc: Descriptor) -> ModelKit:
    """Fetch manifest and config of ``desc`` from ``source`` and understand them; of an index, those of one platform.

    Raises:
        InvalidValueError: it is not a ModelKit.
        IntegrityError: a blob is not what its descriptor says.
    """
    if desc.media_type in mediatype.INDEXES:
        desc = _pick_platform(source.fetch(desc), desc)
    manifest = Manifest.parse(source.fetch(desc), f"manifest {desc.digest}")
    shape = shape_of(manifest)
    if shape is None:
        found = manifest.artifact_type or manifest.config.media_type
        raise InvalidValueError(
            f"{desc.digest} is not a ModelKit: it is {found!r}, and no layer says what its file is called",
            hint="`kit copy`, `kit pull` and `kit push` move artifacts of any type",
        )
    return understand(desc, manifest, fetch_config(source, manifest))


def _pick_platform(raw: bytes, desc: Descriptor) -> Descriptor:
    """The manifest for Linux on x86-64, else the first: files of a model are the same on every machine.

    Raises:
        InvalidValueError: the index is not one of platforms.
    """
    what = f"index {desc.digest}"
    index = Index.parse(raw, what)
    table = expect_map(gojson.loads(raw, what), what)
    platforms = [expect_map(item, what).get("platform") for item in expect_list(table.get("manifests"), what)]
    found = [
        (platform, child)
        for platform, child in zip(platforms, index.manifests, strict=True)
        if child.media_type in mediatype.MANIFESTS
        and (isinstance(platform, dict) or len(platforms) == 1)
        and (not isinstance(platform, dict) or platform.get("os") != "unknown")  # what BuildKit attests
    ]
    if not found:
        raise InvalidValueError(f"{desc.digest} is an index of several artifacts, not a ModelKit")
    return next(
        (
            child
            for platform, child in found
            if isinstance(platform, dict) and (platform.get("os"), platform.get("architecture")) == ("linux", "amd64")
        ),
        found[0][1],
    )


def fetch_config(source: Source, manifest: Manifest) -> bytes:
    """The config as :func:`understand` wants it: that of a plain artifact may be anything, and is not looked at."""
    return b"" if shape_of(manifest) is Shape.ARTIFACT else source.fetch(manifest.config)


def understand(desc: Descriptor, manifest: Manifest, config: bytes) -> ModelKit:
    """Match the layers of ``manifest`` with the parts of its Kitfile. Pure.

    Raises:
        InvalidValueError: the config, or the Kitfile in the annotations, does not parse.
    """
    what = f"config of {desc.digest}"
    shape = shape_of(manifest) or Shape.MODELKIT
    if shape not in (Shape.MODELKIT, Shape.MODELPACK):
        return _understand_foreign(desc, manifest, shape, config, what)
    is_modelpack = shape is Shape.MODELPACK
    text = manifest.annotations.get(KITFILE)
    if not is_modelpack:
        known = Config.parse(config, what)
    elif text is not None:
        known = Config.parse(text, f"annotation {KITFILE} of {desc.digest}")
    else:
        known = Config(modelpack.make_kitfile(manifest, config, what), {})
    layers = _match(manifest.layers, known, is_modelpack=is_modelpack)
    return ModelKit(desc, manifest, known.kitfile, layers, shape, not is_modelpack or text is not None)


def _understand_foreign(desc: Descriptor, manifest: Manifest, shape: Shape, config: bytes, what: str) -> ModelKit:
    """An artifact of another tool: the layers say which file they are, or an image's label which part."""
    if shape is Shape.ARTIFACT:
        from kitops.formats.plain import read_artifact  # noqa: PLC0415 - ModelKits do without other tools' formats

        named = read_artifact(manifest)
    else:
        from kitops.formats.docker import read_docker  # noqa: PLC0415 - as above
        from kitops.formats.image import read_image  # noqa: PLC0415 - as above
        from kitops.formats.ollama import read_ollama  # noqa: PLC0415 - as above

        reader = {Shape.DOCKER: read_docker, Shape.OLLAMA: read_ollama, Shape.IMAGE: read_image}[shape]
        named = reader(manifest, config, what)
    parts = list_parts(named.kitfile)
    layers = []
    for layer in named.layers:
        candidates = [part for part in parts if layer.kind in (None, part.kind)]
        path = clean_path(layer.path) if layer.path else ""
        part = _pick_by_path(candidates, path or ".")
        kind = layer.kind or (part.kind if part else None)
        layers.append(KitLayer(layer.desc, layer.form, layer.codec, kind, path, part, layer.base, layer.within))
    return ModelKit(desc, manifest, named.kitfile, tuple(layers), shape, named.is_authored)


_ALSO: Final[Mapping[Kind | None, tuple[Kind, ...]]] = {
    Kind.CODE: (Kind.CODE, Kind.MCP_SERVER),
    Kind.MODEL: (Kind.MODEL, Kind.MODEL_PART),
}
"""The kinds that a ModelPack type stands for: it has none for bundles, and a Kitfile has one model."""


def _match(layers: Sequence[Descriptor], known: Config, *, is_modelpack: bool) -> tuple[KitLayer, ...]:
    waiting: dict[Kind | None, list[Part]] = defaultdict(list)
    for part in list_parts(known.kitfile):
        waiting[part.kind].append(part)
    return tuple(_match_one(desc, known, waiting, is_modelpack=is_modelpack) for desc in layers)


def _match_one(
    desc: Descriptor, known: Config, waiting: Mapping[Kind | None, list[Part]], *, is_modelpack: bool
) -> KitLayer:
    subtype = desc.annotations.get(LAYER_SUBTYPE, "")
    found = LayerType.parse(desc.media_type, subtype=subtype)
    if found is None:
        raise InvalidValueError(f"layer {desc.digest} has media type {desc.media_type!r}, which is no ModelKit layer")
    path = modelpack.file_path(desc) if is_modelpack else desc.annotations.get(FILE_PATH, "")
    kind = found.kind
    if is_modelpack and path:
        kinds = _ALSO.get(kind, (kind,))
        part = _pick_by_path([part for one in kinds for part in waiting[one]], path)
        kind = part.kind if part is not None else kind
    else:
        candidates = waiting[kind] if kind else [part for parts in waiting.values() for part in parts]
        part = _pick(candidates, desc, path, known)
    path = path or (part.path if part else "")
    if part is not None and part.path == path:
        waiting[part.kind].remove(part)
    base = "" if known.digests or is_modelpack else path.rpartition("/")[0]
    return KitLayer(desc, found.format, found.codec, kind, path, part, base)


def _pick_by_path(candidates: Sequence[Part], path: str) -> Part | None:
    """The part with this path, else the deepest one above it: a directory may be spread over one layer a file."""
    above = [part for part in candidates if part.path in (path, ".") or path.startswith(f"{part.path}/")]
    return max(above, key=lambda part: (part.path == path, part.path != ".", len(part.path)), default=None)


def _pick(candidates: Sequence[Part], desc: Descriptor, path: str, known: Config) -> Part | None:
    """By digest and path where the config tells digests, else (kits of 2024) the next in order."""
    matching = [part for part in candidates if part in known.digests and known.digests[part].digest == desc.digest]
    for part in matching:
        if part.path == path:
            return part
    if matching:
        return matching[0]
    unknown = [part for part in candidates if part not in known.digests]
    return next((part for part in unknown if path and part.path == path), unknown[0] if unknown else None)
