"""``kit convert``: an artifact becomes a ModelKit, a ModelPack artifact, or an image; blobs stay where they can.

In the store, or with ``remote`` inside one registry, where nothing but a config and a manifest is sent.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from kitops.content.copy import BytesReader
from kitops.content.events import Message, Planned
from kitops.content.parallel import run_all
from kitops.errors import InvalidValueError, printable
from kitops.formats.build import Built, build_modelkit, build_modelpack
from kitops.formats.config import Config
from kitops.formats.conversion import Wishes, plan_conversion, suffixed_tag
from kitops.formats.image import Platform, build_image
from kitops.formats.layertypes import KITOPS_CONFIG, MODELPACK_CONFIGS
from kitops.formats.modelkit import fetch_config
from kitops.formats.shape import Shape
from kitops.layers.codec import Codec
from kitops.layers.write import Format
from kitops.oci.annotations import KITFILE
from kitops.ops.compose import Composer, Made
from kitops.ops.locate import check_name, check_remote, complete, locate
from kitops.ops.pack import keep
from kitops.ops.parents import parent_reference
from kitops.ops.reading import check_here, read_kit
from kitops.weights.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.formats.build import PackedLayer
    from kitops.formats.conversion import Target
    from kitops.formats.modelkit import ModelKit
    from kitops.formats.modelpack_config import Told
    from kitops.oci.descriptor import Descriptor
    from kitops.oci.digest import Digest
    from kitops.oci.reference import Reference
    from kitops.ops.locate import Located
    from kitops.ops.place import Place
    from kitops.registry.repository import Repository

Kind = Literal["modelkit", "modelpack", "image"]
PLATFORM: Final = "linux/amd64"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """How to convert.

    Args:
        destination: what the result is called; None: as the source, with ``-modelkit``, ``-modelpack`` or ``-image``
            behind the tag.
        layer_format: of the layers; None keeps what each is.
        compression: of the layers; None keeps what each has.
        platform: of an image, ``os/architecture`` or ``os/architecture/variant``.
        headers: read the headers of the weights, so that the config of a ModelPack artifact tells what they say. None
            reads them where that is some KiB of each file: in layers that are not compressed. The config of another
            ModelPack artifact is believed instead.
        remote: convert in the registry; nothing is pulled.
    """

    destination: Reference | None = None
    layer_format: Literal["tar", "raw"] | None = None
    compression: Literal["none", "gzip", "gzip-fastest", "zstd"] | None = None
    platform: str = PLATFORM
    headers: bool | None = None
    remote: bool = False


@dataclass(frozen=True, slots=True)
class Converted:
    """What a conversion gave.

    Args:
        source: what it was.
        desc: what it became.
        reference: its name.
        kitfile_made: whether the source had no Kitfile.
        reused: layers that stayed as they were.
        written: layers that were made.
        new_size: bytes of layers that the store did not have.
    """

    source: Descriptor
    desc: Descriptor
    reference: Reference
    kitfile_made: bool = field(default=False)
    reused: int = 0
    written: int = 0
    new_size: int = 0


def convert(place: Place, ref: Reference, to: Kind, options: ConvertOptions | None = None) -> Converted:
    """Convert ``ref`` of the store, or with ``remote`` of its registry.

    Raises:
        NotFoundError: there is no such artifact, or a filtered pull left some of it out.
        InvalidValueError: it cannot become that: layers have no part, an image would lack its parent's model, or the
            layers would have to be made again in a registry.
        PackError: the format cannot hold it.
        IntegrityError: a layer is damaged.
        FileSystemError: the store cannot be written.
    """
    options = options or ConvertOptions()
    ref = complete(ref, place.run)
    shape = Shape(to)
    target = _name(ref, shape, options)
    platform = _platform(options.platform)
    with locate(place, ref, "remote" if options.remote else "local") as located:
        kit = read_kit(located, place.run)
        _check_parent(kit, shape, place)
        plan = plan_conversion(kit, shape, _wishes(options))
        work = _Work(place, located, kit, shape, plan, target, platform, options)
        return work.convert_remote() if options.remote else work.convert_local()


@dataclass(frozen=True, slots=True)
class _Work:
    """One conversion that is known to be possible."""

    place: Place
    located: Located
    kit: ModelKit
    shape: Shape
    plan: Sequence[Target]
    target: Reference
    platform: Platform
    options: ConvertOptions

    @property
    def is_same(self) -> bool:
        """Whether nothing would change: then the manifest stays as it is, too. Older types are not the same."""
        is_current = self.kit.manifest.config.media_type in (KITOPS_CONFIG, MODELPACK_CONFIGS[0])
        return self.kit.shape is self.shape and is_current and all(target.is_reused for target in self.plan)

    def convert_local(self) -> Converted:
        place, run = self.place, self.place.run
        check_here(self.located.source, self.kit.manifest.layers)
        with place.store.lease("convert") as lease:
            if self.is_same:
                repository = place.store.repository(self.target, lease)
                repository.exists(self.kit.desc)  # holds it, and all below it
                repository.tag(self.kit.desc, _tag(self.target))
                return self._result(self.kit.desc, [])
            run.observer(Planned("convert", len(self.plan), sum(target.size for target in self.plan)))
            composer = Composer(place.store, self.located, lease, self._diff_ids(), self.shape is Shape.IMAGE)
            order = sorted(self.plan, key=lambda target: -target.size)
            jobs = [partial(composer.make, target) for target in order]
            by_target = dict(zip(map(id, order), run_all(jobs, run, workers=os.cpu_count() or 1), strict=True))
            made = [one for target in self.plan for one in by_target[id(target)]]
            built = self._build([one.layer for one in made])
            return self._result(keep(place, built, [self.target], lease), made)

    def convert_remote(self) -> Converted:
        check_remote(self.target)
        source = self.located.ref
        if self.target.registry != source.registry:
            raise InvalidValueError(
                f"{self.target} is in another registry than {source}",
                hint=self._by_hand,
            )
        again = next((target for target in self.plan if not target.is_reused), None)
        if again is not None:
            raise InvalidValueError(
                f"layer {again.sources[0].label} of {source} would have to be made again, which a registry cannot do",
                hint=self._by_hand,
            )
        with ExitStack() as stack:
            sink = stack.enter_context(self.place.registry(self.target))
            for layer in self.kit.manifest.layers if self.is_same else [one.sources[0].desc for one in self.plan]:
                self._have(sink, layer)
            if self.is_same:
                self._have(sink, self.kit.manifest.config)
                built = Built(self.kit.manifest, b"")
            else:
                lease = stack.enter_context(self.place.store.lease("read", optional=True))
                composer = Composer(self.place.store, self.located, lease, self._diff_ids(), is_image=False)
                built = self._build([composer.reuse(target, self.place.run) for target in self.plan])
                _put(sink, built.manifest.config, built.config)
            desc = built.manifest.descriptor if not self.is_same else self.kit.desc
            _put(sink, desc, built.manifest.raw)
            sink.tag(desc, _tag(self.target))
        return self._result(desc, [])

    def _have(self, sink: Repository, desc: Descriptor) -> None:
        """See to it that ``sink`` has a blob, by taking it over from where the source is."""
        source = self.located.ref
        if not sink.exists(desc) and not sink.mount_from(desc, source.locator):
            raise InvalidValueError(
                f"{source.registry} does not hand blob {desc.digest} over from one repository to another",
                hint=self._by_hand,
            )

    @property
    def _by_hand(self) -> str:
        """What does it where a registry cannot."""
        source, target = self.located.ref, self.target
        return f"kit pull {source}; kit convert {source} {target} --to {self.shape.value}; kit push {target}"

    def _build(self, layers: Sequence[PackedLayer]) -> Built:
        kit = self.kit
        extra = {key: value for key, value in kit.manifest.annotations.items() if key != KITFILE}
        told = self._read_told() if kit.is_modelpack else None
        if told is not None and self.shape is not Shape.MODELPACK:
            extra = told.annotations | extra
        if self.shape is Shape.MODELKIT:
            return build_modelkit(kit.kitfile, layers, extra)
        if self.shape is Shape.MODELPACK:
            return build_modelpack(kit.kitfile, layers, extra, self._facts(), older=told)
        rows = [(layer.path, layer.planned.codec, layer.record) for layer in layers]
        return build_image(kit.kitfile, rows, extra, self.platform)

    def _facts(self) -> Facts:
        """What the weights say, where their headers are to be read; the config of a ModelPack artifact says it too."""
        headers = self.options.headers
        if headers is False or (headers is None and self.kit.is_modelpack):
            return Facts()
        from kitops.ops.model_facts import read_kit_facts  # noqa: PLC0415 - only ModelPack has such facts

        return read_kit_facts(self.place, self.located, self.kit, compressed=headers is True)

    def _read_told(self) -> Told:
        """What the config of a ModelPack artifact says; what is not valid in it is left out, and told."""
        from kitops.formats.modelpack_config import read_config  # noqa: PLC0415 - other formats have none

        told = read_config(self.located.source.fetch(self.kit.manifest.config), f"config of {self.located.ref}")
        if self.shape is Shape.MODELPACK:
            for violation in told.left_out:
                text = f"left out, as it is not valid: {printable(str(violation))}"
                self.place.run.observer(Message("warning", text))
        return told

    def _diff_ids(self) -> Mapping[Digest, Digest]:
        """The diff IDs of layers that the Kitfile's JSON tells."""
        manifest = self.kit.manifest
        if self.kit.shape is Shape.MODELKIT:
            text: bytes | str = fetch_config(self.located.source, manifest)
        else:
            text = manifest.annotations.get(KITFILE, "{}")
        found = Config.parse(text, "config").digests.values()
        return {one.digest: one.diff_id for one in found}

    def _result(self, desc: Descriptor, made: Sequence[Made]) -> Converted:
        new = [one.layer.record.size for one in made if one.is_new]
        reused = sum(target.is_reused for target in self.plan)
        written = len(made) - reused if made else 0
        is_made = not self.kit.is_authored
        return Converted(self.kit.desc, desc, self.target, is_made, reused, written, sum(new))


