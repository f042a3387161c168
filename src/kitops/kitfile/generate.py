"""A Kitfile from the names of files: what ``kit init`` and the importers write. Pure but for ``read``.

As the Go tool decides, except where that is plainly worse for the person: upper-case suffixes count, version control
and other things that belong to the machine are left out, files beside weights that only the model needs
(``training_args.bin``, ``tokenizer.model``) become its parts, and a few unknown files become code entries of their own
instead of one ``.``. Where it is known what the files are all about, what no name tells goes there instead of to code.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError
from kitops.kitfile.classify import FileKind, is_called_model, is_licence, is_readme, is_source, tells_weights
from kitops.kitfile.directories import Directory, Listed, build_tree
from kitops.kitfile.entries import as_model_path, build_model, build_servers, with_licence, without_drives
from kitops.kitfile.licence import recognise
from kitops.kitfile.schema import Code, Dataset, Docs, Kitfile, Model, Package, Part, Prompt
from kitops.kitfile.skill import FrontMatter, parse_front_matter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Listed", "Subject", "generate"]

HEAD: Final = 256 << 10
"""Bytes that are read at most of a licence or a SKILL.md."""
_MANY: Final = 5  # unknown files or directories that still get entries of their own
_KITFILES: Final = frozenset(("Kitfile", "kitfile", ".kitfile", ".kitignore"))
_CODE_DIRECTORIES: Final = frozenset(("src", "pkg", "lib", "build"))


class Subject(Enum):
    """What a directory is all about, where that is known.

    PROJECT: some of everything; what no name tells is code.
    MODEL: what is neither source code, documentation nor data belongs to the model (its tokenizer's directory, weights
        of a format that no name tells), and weights of the root are the model, those below others of it.
    DATASET: what is neither source code nor documentation is data.
    """

    PROJECT = "project"
    MODEL = "model"
    DATASET = "dataset"


def generate(
    listing: Sequence[Listed],
    *,
    read: Callable[[str, int], bytes],
    package: Package = Package(),  # noqa: B008 - frozen
    depth: int = 0,
    subject: Subject = Subject.PROJECT,
) -> Kitfile:
    """Make a Kitfile for the files of ``listing``, in any order.

    Args:
        listing: the files.
        read: gives the first bytes of a file, at most as many as asked for; asked for licences and SKILL.md only.
        package: what is known of the package.
        depth: levels of directories whose files get entries of their own; deeper ones are taken as wholes. Negative:
            every file gets an entry of its own.
        subject: what the files are all about.

    Raises:
        FileSystemError: ``read`` raised OSError.
        PackError: directories are nested too deeply.
    """
    root = build_tree(listing)
    if root.skill is not None:
        prompt, front = _skill(root, read)
        return Kitfile(package=_fill(package, front), prompts=(prompt,))
    draft = _Draft(read, subject)
    draft.take_directory(root, depth)
    return without_drives(draft.finish(root, package))


@dataclass(frozen=True, slots=True)
class _Loose:
    """A file or directory that no name tells: code, unless it is known better.

    Args:
        path: of it.
        files: that it is.
        is_root_file: whether it is a file of the root.
        is_unknown_directory: whether it is a directory whose name tells nothing either.
    """

    path: str
    files: tuple[Listed, ...]
    is_root_file: bool = False
    is_unknown_directory: bool = False

    @property
    def is_code(self) -> bool:
        """Whether there is source code in it, or nothing at all."""
        return not self.files or any(is_source(file.name) for file in self.files)

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size for file in self.files)


@dataclass(slots=True)
class _Draft:
    """The Kitfile as it grows."""

    read: Callable[[str, int], bytes]
    subject: Subject
    weights: list[Listed] = field(default_factory=list)
    model_files: list[Listed] = field(default_factory=list)  # weights, and the metadata of directories of weights
    metadata: list[Listed] = field(default_factory=list)
    loose: list[_Loose] = field(default_factory=list)
    licences: set[str] = field(default_factory=set)
    datasets: list[Dataset] = field(default_factory=list)
    docs: list[Docs] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    servers: list[Listed] = field(default_factory=list)

    def take_directory(self, directory: Directory, depth: int) -> None:
        """Take every file of ``directory`` by itself, and its directories by ``depth``."""
        at_root = directory.path == "."
        for file in directory.files:
            if file.name not in _KITFILES and not self._take_named(file, at_root=at_root):
                self._take_file(file, directory, at_root=at_root)
        for child in directory.directories:
            if child.skill is not None:
                self.prompts.append(_skill(child, self.read)[0])
            elif depth == 0 or child.is_link:
                self._take_whole(child)
            else:
                self.take_directory(child, depth - 1)

    def _take_named(self, file: Listed, *, at_root: bool) -> bool:
        if is_readme(file.name):
            self.docs.append(Docs(file.path, "Readme file"))
            return True
        if is_licence(file.name):
            self.docs.append(Docs(file.path, "License file"))
            if at_root:  # of one further down nobody knows what it is for
                self.licences.add(recognise(_head(file.path, self.read).decode("utf-8", "replace")))
            return True
        return False

    def _take_file(self, file: Listed, directory: Directory, *, at_root: bool) -> None:
        kind = self._kind_of(file, directory)
        if kind is FileKind.UNKNOWN and self.subject is Subject.MODEL and at_root and is_called_model(file.name):
            kind = FileKind.MODEL
        match kind:
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
            case _:
                self.loose.append(_Loose(file.path, (file,), is_root_file=at_root))

    def _take_whole(self, directory: Directory) -> None:
        """Take ``directory`` as one entry where its content is of one kind; weights in it are the model's anyway."""
        name = directory.name.lower()
        if name == "docs":
            self.docs.append(Docs(directory.path))
        elif self.subject is Subject.DATASET and self._has_data(directory):
            self.datasets.append(Dataset(path=directory.path))
        elif name in _CODE_DIRECTORIES:
            self._take_loose(directory, is_unknown=False)
        elif skills := directory.skills:
            self.prompts.extend(_skill(skill, self.read)[0] for skill in skills)
        else:
            self._take_by_kind(directory)

    def _take_by_kind(self, directory: Directory) -> None:
        found = [(self._kind_of(file, directory), file) for file in directory.files]
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
                self._take_loose(directory)

    def _take_loose(self, directory: Directory, *, is_unknown: bool = True) -> None:
        files = tuple(file for _, file in directory.walk())
        self.loose.append(_Loose(directory.path, files, is_unknown_directory=is_unknown))

    def _kind_of(self, file: Listed, directory: Directory) -> FileKind:
        kind = directory.kind_of(file)
        if self.subject is Subject.DATASET and kind in (FileKind.MODEL, FileKind.UNKNOWN) and not is_source(file.name):
            return FileKind.DATASET
        return kind

    def _has_data(self, directory: Directory) -> bool:
        """Whether a directory of a dataset has any data: metadata counts where there is nothing else."""
        kinds = {self._kind_of(file, inner) for inner, file in directory.walk()}
        return FileKind.DATASET in kinds or kinds == {FileKind.METADATA}

    def finish(self, root: Directory, package: Package) -> Kitfile:
        """The Kitfile of everything that was taken."""
        loose = sorted(self.loose, key=lambda entry: entry.is_root_file)
        is_model = self.subject is Subject.MODEL
        model = build_model(self.model_files, self.weights, self.metadata, from_root=is_model)
        if is_model:
            told = any(tells_weights(file.name) for _, file in root.walk())
            model, loose = _with_rest(model, loose, self.metadata, told=told)
        metadata = [] if model else self.metadata
        kitfile = Kitfile(
            package=package,
            model=model,
            code=_code(loose, root),
            datasets=(*self.datasets, *(Dataset(path=file.path) for file in metadata)),
            docs=tuple(self.docs),
            prompts=tuple(self.prompts),
            mcp_servers=build_servers(self.servers),
        )
        return _with_skills(with_licence(kitfile, self.licences), root, self.read)


