"""The public functions: each verb with the defaults of this machine filled in.

Everything takes references as text and a :class:`Settings`; what it leaves out comes from the environment, as for the
``kit`` command: ``$KITOPS_HOME``, the proxies, docker's and podman's credential files.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kitops.content.events import ignore_events
from kitops.content.protocols import Run
from kitops.errors import InvalidValueError
from kitops.oci.reference import Reference
from kitops.ops.choices import check_choice, list_texts
from kitops.ops.place import Connection, Place, default_home, open_place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kitops.content.cancel import CancelToken
    from kitops.content.events import Observer
    from kitops.formats.modelpack_fields import Violation
    from kitops.kitfile.schema import Kitfile
    from kitops.oci.gojson import Json
    from kitops.ops.convert import Converted
    from kitops.ops.copy import Transferred
    from kitops.ops.diff import Difference
    from kitops.ops.du import DiskUsage
    from kitops.ops.export import Exported
    from kitops.ops.import_ import Imported
    from kitops.ops.init import Initialised
    from kitops.ops.inspect import Inspected
    from kitops.ops.list import Listed
    from kitops.ops.load import Loaded
    from kitops.ops.pack import Packed
    from kitops.ops.plan import Plan
    from kitops.ops.pull import Pulled
    from kitops.ops.push import Pushed
    from kitops.ops.referrers import Referrer
    from kitops.ops.remove import Removed
    from kitops.ops.repair import Repaired
    from kitops.ops.save import Saved
    from kitops.ops.tag import Tagged
    from kitops.ops.tensor_diff import TensorDifference
    from kitops.ops.tensors import Tensors
    from kitops.ops.tracked import Compared
    from kitops.ops.unpack import Unpacked
    from kitops.ops.unpack_skill import UnpackedSkills
    from kitops.registry.network import Network

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where and how to work; what is None comes from the environment.

    Args:
        home: the root of storage (``$KITOPS_HOME``).
        network: options of the connections to registries.
        observer: told what happens (see :mod:`kitops.content.events`).
        cancel: ends the work from another thread.
        concurrency: blobs moved at a time.
    """

    home: Path | None = None
    network: Network | None = None
    observer: Observer = ignore_events
    cancel: CancelToken | None = None
    concurrency: int = 5


def read_connection(
    home: Path, network: Network | None, environ: Mapping[str, str], warn: Callable[[str], None] = lambda _: None
) -> Connection:
    """How registries are reached from here.

    Proxies and certificate authorities of the environment; credentials of ``home``, docker and podman; mirrors.

    Args:
        home: the root of storage.
        network: options that were chosen; the environment's proxies and authorities are added to them.
        environ: environment variables.
        warn: told about a credential file of another tool that cannot be used.
    """
    from kitops.registry.credentials import CredentialStore, default_config_paths  # noqa: PLC0415 - costs urllib3
    from kitops.registry.environment import complete_network, read_mirrors, read_plain_hosts  # noqa: PLC0415 - as above
    from kitops.registry.network import Network  # noqa: PLC0415 - as above

    chosen = complete_network(network or Network(), environ)
    settings = home / "settings.toml"
    chosen = replace(chosen, plain_hosts=(*chosen.plain_hosts, *read_plain_hosts(settings)))
    mirrors = read_mirrors(settings, environ)
    user = Path(environ.get("HOME") or Path.home())
    files = default_config_paths(environ, user)
    return Connection(chosen, CredentialStore(home / "credentials.json", files, warn=warn), mirrors)


def make_place(settings: Settings | None = None) -> Place:
    """The place that ``settings`` describe, for the functions of :mod:`kitops.ops`."""
    settings = settings or Settings()
    home = settings.home or default_home(os.environ, sys.platform)
    run = Run(settings.observer, concurrency=settings.concurrency)
    if settings.cancel is not None:
        run = replace(run, cancel=settings.cancel)
    return open_place(home, connection=partial(read_connection, home, settings.network, os.environ), run=run)


def init(
    path: PathLike = ".", *, name: str = "", description: str = "", author: str = "", force: bool = False
) -> Initialised:
    """Write a Kitfile for the directory ``path``."""
    from kitops.ops.init import InitOptions  # noqa: PLC0415 - each verb costs what it needs
    from kitops.ops.init import init as work  # noqa: PLC0415 - as above

    return work(Path(path), InitOptions(name=name, description=description, author=author, force=force))


