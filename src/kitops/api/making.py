"""Between projects and ModelKits: what is packed, imported, converted, unpacked and mended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kitops.api.settings import PathLike, Settings, make_place, parse_all
from kitops.errors import InvalidValueError
from kitops.oci.reference import Reference
from kitops.ops.choices import check_choice, list_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kitops.ops.convert import Converted
    from kitops.ops.export import Exported
    from kitops.ops.import_ import Imported
    from kitops.ops.init import Initialised
    from kitops.ops.pack import Packed
    from kitops.ops.repair import Repaired
    from kitops.ops.unpack import Unpacked
    from kitops.ops.unpack_skill import UnpackedSkills


def init(
    path: PathLike = ".",
    *,
    name: str = "",
    description: str = "",
    author: str = "",
    force: bool = False,
    output: PathLike | None = None,
    depth: int = 0,
) -> Initialised:
    """Write a Kitfile for the directory ``path``.

    Args:
        path: the directory.
        name: of the package.
        description: of the package.
        author: of the package.
        force: replace a Kitfile that is there.
        output: where to write instead of ``Kitfile`` in the directory.
        depth: directories deep that files are listed one by one; 0 chooses, -1 is all the way.
    """
    from kitops.ops.init import InitOptions  # noqa: PLC0415 - each verb costs what it needs
    from kitops.ops.init import init as work  # noqa: PLC0415 - as above

    target = None if output is None else Path(output)
    options = InitOptions(name=name, description=description, author=author, force=force, output=target, depth=depth)
    return work(Path(path), options)


def pack(
    path: PathLike = ".",
    *,
    tag: str | Sequence[str] | None = None,
    kitfile: PathLike | None = None,
    compression: Literal["none", "gzip", "gzip-fastest", "zstd"] = "none",
    layer_format: Literal["tar", "raw"] = "tar",
    modelpack: bool = False,
    symlinks: Literal["refuse", "follow", "skip"] = "refuse",
    cache: bool = True,
    annotations: Mapping[str, str] | None = None,
    remote_data: Literal["check", "skip", "pin", "pin-content"] = "check",
    push_to: str | Sequence[str] | None = None,
    keep: bool = False,
    settings: Settings | None = None,
) -> Packed:
    """Pack the directory ``path`` into the local store, or with ``push_to`` straight into registries.

    Args:
        path: the directory of the Kitfile.
        tag: what to call it: ``"team/model:v1"``, ``"team/model:v1,latest"``, or several of those.
        kitfile: a Kitfile elsewhere.
        compression: of the layers.
        layer_format: ``tar``, or ``raw``: every path is one file; ModelPack spreads directories over a layer a file.
        modelpack: write a ModelPack artifact.
        symlinks: refuse, follow or skip symbolic links.
        cache: believe the digest cache about files that did not change; without, every layer is written again.
        annotations: of the manifest, beyond what the format wants.
        remote_data: check remote datasets, skip that, or fill in missing hashes (by ETag, or by content).
        push_to: references of registries that it goes straight to, instead of ``tag``; nothing is kept here.
        keep: with ``push_to``, keep it in the local store too.
        settings: where and how.

    Raises:
        InvalidValueError: ``push_to`` beside ``tag``, or ``keep`` without it.
        KitError: see :func:`kitops.ops.pack.pack`.
    """
    from kitops.ops.pack import PackOptions  # noqa: PLC0415 - as above
    from kitops.ops.pack import pack as work  # noqa: PLC0415 - as above

    targets = parse_all(push_to)
    if (tag and targets) or (keep and not targets):
        raise InvalidValueError("push_to stands instead of tag, and keep beside push_to")
    options = PackOptions(
        references=targets if keep else parse_all(tag),
        kitfile_path=None if kitfile is None else Path(kitfile),
        compression=compression,
        layer_format=layer_format,
        modelpack=modelpack,
        symlinks=symlinks,
        cache=cache,
        annotations=annotations or {},
        remote_data=remote_data,
    )
    place, context = make_place(settings), Path(path)
    if not targets:
        return work(place, context, options)
    from kitops.ops.pack_to import pack_and_push, pack_to  # noqa: PLC0415 - as above

    return pack_and_push(place, context, options) if keep else pack_to(place, context, targets, options)


def import_(
    source: str,
    *,
    tag: str | Sequence[str] | None = None,
    revision: str = "",
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    prefer: str = "",
    kitfile: PathLike | None = None,
    depth: int = 0,
    token: str | None = None,
    tool: Literal["", "hf", "git"] = "",
    submodules: bool = False,
    symlinks: Literal["refuse", "follow", "skip"] = "refuse",
    to: str | Sequence[str] | None = None,
    settings: Settings | None = None,
) -> Imported:
    """Import a model or dataset from where it lives.

    Args:
        source: a repository of Hugging Face (``"org/model"``), the URL of a git repository, a URI of MLflow
            (``"models:/name/1"``), or a directory (``"./model"``).
        tag: what to call it; the source's own name without it.
        revision: a branch, tag or commit.
        include: globs, one of which a file's path must match.
        exclude: globs of files that are left out.
        prefer: a format of weights, ``"safetensors"``: the same weights in others are left out.
        kitfile: a Kitfile instead of the generated one.
        depth: directories deep that files are listed one by one in a generated Kitfile; 0 chooses, -1 is all the way.
        token: of the source; None leaves it to the source's own client and its login.
        tool: ``"git"`` clones a repository of Hugging Face.
        submodules: of git: take them in; they are refused otherwise.
        symlinks: of a directory: refuse, follow or skip symbolic links.
        to: references of registries that it goes straight to, instead of the local store.
        settings: where and how.

    Raises:
        KitError: see :func:`kitops.ops.import_source.import_source`.
    """
    from kitops import __version__  # noqa: PLC0415 - as below
    from kitops.importers.location import parse_location  # noqa: PLC0415 - as below
    from kitops.kitfile.parse import read_text  # noqa: PLC0415 - as above
    from kitops.ops.import_ import ImportOptions  # noqa: PLC0415 - as below
    from kitops.ops.import_source import import_source as work  # noqa: PLC0415 - each verb costs what it needs
    from kitops.ops.sources import SourceOptions  # noqa: PLC0415 - as above

    location = parse_location(source, hub=os.environ.get("HF_ENDPOINT", ""), tool=tool)
    options = ImportOptions(
        references=parse_all(tag),
        kitfile_text=None if kitfile is None else read_text(Path(kitfile)),
        include=list_texts(include),
        exclude=list_texts(exclude),
        prefer=prefer,
        depth=depth,
        symlinks=symlinks,
        version=__version__,
    )
    reach = SourceOptions(revision=revision, token=token, submodules=submodules, user_agent=f"kitops/{__version__}")
    return work(make_place(settings), location, reach, options, parse_all(to))


def export_mlflow(
    ref: str,
    *,
    run: str = "",
    experiment: str = "",
    path: str = "",
    filters: str | Sequence[str] = (),
    settings: Settings | None = None,
) -> Exported:
    """Log the files of ``ref`` to a run of MLflow: ``run``, or a new one of ``experiment``, below ``path``.

    ``filters`` choose parts of it, as those of :func:`unpack`.
    """
    from kitops.formats.select import Filter  # noqa: PLC0415 - as above
    from kitops.ops.export import ExportOptions  # noqa: PLC0415 - as above
    from kitops.ops.export import export_mlflow as work  # noqa: PLC0415 - as above

    chosen = tuple(Filter.parse(text) for text in list_texts(filters))
    options = ExportOptions(run=run, experiment=experiment, path=path, filters=chosen)
    return work(make_place(settings), Reference.parse(ref), options)


def unpack(
    ref: str,
    path: PathLike = ".",
    *,
    filters: str | Sequence[str] = (),
    existing: Literal["refuse", "overwrite", "keep"] = "refuse",
    include_remote: bool = False,
    record: bool = True,
    settings: Settings | None = None,
) -> Unpacked:
    """Unpack ``ref`` (of the store, else of its registry) into the directory ``path``.

    Args:
        ref: what to unpack.
        path: where to; made where it is missing.
        filters: ``"model"``, ``"datasets:train"``: only these parts.
        existing: what to do with files that are there.
        include_remote: fetch remote datasets too.
        record: leave ``.kitops-unpacked.json``, which :func:`status` and :func:`verify` compare with.
        settings: where and how.

    Raises:
        KitError: see :func:`kitops.ops.unpack.unpack`.
    """
    from kitops.formats.select import Filter  # noqa: PLC0415 - as above
    from kitops.ops.unpack import UnpackOptions  # noqa: PLC0415 - as above
    from kitops.ops.unpack import unpack as work  # noqa: PLC0415 - as above

    wanted = tuple(Filter.parse(text) for text in list_texts(filters))
    options = UnpackOptions(existing=existing, filters=wanted, include_remote=include_remote, record=record)
    return work(make_place(settings), Reference.parse(ref), Path(path), options)


def unpack_skills(
    ref: str,
    agents: str | Sequence[str] = (),
    *,
    project: PathLike | None = None,
    filters: str | Sequence[str] = (),
    existing: Literal["refuse", "overwrite", "keep"] = "refuse",
    settings: Settings | None = None,
) -> UnpackedSkills:
    """Unpack the skills of ``ref`` (prompts with a ``SKILL.md``) where AI agents look for them.

    Args:
        ref: the ModelKit.
        agents: ``"claude-code"``, ``"universal"``, …; those that are installed where there are none.
        project: the project that they are for; None: all of this user's.
        filters: which parts are looked at; the prompts where there are none.
        existing: what to do with another skill of the same name.
        settings: where and how.

    Raises:
        KitError: see :func:`kitops.ops.unpack_skill.unpack_skills`.
    """
    from kitops.formats.select import Filter  # noqa: PLC0415 - as above
    from kitops.ops.skill import skill_directories  # noqa: PLC0415 - as above
    from kitops.ops.unpack_skill import unpack_skills as work  # noqa: PLC0415 - as above

    where = None if project is None else Path(project)
    _, places = skill_directories(list_texts(agents), where, os.environ)
    wanted = tuple(Filter.parse(text) for text in list_texts(filters))
    return work(make_place(settings), Reference.parse(ref), places, filters=wanted, existing=existing)


def repair(
    ref: str, path: PathLike = ".", *, include_remote: bool = False, settings: Settings | None = None
) -> Repaired:
    """Unpack again what is missing or changed in the directory ``path``, and touch nothing else there.

    Args:
        ref: what was unpacked.
        path: where.
        include_remote: fetch remote datasets that are missing or changed, too.
        settings: where and how.
    """
    from kitops.ops.repair import repair as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(ref), Path(path), include_remote=include_remote)


def convert(
    ref: str,
    to: Literal["modelkit", "modelpack", "image"],
    *,
    destination: str | None = None,
    layer_format: Literal["tar", "raw"] | None = None,
    compression: Literal["none", "gzip", "gzip-fastest", "zstd"] | None = None,
    platform: str = "linux/amd64",
    headers: bool | None = None,
    remote: bool = False,
    settings: Settings | None = None,
) -> Converted:
    """Convert an artifact to another format; layers that need not change stay as they are.

    Args:
        ref: a ModelKit, or anything else that can be unpacked, in the store.
        to: the format.
        destination: the name of the result; else that of ``ref`` with the format behind its tag.
        layer_format: of the layers; None keeps what each is.
        compression: of the layers; None keeps what each has.
        platform: of an image, ``os/architecture`` or ``os/architecture/variant``.
        headers: read the headers of the weights, so that the config of a ModelPack artifact tells what they say; None
            where that takes some KiB of each file: not of compressed layers, nor of another ModelPack artifact.
        remote: convert in the registry; nothing is pulled.
        settings: where and how.

    Raises:
        KitError: see :func:`kitops.ops.convert.convert`.
    """
    from kitops.ops.convert import ConvertOptions  # noqa: PLC0415 - as above
    from kitops.ops.convert import convert as work  # noqa: PLC0415 - as above
    from kitops.ops.pack_jobs import CODECS, FORMATS  # noqa: PLC0415 - as above

    check_choice("to", to, ("modelkit", "modelpack", "image"))
    check_choice("layer_format", layer_format or "tar", FORMATS)
    check_choice("compression", compression or "none", CODECS)
    options = ConvertOptions(
        destination=Reference.parse(destination) if destination else None,
        layer_format=layer_format,
        compression=compression,
        platform=platform,
        headers=headers,
        remote=remote,
    )
    return work(make_place(settings), Reference.parse(ref), to, options)