def _name(ref: Reference, shape: Shape, options: ConvertOptions) -> Reference:
    target = options.destination
    if target is None:
        if ref.tag is None or ref.digest is not None:
            raise InvalidValueError(f"{ref} has no tag that the result's could be made of", hint="name a DESTINATION")
        return ref.with_tag(suffixed_tag(ref.tag, shape))
    check_name(target)
    return target if target.tag is not None else target.with_tag(suffixed_tag(ref.tag or "latest", shape))


def _tag(ref: Reference) -> str:
    return ref.tag or "latest"


def _wishes(options: ConvertOptions) -> Wishes:
    return Wishes(
        Format(options.layer_format) if options.layer_format else None,
        Codec(options.compression) if options.compression else None,
    )


def _check_parent(kit: ModelKit, shape: Shape, place: Place) -> None:
    """A parent stays where it is, but an image must have all that runs."""
    parent = parent_reference(kit.kitfile)
    if parent is None:
        return
    if shape is Shape.IMAGE:
        raise InvalidValueError(
            f"model.path refers to {parent}: an image would have no model",
            hint=f"unpack it, which brings the model of {parent}, and pack it with a model.path of its own",
        )
    place.run.observer(Message("info", f"the model stays in {parent}, which model.path refers to"))


def _put(sink: Repository, desc: Descriptor, content: bytes) -> None:
    if not sink.exists(desc):
        sink.put(desc, BytesReader(content), lambda _: None)


def _platform(text: str) -> Platform:
    system, _, machine = text.partition("/")
    architecture, slash, variant = machine.partition("/")
    if not (system and architecture) or bool(slash) is not bool(variant) or "/" in variant:
        raise InvalidValueError(f"{text!r} is not a platform", hint="a platform looks like linux/amd64 or linux/arm/v7")
    return Platform(system, architecture, variant)
