"""A Kitfile from the names of files: what ``kit init`` and the importers write. Pure but for ``read``.

As the Go tool decides, except where that is plainly worse for the person: upper-case suffixes count, version control
and other things that belong to the machine are left out, files beside weights that only the model needs
(``training_args.bin``, ``tokenizer.model``) become its parts, and a few unknown files become code entries of their own
instead of one ``.``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar

from kitops.errors import FileSystemError
from kitops.kitfile.check import DRIVE
from kitops.kitfile.classify import (
    LEFT_OUT,
    FileKind,
    classify,
    is_companion,
    is_licence,
    is_readme,
    is_skill,
    model_name,
)
from kitops.kitfile.licence import recognise
from kitops.kitfile.schema import (
    Code,
    Dataset,
    Docs,
    Kitfile,
    McpServer,
    Model,
    Package,
    Part,
    Prompt,
    model_reference,
    paths,
)
from kitops.kitfile.skill import FrontMatter, parse_front_matter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_Entry = TypeVar("_Entry", Model, Part, Code, Dataset, Docs, Prompt, McpServer)
HEAD: Final = 256 << 10
"""Bytes that are read at most of a licence or a SKILL.md."""
_MANY: Final = 5  # unknown files or directories that still get entries of their own
_KITFILES: Final = frozenset(("Kitfile", "kitfile", ".kitfile", ".kitignore"))
_CODE_DIRECTORIES: Final = frozenset(("src", "pkg", "lib", "build"))


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of the project: ``path`` with ``/``, relative; ``size`` in bytes.

    A path that ends in ``/`` is a directory without files (or one that was not looked into); ``is_link``, a symbolic
    link to one, whose files nobody knows.
    """

    path: str
    size: int
    is_link: bool = False


def generate(
    listing: Sequence[Listed],
    *,
    read: Callable[[str, int], bytes],
    package: Package = Package(),  # noqa: B008 - frozen
    depth: int = 0,
) -> Kitfile:
    """Make a Kitfile for the files of ``listing``, in any order.

    Args:
        listing: the files.
        read: gives the first bytes of a file, at most as many as asked for; asked for licences and SKILL.md only.
        package: what is known of the package.
        depth: levels of directories whose files get entries of their own; deeper ones are taken as wholes. Negative:
            every file gets an entry of its own.

    Raises:
        FileSystemError: ``read`` raised OSError.
    """
    root = _tree(listing)
    if root.skill is not None:
        prompt, front = _skill(root, read)
        return Kitfile(package=_fill(package, front), prompts=(prompt,))
    draft = _Draft(read)
    draft.take_directory(root, depth)
    return _without_drives(draft.finish(root, package))


@dataclass(slots=True)
class _Directory:
    """A directory; ``files`` and ``directories`` are in byte order of their names."""

    path: str
    name: str = ""
    files: list[Listed] = field(default_factory=list)
    directories: list[_Directory] = field(default_factory=list)
    is_link: bool = False
    shut_out: bool = False  # something directly in it is left out on purpose

    @property
    def skill(self) -> Listed | None:
        return next((file for file in self.files if is_skill(_name(file))), None)


