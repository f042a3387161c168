"""A ModelKit as it is stored: manifest, Kitfile, and which layer belongs to which part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.errors import InvalidValueError
from kitops.formats import modelpack
from kitops.formats.config import Config
from kitops.formats.layertypes import LayerType
from kitops.formats.part_finder import PartFinder
from kitops.formats.shape import Shape, shape_of
from kitops.kitfile.schema import clean_path
from kitops.layers.write import Format
from kitops.oci import gojson, mediatype
from kitops.oci.annotations import FILE_PATH, KITFILE, LAYER_SUBTYPE
from kitops.oci.descriptor import expect_list, expect_map
from kitops.oci.index import Index
from kitops.oci.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kitops.content.protocols import Source
    from kitops.formats.parts import Kind, Part
    from kitops.kitfile.schema import Kitfile
    from kitops.layers.codec import Codec
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
        family: what its own type says that it is, in other formats: a Kitfile has one model, and all other weights are
            parts of it; None where only the Kitfile tells.
    """

    desc: Descriptor
    form: Format
    codec: Codec
    kind: Kind | None
    path: str
    part: Part | None
    base: str = ""
    within: str = ""
    family: Kind | None = None

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
        unknown: layers of a type that nobody knows here.
    """

    desc: Descriptor
    manifest: Manifest
    kitfile: Kitfile
    layers: tuple[KitLayer, ...]
    shape: Shape = Shape.MODELKIT
    is_authored: bool = True
    unknown: tuple[Descriptor, ...] = ()

    @property
    def is_modelpack(self) -> bool:
        return self.shape is Shape.MODELPACK

    @property
    def size(self) -> int:
        """Bytes of all layers, as stored."""
        return sum(layer.size for layer in self.manifest.layers)

    @property
    def author(self) -> str:
        """The first author, or ""."""
        return self.kitfile.package.authors[0] if self.kitfile.package.authors else ""


def newest_first(layers: Sequence[KitLayer]) -> Sequence[KitLayer]:
    """``layers`` so that the first that has a path is right: of an image the last layer wins."""
    return layers[::-1] if any(layer.within for layer in layers) else layers


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
    is_authored = shape is Shape.MODELKIT or KITFILE in manifest.annotations
    if shape is Shape.MODELKIT:
        known = Config.parse(config, what)
        found = list(_match(manifest.layers, known))
    else:
        if is_authored:
            known = Config.parse(manifest.annotations[KITFILE], f"annotation {KITFILE} of {desc.digest}")
        else:
            known = Config(modelpack.make_kitfile(manifest, config, what), {})
        found = list(_match_modelpack(manifest.layers, known, is_made=not is_authored))
    layers = tuple(layer for layer in found if isinstance(layer, KitLayer))
    unknown = tuple(layer for layer in found if not isinstance(layer, KitLayer))
    if unknown and not layers:
        raise InvalidValueError(
            f"layer {unknown[0].digest} has media type {unknown[0].media_type!r}, which is no ModelKit layer"
        )
    return ModelKit(desc, manifest, known.kitfile, layers, shape, is_authored, unknown)


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
    parts = PartFinder(named.kitfile)
    layers = []
    for layer in named.layers:
        path = clean_path(layer.path) if layer.path else ""
        part = parts.at_path(path or ".", layer.kind)
        kind = part.kind if part else layer.kind
        layers.append(
            KitLayer(layer.desc, layer.form, layer.codec, kind, path, part, layer.base, layer.within, layer.kind)
        )
    return ModelKit(desc, manifest, named.kitfile, tuple(layers), shape, named.is_authored)


def _match(layers: Sequence[Descriptor], known: Config) -> Iterator[KitLayer | Descriptor]:
    """The layers of a ModelKit with their parts; those of a type that nobody knows as they are."""
    parts = PartFinder(known.kitfile)
    for desc in layers:
        found = LayerType.parse(desc.media_type, subtype=desc.annotations.get(LAYER_SUBTYPE, ""))
        if found is None:
            yield desc
            continue
        path = desc.annotations.get(FILE_PATH, "")
        part = parts.in_order(desc, path, found.kind, known)
        path = path or (part.path if part else "")
        base = "" if known.digests else path.rpartition("/")[0]
        yield KitLayer(desc, found.format, found.codec, found.kind, path, part, base)


def _match_modelpack(layers: Sequence[Descriptor], known: Config, *, is_made: bool) -> Iterator[KitLayer | Descriptor]:
    """The same of a ModelPack artifact. A Kitfile that ``is_made`` here has one part for archives without a path."""
    parts = PartFinder(known.kitfile)
    for desc, path in zip(layers, modelpack.layer_paths(layers), strict=True):
        found = LayerType.parse(desc.media_type, subtype=desc.annotations.get(LAYER_SUBTYPE, ""))
        if found is None:
            yield desc
        elif path:
            part = parts.at_path(path, found.kind)
            kind = part.kind if part is not None else found.kind
            yield KitLayer(desc, found.format, found.codec, kind, path, part, family=found.kind)
        else:
            is_whole = is_made and found.format is Format.TAR
            part = parts.at_path(".", None) if is_whole else parts.in_order(desc, "", found.kind, known)
            kind = part.kind if part is not None else found.kind
            where = part.path if part else ""
            yield KitLayer(desc, found.format, found.codec, kind, where, part, family=found.kind)
