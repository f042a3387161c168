"""``.kitignore``: which files a layer leaves out.

The rules are those of Docker's ignore files: one pattern a line, ``#`` begins a comment line, ``*`` and ``?`` do not
cross a ``/``, ``**`` does, ``!`` takes back, the last pattern that matches wins, and a pattern that matches a directory
matches everything below it. Patterns are anchored at the context directory.

Three things are left out whatever the patterns say: the Kitfile and ``.kitignore`` at the root of the context, the
droppings of operating systems (``.DS_Store``, ``Thumbs.db``, …) anywhere, in any case, and what ``kit unpack`` leaves
(``.kitops-unpacked.json``, and staging directories of killed runs).
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from kitops.errors import FileSystemError, InvalidValueError, printable

if TYPE_CHECKING:
    from pathlib import Path

IGNORE_FILE: Final = ".kitignore"
ROOT_NAMES: Final = frozenset({"Kitfile", "kitfile", ".kitfile", IGNORE_FILE})
JUNK: Final = frozenset(
    {
        ".ds_store",
        ".appledouble",
        ".lsoverride",
        ".spotlight-v100",
        ".trashes",
        "thumbs.db",
        "desktop.ini",
        "$recycle.bin",
        "ehthumbs.db",
    }
)
OWN: Final = ".kitops-unpack"
MAX_SIZE: Final = 1 << 20

Verdicts: TypeAlias = tuple[bool, ...]
"""For one directory: which patterns match it or a directory above it, in the order of the patterns."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    takes_back: bool
    expression: re.Pattern[str]


class IgnoreRules:
    """The patterns of one ``.kitignore``. Make it with :meth:`parse`; immutable."""

    __slots__ = ("_patterns", "takes_back")

    def __init__(self, patterns: tuple[_Pattern, ...] = ()) -> None:
        self._patterns = patterns
        self.takes_back: Final = any(pattern.takes_back for pattern in patterns)
        """Whether something below an ignored directory may be taken back (``!``)."""

    @classmethod
    def parse(cls, text: str, path: str = IGNORE_FILE) -> IgnoreRules:
        """Read the lines of an ignore file; ``path`` names it in errors.

        Raises:
            InvalidValueError: a pattern is malformed; the line is told.
        """
        patterns: list[_Pattern] = []
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            if line.startswith("#"):
                continue
            try:
                pattern = _parse_line(line.strip())
            except ValueError as error:
                raise InvalidValueError(f"{path}: line {number}: {error}") from error
            if pattern is not None:
                patterns.append(pattern)
        return cls(tuple(patterns))

    def is_ignored(self, path: str, *, is_dir: bool) -> bool:  # noqa: ARG002 - Docker's rules do not ask; callers read better
        """Whether the file or directory ``path`` (relative to the context, with ``/``, clean) is left out."""
        parts = path.split("/")
        verdicts = self.start()
        for depth in range(1, len(parts)):
            verdicts = self.judge("/".join(parts[:depth]), verdicts)
        return any(is_junk(part) for part in parts) or parts[0] in ROOT_NAMES or self.decide(self.judge(path, verdicts))

    def start(self) -> Verdicts:
        """The verdicts on the context directory itself: nothing matches it."""
        return (False,) * len(self._patterns)

    def judge(self, path: str, above: Verdicts) -> Verdicts:
        """Which patterns match ``path`` or, as ``above`` says, a directory above it."""
        return tuple(
            matched or pattern.expression.fullmatch(path) is not None
            for pattern, matched in zip(self._patterns, above, strict=True)
        )

    def decide(self, verdicts: Verdicts) -> bool:
        """Whether the last pattern that matches says that it is left out."""
        for pattern, matched in zip(reversed(self._patterns), reversed(verdicts), strict=True):
            if matched:
                return not pattern.takes_back
        return False


def is_junk(name: str) -> bool:
    """Whether ``name`` (one component) is something that an operating system, or our own unpack, dropped."""
    return name.lower() in JUNK or name.startswith(OWN)