@dataclass(slots=True)
class _Draft:
    """The Kitfile as it grows."""

    read: Callable[[str, int], bytes]
    weights: list[Listed] = field(default_factory=list)
    model_files: list[Listed] = field(default_factory=list)  # weights, and the metadata of directories of weights
    metadata: list[Listed] = field(default_factory=list)
    unknown: list[Listed] = field(default_factory=list)
    unknown_directories: int = 0
    licences: set[str] = field(default_factory=set)
    code: list[Code] = field(default_factory=list)
    datasets: list[Dataset] = field(default_factory=list)
    docs: list[Docs] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    servers: list[Listed] = field(default_factory=list)

    def take_directory(self, directory: _Directory, depth: int) -> None:
        """Take every file of ``directory`` by itself, and its directories by ``depth``."""
        at_root = directory.path == "."
        for file in directory.files:
            if _name(file) not in _KITFILES and not self._take_named(file, at_root=at_root):
                self._take_file(file, directory, at_root=at_root)
        for child in directory.directories:
            if child.skill is not None:
                self.prompts.append(_skill(child, self.read)[0])
            elif depth == 0 or child.is_link:
                self._take_whole(child)
            else:
                self.take_directory(child, depth - 1)

    def _take_named(self, file: Listed, *, at_root: bool) -> bool:
        if is_readme(_name(file)):
            self.docs.append(Docs(file.path, "Readme file"))
            return True
        if is_licence(_name(file)):
            self.docs.append(Docs(file.path, "License file"))
            if at_root:  # of one further down nobody knows what it is for
                self.licences.add(recognise(_head(file.path, self.read).decode("utf-8", "replace")))
            return True
        return False

    def _take_file(self, file: Listed, directory: _Directory, *, at_root: bool) -> None:
        match _kind_beside(file, directory):
            case FileKind.MODEL:
                self.weights.append(file)
                self.model_files.append(file)
            case FileKind.METADATA:
                self.metadata.append(file)
            case FileKind.DOCS:
                self.docs.append(Docs(file.path))
            case FileKind.DATASET:
                self.datasets.append(Dataset(path=file.path))
            case FileKind.PROMPT:
                self.prompts.append(Prompt(path=file.path))
            case FileKind.MCP_SERVER:
                self.servers.append(file)
            case _ if at_root:
                self.unknown.append(file)
            case _:
                self.code.append(Code(file.path))

    def _take_whole(self, directory: _Directory) -> None:
        """Take ``directory`` as one entry where its content is of one kind; weights in it are the model's anyway."""
        name = directory.name.lower()
        if name == "docs":
            self.docs.append(Docs(directory.path))
            return
        if name in _CODE_DIRECTORIES:
            self.code.append(Code(directory.path))
            return
        found = [(_kind_beside(file, directory), file) for file in directory.files]
        self.servers.extend(file for kind, file in found if kind is FileKind.MCP_SERVER)
        weights = [file for kind, file in found if kind is FileKind.MODEL]
        self.weights.extend(weights)
        self.model_files.extend(weights)
        kinds = {kind for kind, _ in found if kind is not FileKind.METADATA}
        if directory.directories or len(kinds) != 1:  # not looked into further
            kinds = {FileKind.UNKNOWN}
        match kinds.pop():
            case FileKind.MODEL:
                self.model_files.extend(file for kind, file in found if kind is FileKind.METADATA)
            case FileKind.DATASET:
                self.datasets.append(Dataset(path=directory.path))
            case FileKind.DOCS:
                self.docs.append(Docs(directory.path))
            case FileKind.PROMPT:
                self.prompts.append(Prompt(path=directory.path))
            case FileKind.MCP_SERVER if not any(kind is FileKind.METADATA for kind, _ in found):
                pass
            case _:
                self.unknown_directories += 1
                self.code.append(Code(directory.path))

    def finish(self, root: _Directory, package: Package) -> Kitfile:
        """The Kitfile of everything that was taken."""
        code = [*self.code, *(Code(file.path) for file in self.unknown)]
        many = len(self.unknown) > _MANY or self.unknown_directories > _MANY
        if many and not root.shut_out:  # `.` would take in what is left out on purpose
            code = [Code(".")]
        model = _model(self.model_files, self.weights, self.metadata)
        loose = [] if model else self.metadata
        kitfile = Kitfile(
            package=package,
            model=model,
            code=tuple(code),
            datasets=(*self.datasets, *(Dataset(path=file.path) for file in loose)),
            docs=tuple(self.docs),
            prompts=tuple(self.prompts),
            mcp_servers=_servers(self.servers),
        )
        return _with_skills(_with_licence(kitfile, self.licences), root, self.read)


def _tree(listing: Iterable[Listed]) -> _Directory:
    root = _Directory(".")
    known = {"": root}
    for listed in sorted(listing, key=lambda file: file.path.split("/")):
        *above, name = listed.path.split("/")
        if any(part.lower() in LEFT_OUT for part in (*above, name)):
            root.shut_out |= listed.path.split("/")[0].lower() in LEFT_OUT
            continue
        parent = ""
        for part in above:
            path = f"{parent}/{part}" if parent else part
            if path not in known:
                known[path] = _Directory(path, part)
                known[parent].directories.append(known[path])
            parent = path
        if name:
            known[parent].files.append(listed)
        else:
            known[parent].is_link = listed.is_link
    return root


def _kind_beside(file: Listed, directory: _Directory) -> FileKind:
    """The kind of a file, which for some depends on whether weights are beside it."""
    if is_companion(_name(file)) and any(classify(_name(other)) is FileKind.MODEL for other in directory.files):
        return FileKind.METADATA
    return classify(_name(file))


