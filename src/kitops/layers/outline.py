"""The outline of a layer whose files are not here yet: what its bytes will be, but for their content. Pure.

A tar layer of listed files is laid out as a walk would find them in a directory (:mod:`kitops.layers.walk`), so that it
has the digest that packing that directory gives. Each file's content can then be written where it belongs as it comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kitops.layers.tar import DEPTH_LIMIT, END, header_size, member_header, padding
from kitops.layers.walk import excluded_error, is_builtin, too_deep_error

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from kitops.layers.ignore import IgnoreRules, Verdicts

_DIRECTORY_MODE = 0o755


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as it is listed: path with ``/``, size in bytes, permission bits."""

    path: str
    size: int
    mode: int


@dataclass(frozen=True, slots=True)
class Member:
    """A file or directory of a layer, in its place."""

    name: bytes
    mode: int
    size: int
    is_dir: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a layer: headers, the content of one file, and what pads it. The parts of a layer follow closely.

    Args:
        start: where the headers begin.
        content: where the content begins.
        size: of the content.
        end: where the part ends.
        path: of the file; empty where headers only are left.
        members: the numbers of the members whose headers these are.
    """

    start: int
    content: int
    size: int
    end: int
    path: str
    members: range


@dataclass(frozen=True, slots=True)
class Outline:
    """A layer.

    Args:
        members: in its order; of a raw layer only its file.
        parts: in its order.
        is_archive: a tar archive, else the file itself.
    """

    members: Sequence[Member]
    parts: Sequence[Part]
    is_archive: bool

    @property
    def size(self) -> int:
        """Of the layer in bytes."""
        return self.parts[-1].end

    def resized(self, sizes: Mapping[str, int]) -> Outline:
        """The same layer with files of other sizes, by path."""
        members = [
            member if member.is_dir else replace(member, size=sizes.get(member.name.decode(), member.size))
            for member in self.members
        ]
        parts = list(_cut(members)) if self.is_archive else _only(members[0])
        return Outline(members, parts, self.is_archive)

    def head(self, part: Part) -> bytes:
        """The headers of a part."""
        if not self.is_archive:
            return b""
        found = [
            member_header(member.name, member.mode, member.size, is_dir=member.is_dir)
            for member in self.members[part.members.start : part.members.stop]
        ]
        return b"".join(found) + (b"" if part.path else END)

    def tail(self, part: Part) -> bytes:
        """What follows the content of a part."""
        return bytes(part.end - part.content - part.size) if part.path else b""


def outline_file(file: ListedFile) -> Outline:
    """A raw layer."""
    member = Member(file.path.encode(), file.mode, file.size, is_dir=False)
    return Outline([member], _only(member), is_archive=False)


def outline_directory(
    files: Iterable[ListedFile], path: str, ignore: IgnoreRules, deeper: Collection[str] = ()
) -> Outline:
    """A tar layer.

    Args:
        files: all of the directory that the Kitfile's paths start from.
        path: a Kitfile's path, cleaned.
        ignore: what is left out.
        deeper: the cleaned paths of the other layers: what is there is theirs.

    Raises:
        PackError: nothing is left of it, or it is nested too deeply.
    """
    listing = _Listing(files, ignore, deeper, path)
    members = list(listing.walk())
    shortest = 0 if path == "." else len(path.encode())
    if not any(len(member.name) >= shortest for member in members) and (listing.ignored or shortest):
        raise excluded_error(path)
    return Outline(members, list(_cut(members)), is_archive=True)


def _only(member: Member) -> list[Part]:
    return [Part(0, 0, member.size, member.size, member.name.decode(), range(1))]


def _cut(members: Sequence[Member]) -> Iterator[Part]:
    start = position = first = 0
    for number, member in enumerate(members):
        position += header_size(member.name, member.size)
        if member.size:
            end = position + member.size + padding(member.size)
            yield Part(start, position, member.size, end, member.name.decode(), range(first, number + 1))
            start, position, first = end, end, number + 1
    end = position + len(END)
    yield Part(start, end, 0, end, "", range(first, len(members)))


class _Listing:
    """Listed files as directories, walked as :func:`kitops.layers.walk.scan` walks a disk."""

    def __init__(self, files: Iterable[ListedFile], ignore: IgnoreRules, deeper: Collection[str], path: str) -> None:
        self.ignored = 0
        self._path = path
        self._ignore = ignore
        self._deeper = frozenset(other for other in deeper if path == "." or other.startswith(f"{path}/"))
        self._files: dict[str, ListedFile] = {}
        self._children: dict[str, set[str]] = {}
        for file in files:
            self._files[file.path] = file
            above, _, _ = file.path.rpartition("/")
            below = file.path
            while below not in self._children.setdefault(above, set()):
                self._children[above].add(below)
                if not above:
                    break
                below, above = above, above.rpartition("/")[0]

    def walk(self) -> Iterator[Member]:
        verdicts = self._ignore.start()
        if self._path == ".":
            yield from self._below("", verdicts)
            return
        words = self._path.split("/")
        if len(words) > DEPTH_LIMIT:
            raise too_deep_error(self._path)
        for depth in range(1, len(words) + 1):
            name = "/".join(words[:depth])
            verdicts = self._ignore.judge(name, verdicts)
            if not self._is_left_out(name, verdicts):
                yield self._member(name)
        yield from self._below(self._path, verdicts)

    def _below(self, directory: str, above: Verdicts) -> Iterator[Member]:
        """What is below a directory, without recursion: the stack holds an iterator a directory."""
        stack = [(iter(self._sorted(directory)), above)]
        while stack:
            names, verdicts = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                continue
            if name in self._deeper:
                continue
            own = self._ignore.judge(name, verdicts)
            is_left_out = self._is_left_out(name, own)
            if not is_left_out:
                yield self._member(name)
            goes_on = not is_left_out or (self._ignore.takes_back and not is_builtin(name))
            if goes_on and name in self._children:
                if name.count("/") >= DEPTH_LIMIT:
                    raise too_deep_error(self._path)
                stack.append((iter(self._sorted(name)), own))

    def _sorted(self, directory: str) -> list[str]:
        return sorted(self._children.get(directory, ()), key=str.encode)

    def _is_left_out(self, name: str, verdicts: Verdicts) -> bool:
        if is_builtin(name):
            return True
        is_ignored = self._ignore.decide(verdicts)
        self.ignored += is_ignored
        return is_ignored

    def _member(self, name: str) -> Member:
        file = self._files.get(name)
        if file is None:
            return Member(name.encode(), _DIRECTORY_MODE, 0, is_dir=True)
        return Member(name.encode(), file.mode, file.size, is_dir=False)