def pack(
    path: PathLike = ".",
    *,
    tag: str | Sequence[str] | None = None,
    kitfile: PathLike | None = None,
    compression: Literal["none", "gzip", "gzip-fastest", "zstd"] = "none",
    layer_format: Literal["tar", "raw"] = "tar",
    modelpack: bool = False,
    symlinks: Literal["refuse", "follow", "skip"] = "refuse",
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

    targets = _parse_all(push_to)
    if (tag and targets) or (keep and not targets):
        raise InvalidValueError("push_to stands instead of tag, and keep beside push_to")
    options = PackOptions(
        references=targets if keep else _parse_all(tag),
        kitfile_path=None if kitfile is None else Path(kitfile),
        compression=compression,
        layer_format=layer_format,
        modelpack=modelpack,
        symlinks=symlinks,
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
        to: references of registries that it goes straight to, instead of the local store.
        settings: where and how.

    Raises:
        KitError: see :func:`kitops.ops.import_source.import_source`.
    """
    from kitops import __version__  # noqa: PLC0415 - as below
    from kitops.importers.location import parse_location  # noqa: PLC0415 - as below
    from kitops.ops.import_ import ImportOptions  # noqa: PLC0415 - as below
    from kitops.ops.import_source import import_source as work  # noqa: PLC0415 - each verb costs what it needs
    from kitops.ops.sources import SourceOptions  # noqa: PLC0415 - as above

    location = parse_location(source, hub=os.environ.get("HF_ENDPOINT", ""), tool=tool)
    options = ImportOptions(
        references=_parse_all(tag),
        kitfile_text=None if kitfile is None else Path(kitfile).read_bytes(),
        include=list_texts(include),
        exclude=list_texts(exclude),
        prefer=prefer,
        depth=depth,
        version=__version__,
    )
    reach = SourceOptions(revision=revision, token=token, submodules=submodules, user_agent=f"kitops/{__version__}")
    return work(make_place(settings), location, reach, options, _parse_all(to))


def export_mlflow(
    ref: str, *, run: str = "", experiment: str = "", path: str = "", settings: Settings | None = None
) -> Exported:
    """Log the files of ``ref`` to a run of MLflow: ``run``, or a new one of ``experiment``, below ``path``."""
    from kitops.ops.export import ExportOptions  # noqa: PLC0415 - as above
    from kitops.ops.export import export_mlflow as work  # noqa: PLC0415 - as above

    options = ExportOptions(run=run, experiment=experiment, path=path)
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
    _, places = skill_directories(list_texts(agents), where, os.environ, Path.home())
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


def status(path: PathLike = ".", ref: str | None = None, *, settings: Settings | None = None) -> Compared:
    """How the directory ``path`` differs from what was unpacked there, or from ``ref``; no file is read."""
    from kitops.ops.status import status as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Path(path), None if ref is None else Reference.parse(ref))


def verify(path: PathLike = ".", ref: str | None = None, *, settings: Settings | None = None) -> Compared:
    """How the content of the directory ``path`` differs from what was unpacked there, or from ``ref``.

    Look at ``is_equal``: that files differ raises nothing.
    """
    from kitops.ops.verify import verify as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Path(path), None if ref is None else Reference.parse(ref))


def validate(
    ref: str, *, remote: bool = False, layers: bool = True, settings: Settings | None = None
) -> Sequence[Violation]:
    """In what ``ref`` is not valid ModelPack, each as ``where`` and ``problem``; empty when it is.

    Args:
        ref: a ModelPack artifact of the store, or with ``remote`` of its registry.
        remote: look in the registry.
        layers: read the layers too, and compare each with its diff ID.
        settings: where and how.
    """
    from kitops.ops.validate import validate as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(ref), remote=remote, layers=layers)


def du(*refs: str, settings: Settings | None = None) -> DiskUsage:
    """What each ModelKit of the store occupies (or only ``refs``), shared bytes counted once."""
    from kitops.ops.du import du as work  # noqa: PLC0415 - as above

    return work(make_place(settings), [Reference.parse(ref) for ref in refs])


def push(source: str, destination: str | Sequence[str] | None = None, *, settings: Settings | None = None) -> Pushed:
    """Push ``source`` of the local store to ``destination`` (to its own registry without one)."""
    from kitops.ops.push import push as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(source), _parse_all(destination))


def pull(
    ref: str, *, filters: str | Sequence[str] = (), verify: bool = False, settings: Settings | None = None
) -> Pulled:
    """Pull ``ref``, and the ModelKits that its model comes from, into the local store; the first of several tags.

    Args:
        ref: what to pull.
        filters: ``"model"``, ``"datasets:train"``: only these parts; a later pull without filters completes it.
        verify: read what is in the store already, and fetch again what is damaged.
        settings: where and how.

    Raises:
        KitError: see :func:`kitops.ops.pull.pull`.
    """
    from kitops.formats.select import Filter  # noqa: PLC0415 - as above
    from kitops.ops.pull import pull as work  # noqa: PLC0415 - as above

    chosen = [Filter.parse(text) for text in list_texts(filters)]
    return work(make_place(settings), Reference.parse_tags(ref), chosen, verify=verify)[0]


def plan_pull(ref: str, *, filters: str | Sequence[str] = (), settings: Settings | None = None) -> Plan:
    """What :func:`pull` would move, and whether it fits; nothing is changed."""
    from kitops.formats.select import Filter  # noqa: PLC0415 - as above
    from kitops.ops.pull import plan_pull as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse_tags(ref), [Filter.parse(text) for text in list_texts(filters)])


def plan_push(source: str, destination: str | Sequence[str] | None = None, *, settings: Settings | None = None) -> Plan:
    """What :func:`push` would move; nothing is changed."""
    from kitops.ops.plan import plan_push as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(source), _parse_all(destination))


def list(  # noqa: A001 - kitops.list is its name
    repository: str | None = None, *, filters: str | Sequence[str] = (), settings: Settings | None = None
) -> Sequence[Listed]:
    """The ModelKits of the store, of a repository in its registry, or of every repository of a registry.

    Args:
        repository: ``"registry.example.com/team/model"``, or a host alone.
        filters: ``"tag=v2*"``, ``"repo=…"``, ``"name=…"``, ``"author=…"``, or a part: ``"datasets:train"``.
        settings: where and how.
    """
    from kitops.ops.list import list_ as work  # noqa: PLC0415 - as above
    from kitops.ops.list import list_catalog, parse_host  # noqa: PLC0415 - as above
    from kitops.ops.list_filter import ListFilter  # noqa: PLC0415 - as above

    place, wanted = make_place(settings), ListFilter.parse(list_texts(filters))
    if repository is not None and (host := parse_host(repository)) is not None:
        return list_catalog(place, host, wanted=wanted)
    return work(place, None if repository is None else Reference.parse(repository), wanted=wanted)


def inspect(ref: str, *, remote: bool = False, settings: Settings | None = None) -> Inspected:
    """Manifest, Kitfile and digest of ``ref``."""
    from kitops.ops.inspect import inspect as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(ref), remote=remote)


def info(ref: str, *, remote: bool = False, settings: Settings | None = None) -> Kitfile:
    """The Kitfile of ``ref``."""
    from kitops.ops.info import info as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(ref), remote=remote)


def select_field(kitfile: Kitfile, field: str) -> Json:
    """One field of a Kitfile: ``".datasets[0].path"``."""
    from kitops.ops.info import select_field as work  # noqa: PLC0415 - as above

    return work(kitfile, field)


def tag(
    source: str, destination: str | Sequence[str], *, remote: bool = False, settings: Settings | None = None
) -> Tagged:
    """Give a ModelKit of the local store, or with ``remote`` anything in a registry, other names."""
    from kitops.ops.tag import tag as local  # noqa: PLC0415 - as above
    from kitops.ops.tag import tag_remote  # noqa: PLC0415 - as above

    work = tag_remote if remote else local
    return work(make_place(settings), Reference.parse(source), _parse_all(destination))


def remove(
    ref: str,
    *,
    force: bool = False,
    remote: bool = False,
    referrers: bool = False,
    settings: Settings | None = None,
) -> Removed:
    """Remove a ModelKit from the store, or with ``remote`` from its registry, with its ``referrers`` there if asked."""
    from kitops.ops.remove import remove as local  # noqa: PLC0415 - as above
    from kitops.ops.remove import remove_remote  # noqa: PLC0415 - as above

    place, parsed = make_place(settings), Reference.parse_tags(ref)
    if remote:
        return remove_remote(place, parsed, force=force, referrers=referrers)
    return local(place, parsed, force=force)


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


def copy(source: str, destination: str, *, recursive: bool = False, settings: Settings | None = None) -> Transferred:
    """Copy an artifact of any type, digests unchanged.

    Args:
        source: a reference in a registry, ``store:REF``, ``oci:DIRECTORY[:NAME]`` or ``oci-archive:FILE[:NAME]``.
        destination: the same; without a tag it gets that of the source.
        recursive: with what refers to it: signatures, attestations, and what refers to those.
        settings: where and how.
    """
    from kitops.ops.copy import copy as work  # noqa: PLC0415 - as above
    from kitops.ops.location import Location  # noqa: PLC0415 - as above

    ends = Location.parse(source), Location.parse(destination)
    return work(make_place(settings), *ends, recursive=recursive)


def save(
    refs: str | Sequence[str], output: PathLike, *, remote: bool = False, settings: Settings | None = None
) -> Saved:
    """Write ModelKits, with their parents and what refers to them, into one file for :func:`load`.

    Args:
        refs: what to save; the store is looked at first, then its registry.
        output: the file, an OCI image layout in a tar; it appears whole or not at all.
        remote: only the registry is looked at.
        settings: where and how.
    """
    from kitops.ops.save import SaveOptions  # noqa: PLC0415 - as above
    from kitops.ops.save import save as work  # noqa: PLC0415 - as above

    return work(make_place(settings), _parse_all(refs), os.fspath(output), SaveOptions(remote=remote))


def load(path: PathLike, *, repository: str | None = None, settings: Settings | None = None) -> Loaded:
    """Load every artifact of an OCI image layout (a tar or a directory) into the local store, verified.

    Args:
        path: what :func:`save` wrote, or ``skopeo copy … oci-archive:``.
        repository: where what has a bare tag, or no name, goes.
        settings: where and how.
    """
    from kitops.ops.load import load as work  # noqa: PLC0415 - as above

    name = None if repository is None else Reference.parse(repository)
    return work(make_place(settings), os.fspath(path), repository=name)


def referrers(
    ref: str, *, remote: bool = False, artifact_type: str | None = None, settings: Settings | None = None
) -> Sequence[Referrer]:
    """What refers to ``ref``: signatures, attestations, and what refers to those."""
    from kitops.ops.referrers import referrers as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(ref), remote=remote, artifact_type=artifact_type)


def diff(a: str, b: str, *, settings: Settings | None = None) -> Difference:
    """What differs between two ModelKits; ``local://`` and ``remote://`` in front say where to look."""
    from kitops.ops.diff import diff as work  # noqa: PLC0415 - as above

    return work(make_place(settings), a, b)


def tensors(ref: str, *, remote: bool = False, settings: Settings | None = None) -> Tensors:
    """The tensors in the safetensors and GGUF files of ``ref``, from their headers: with ``remote`` without a pull."""
    from kitops.ops.tensors import tensors as work  # noqa: PLC0415 - as above

    return work(make_place(settings), Reference.parse(ref), remote=remote)


def diff_tensors(a: str, b: str, *, values: bool | None = None, settings: Settings | None = None) -> TensorDifference:
    """Which tensors differ between two ModelKits; references as for :func:`diff`.

    Args:
        a: the one.
        b: the other.
        values: read values where headers do not tell; None does it where both sides are in the local store.
        settings: where and how.
    """
    from kitops.ops.tensor_diff import tensor_diff as work  # noqa: PLC0415 - as above

    return work(make_place(settings), a, b, values=values)


def _parse_all(texts: str | Sequence[str] | None) -> tuple[Reference, ...]:
    if texts is None:
        return ()
    return tuple(ref for text in list_texts(texts) for ref in Reference.parse_tags(text))