def _model(files: list[Listed], weights: list[Listed], metadata: list[Listed]) -> Model | None:
    """The largest file is the model if it stands out, else the first; the others are its parts."""
    if not weights:
        return None
    mean = sum(file.size for file in files) // len(files)
    largest = max(weights, key=lambda file: file.size)
    stands_out = largest.size > mean + mean // 2
    chosen = largest if stands_out else weights[0]
    named = stands_out or len({model_name(file.path) for file in weights}) == 1
    parts = [file for file in files if file is not chosen] + metadata
    return Model(
        name=model_name(chosen.path) if named else "",
        path=_as_path(chosen.path),
        parts=tuple(Part(path=file.path) for file in parts),
    )


def _as_path(path: str) -> str:
    """A file called like a reference (``tiny:v1.gguf``) is told from one by the ``./`` before it."""
    return path if model_reference(Model(path=path)) is None else f"./{path}"


def _without_drives(kitfile: Kitfile) -> Kitfile:
    """What lies in a directory called like a drive of Windows (``a:``) is told from that by a ``./``, too."""
    if not any(DRIVE.match(path) for _, path in paths(kitfile)):
        return kitfile

    def mend(entry: _Entry) -> _Entry:
        return replace(entry, path=f"./{entry.path}") if DRIVE.match(entry.path) else entry

    model = kitfile.model and replace(mend(kitfile.model), parts=tuple(map(mend, kitfile.model.parts)))
    return replace(
        kitfile,
        model=model,
        code=tuple(map(mend, kitfile.code)),
        datasets=tuple(map(mend, kitfile.datasets)),
        docs=tuple(map(mend, kitfile.docs)),
        prompts=tuple(map(mend, kitfile.prompts)),
        mcp_servers=tuple(map(mend, kitfile.mcp_servers)),
    )


def _servers(files: list[Listed]) -> tuple[McpServer, ...]:
    """Each bundle under the name of its file, or its whole path where two are called the same."""
    stems = [_name(file).rpartition(".")[0] for file in files]
    names = (
        stem if stems.count(stem) == 1 else file.path.rpartition(".")[0]
        for stem, file in zip(stems, files, strict=True)
    )
    return tuple(McpServer(name or file.path, file.path) for name, file in zip(names, files, strict=True))


def _with_licence(kitfile: Kitfile, licences: set[str]) -> Kitfile:
    """The licence goes to what it most likely is for; several, or one that is not known, go nowhere."""
    if len(licences) != 1 or not (licence := next(iter(licences))):
        return kitfile
    if kitfile.model is not None:
        return replace(kitfile, model=replace(kitfile.model, license=licence))
    if len(kitfile.datasets) == 1:
        return replace(kitfile, datasets=(replace(kitfile.datasets[0], license=licence),))
    if len(kitfile.code) == 1:
        return replace(kitfile, code=(replace(kitfile.code[0], license=licence),))
    return replace(kitfile, package=replace(kitfile.package, license=licence))


def _with_skills(kitfile: Kitfile, root: _Directory, read: Callable[[str, int], bytes]) -> Kitfile:
    """A project that is nothing but one skill is called as the skill; a skill's licence is better than none."""
    fronts = [_skill(child, read)[1] for child in root.directories if child.skill is not None]
    fronts = [front for front in fronts if front != FrontMatter()]
    if not fronts:
        return kitfile
    only = not (kitfile.model or kitfile.code or kitfile.datasets or kitfile.docs or kitfile.mcp_servers)
    first = fronts[0] if only and len(fronts) == 1 else FrontMatter(license=fronts[0].license)
    return replace(kitfile, package=_fill(kitfile.package, first))


def _skill(directory: _Directory, read: Callable[[str, int], bytes]) -> tuple[Prompt, FrontMatter]:
    if directory.skill is None:
        raise AssertionError(directory)
    front = parse_front_matter(_head(directory.skill.path, read))
    return Prompt(front.name, directory.path, front.description), front


def _fill(package: Package, front: FrontMatter) -> Package:
    return replace(
        package,
        name=package.name or front.name,
        description=package.description or front.description,
        license=package.license or front.license,
    )


def _head(path: str, read: Callable[[str, int], bytes]) -> bytes:
    try:
        return read(path, HEAD)
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", path) from error


def _name(file: Listed) -> str:
    return file.path.rpartition("/")[2]