def is_ours(path: str) -> bool:
    """Whether a component of ``path`` is a name that our own unpack uses in its target."""
    return OWN in path and any(name.startswith(OWN) for name in path.split("/"))


def read_ignore(context: Path) -> IgnoreRules:
    """The rules of ``.kitignore`` in ``context``; none when there is no such file.

    Raises:
        FileSystemError: it cannot be read, or is a symbolic link that leads nowhere: what it lists must not be packed.
        InvalidValueError: it is not UTF-8 text, is larger than 1 MiB, or has a malformed pattern.
    """
    path = os.path.join(context, IGNORE_FILE)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would never end
            raise FileSystemError(f"reading {printable(path)}: it is not a file", path=printable(path))
        with open(path, "rb") as file:
            raw = file.read(MAX_SIZE + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not os.path.lexists(path):
            return IgnoreRules()
        raise FileSystemError.wrap(error, "reading", path) from error
    return parse_ignore(raw, path)


def parse_ignore(raw: bytes, path: str) -> IgnoreRules:
    """The rules of an ignore file with these bytes.

    Raises:
        InvalidValueError: it is not UTF-8 text, is larger than 1 MiB, or has a malformed pattern.
    """
    if len(raw) > MAX_SIZE:
        raise InvalidValueError(f"{path} is larger than {MAX_SIZE} bytes")
    try:
        return IgnoreRules.parse(raw.decode("utf-8"), path)
    except UnicodeDecodeError as error:
        raise InvalidValueError(f"{path} is not UTF-8 text") from error


def _parse_line(line: str) -> _Pattern | None:
    takes_back = line.startswith("!")
    text = line[1:].strip() if takes_back else line
    if not text:
        if takes_back:
            raise ValueError("a `!` needs a pattern after it")
        return None
    text = posixpath.normpath(text)
    if len(text) > 1:
        text = text.lstrip("/")
    return _Pattern(takes_back, re.compile(_to_expression(text)))


def _to_expression(pattern: str) -> str:
    """The regular expression (for ``fullmatch``) of a clean pattern."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*" and pattern.startswith("*", at):
            at += 1
            at += pattern.startswith("/", at)
            out.append(_stars(pattern, at))
        elif letter == "*":
            out.append("[^/]*")
        elif letter == "?":
            out.append("[^/]")
        elif letter == "[":
            text, at = _letter_class(pattern, at)
            out.append(text)
        elif letter == "\\":
            if at == len(pattern):
                raise ValueError(f"{pattern!r} ends in a backslash")
            out.append(re.escape(pattern[at]))
            at += 1
        else:
            out.append(re.escape(letter))
    return "".join(out)


def _stars(pattern: str, at: int) -> str:
    """What ``**`` (with a ``/`` after it eaten) stands for; ``at`` is where the pattern goes on."""
    if at == len(pattern):
        return "(?s:.*)"
    if at == 2 and not any(letter in pattern[at:] for letter in "*?[]\\"):
        return "(?s:.*)"  # Docker reads a leading `**` before plain text as "ends in", so `**x` matches `a/bx` and `bx`
    return "(?s:.*/)?"


def _letter_class(pattern: str, at: int) -> tuple[str, int]:
    """``[a-z]``, ``[^x]`` as in Go's ``filepath.Match``; ``at`` is behind the bracket. The text, and where it ends."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while True:
        if at < len(pattern) and pattern[at] == "]" and ranges:
            return f"[{'^' if negated else ''}{''.join(ranges)}]", at + 1
        low, at = _class_letter(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_letter(pattern, at + 1)
        if low > high:
            raise ValueError(f"{pattern!r} has a range that runs backwards")
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")


def _class_letter(pattern: str, at: int) -> tuple[str, int]:
    if pattern.startswith("\\", at):
        at += 1
    elif pattern.startswith(("-", "]"), at):
        raise ValueError(f"{pattern!r} has a malformed [...]")
    if at >= len(pattern):
        raise ValueError(f"{pattern!r} has a [ without its ]")
    return pattern[at], at + 1