def _code(loose: Sequence[_Loose], root: Directory) -> tuple[Code, ...]:
    """An entry each, or one for all where they are many."""
    files = sum(entry.is_root_file for entry in loose)
    directories = sum(entry.is_unknown_directory for entry in loose)
    if max(files, directories) > _MANY and not root.shut_out:  # `.` would take in what is left out on purpose
        return (Code("."),)
    return tuple(Code(entry.path) for entry in loose)


def _with_rest(
    model: Model | None, loose: list[_Loose], metadata: Sequence[Listed], *, told: bool
) -> tuple[Model | None, list[_Loose]]:
    """The model with what of ``loose`` is no code; the largest of that is the model where no file of a known name is.

    Args:
        model: the files of known names.
        loose: what no name tells.
        metadata: parts of a model that is found here.
        told: whether there are weights of known names at all: the model is where these are then, or nowhere.

    Returns:
        The model, if there is one; and what is code.
    """
    rest = [entry for entry in loose if not entry.is_code]
    if model is None:
        likely = [
            entry
            for entry in rest
            if not entry.path.startswith(".") and (not told or any(tells_weights(file.name) for file in entry.files))
        ]
        if not likely:
            return None, loose
        chosen = max(likely, key=lambda entry: entry.size)
        rest.remove(chosen)
        model = Model(path=as_model_path(chosen.path), parts=tuple(Part(path=file.path) for file in metadata))
    code = [entry for entry in loose if entry.is_code]
    return replace(model, parts=(*model.parts, *(Part(path=entry.path) for entry in rest))), code


def _with_skills(kitfile: Kitfile, root: Directory, read: Callable[[str, int], bytes]) -> Kitfile:
    """A project that is nothing but one skill is called as the skill; a skill's licence is better than none."""
    fronts = [_skill(child, read)[1] for child in root.directories if child.skill is not None]
    fronts = [front for front in fronts if front != FrontMatter()]
    if not fronts:
        return kitfile
    only = not (kitfile.model or kitfile.code or kitfile.datasets or kitfile.docs or kitfile.mcp_servers)
    first = fronts[0] if only and len(fronts) == 1 else FrontMatter(license=fronts[0].license)
    return replace(kitfile, package=_fill(kitfile.package, first))


def _skill(directory: Directory, read: Callable[[str, int], bytes]) -> tuple[Prompt, FrontMatter]:
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
