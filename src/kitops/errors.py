"""The error tree.

Everything that a person, a registry or a disk can do wrong is a :class:`KitError` with a one-line
message (lower case, says what was being done to what), an optional ``hint`` (what to type next) and
an exit code of its own::

    KitError                      1
      InvalidValueError           2
        KitfileError              2
        HeaderError               2
      PackError                   3
      NotFoundError               4
      IntegrityError              5
      AuthenticationError         6
      RegistryError               7
      NetworkError                8
      StoreError                  9
      TrustError                 10
      SourceError                11
      DevError                   12
      DeployError                13
      FileSystemError            14

:class:`Cancelled` is not a KitError: nobody should catch it by accident on the way out.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Cancelled(Exception):  # noqa: N818 - it is not an error: somebody asked for the end
    """The work was asked to stop (Ctrl-C, SIGTERM, or a sibling that failed).

    Args:
        signal_number: the signal that asked, or None.
    """

    def __init__(self, signal_number: int | None = None) -> None:
        super().__init__("interrupted")
        self.signal_number = signal_number


class KitError(Exception):
    """The root: one line that says what was being done to what, and what to do next.

    Args:
        headline: that line.
        hint: what to do next.
        rows: what it is about, where that is several things: one each. ``message`` has a line for each of them below
            the headline. Whoever shows the error breaks lines at these places and nowhere else: the names in an error
            may be a stranger's, and hold line breaks of their own.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "error"

    def __init__(self, headline: str, *, hint: str | None = None, rows: Sequence[str] = ()) -> None:
        self.lines = (headline, *(f"  {row}" for row in rows))
        self.hint = hint
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """All that it says."""
        return "\n".join(self.lines)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        """How it comes out of another process: as it is, and not made from its message alone."""
        return _remake, (type(self), self.args), self.__dict__

    def to_json(self) -> dict[str, object]:
        """The error as a JSON object: ``error, message, exitCode`` and, where known, ``hint``."""
        found: dict[str, object] = {
            "error": self.kind,
            "message": self.message,
            "exitCode": self.exit_code,
        }
        if self.hint:
            found["hint"] = self.hint
        return found


def _remake(kind: type[KitError], args: tuple[object, ...]) -> KitError:
    return kind.__new__(kind, *args)


class InvalidValueError(KitError):
    """A reference, digest, filter, option or document that does not parse."""

    exit_code = 2
    kind = "invalid-value"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a Kitfile: where (1-based; 0 where unknown), which field, what, and what to do."""

    line: int
    column: int
    field: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line else ""
        field = f"{self.field}: " if self.field else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{field}{self.message}{hint}"


class KitfileError(InvalidValueError):
    """Every problem of one Kitfile, in the order of its lines.

    ``line``, ``column`` and ``field`` are those of the first problem.
    """

    kind = "kitfile"

    def __init__(self, path: str, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        self.path = path
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        if len(self.problems) == 1:
            super().__init__(f"{path}: {self.problems[0]}", hint=hint)
        else:
            rows = [str(problem) for problem in self.problems]
            super().__init__(f"{path}: {len(rows)} problems", hint=hint, rows=rows)

    @property
    def line(self) -> int:
        return self.problems[0].line if self.problems else 0

    @property
    def column(self) -> int:
        return self.problems[0].column if self.problems else 0

    @property
    def field(self) -> str:
        return self.problems[0].field if self.problems else ""

    def to_json(self) -> dict[str, object]:
        found = super().to_json()
        found["path"] = self.path
        found["problems"] = [
            {
                "line": problem.line,
                "column": problem.column,
                "field": problem.field,
                "message": problem.message,
                **({"hint": problem.hint} if problem.hint else {}),
            }
            for problem in self.problems
        ]
        return found


class HeaderError(InvalidValueError):
    """The header of a file of weights is malformed.

    Args:
        what: the file, for people.
        offset: the byte from its beginning where that showed.
        problem: what is wrong.
    """

    kind = "header"

    def __init__(self, what: str, offset: int, problem: str, *, hint: str | None = None) -> None:
        super().__init__(f"{what}, byte {offset}: {problem}", hint=hint)
        self.what = what
        self.offset = offset

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {"file": self.what, "offset": self.offset}


class PackError(KitError):
    """A path of a Kitfile is missing, ignored, special, or leaves the context directory."""

    exit_code = 3
    kind = "pack"


class NotFoundError(KitError):
    """A reference, tag, blob or part that is not there."""

    exit_code = 4
    kind = "not-found"


class IntegrityError(KitError):
    """Content is not what its descriptor says.

    Args:
        what: what was read, for people (``layer sha256:… of registry.example.com/x``).
        expected: the size or digest that was promised.
        actual: what came.
    """

    exit_code = 5
    kind = "integrity"

    def __init__(self, what: str, expected: object, actual: object, *, hint: str | None = None) -> None:
        super().__init__(f"{what} is damaged: expected {expected}, got {actual}", hint=hint)
        self.what = what
        self.expected = expected
        self.actual = actual


class AuthenticationError(KitError):
    """A registry wants other credentials than it was given."""

    exit_code = 6
    kind = "authentication"


class RegistryError(KitError):
    """A registry answered with an error.

    Args:
        status: the HTTP status.
        codes: the specification's error codes, verbatim (distribution-spec, "Error Codes").
        request: method and URL, without secrets.
    """

    exit_code = 7
    kind = "registry"

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        codes: Sequence[str] = (),
        request: str = "",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.codes = tuple(codes)
        self.request = request

    def to_json(self) -> dict[str, object]:
        return super().to_json() | {
            "status": self.status,
            "codes": list(self.codes),
            "request": self.request,
        }


class NetworkError(KitError):
    """The network failed; trying again may help, unless it is ``permanent`` (no such host, a certificate refused)."""

    exit_code = 8
    kind = "network"

    def __init__(self, message: str, *, hint: str | None = None, permanent: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.permanent = permanent


class StoreError(KitError):
    """The local store is not what it should be."""

    exit_code = 9
    kind = "store"


class TrustError(KitError):
    """No signature, wrong identity, refused by policy, or unsafe content."""

    exit_code = 10
    kind = "trust"


class SourceError(KitError):
    """Hugging Face, git, MLflow or object storage failed."""

    exit_code = 11
    kind = "source"


class DevError(KitError):
    """The development server failed."""

    exit_code = 12
    kind = "dev"


class DeployError(KitError):
    """A deployment could not be made."""

    exit_code = 13
    kind = "deploy"


class FileSystemError(KitError):
    """The operating system refused something on the user's files: disk full, permission, read-only, name too long.

    Args:
        message: the line; see :meth:`wrap` to make it from an OSError.
        path: the file or directory.
    """

    exit_code = 14
    kind = "file-system"

    def __init__(self, message: str, *, path: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.path = path

    @classmethod
    def wrap(
        cls,
        error: OSError,
        doing: str,
        path: str | bytes | PathLike[str] | PathLike[bytes],
        *,
        needed: int | None = None,
        free: int | None = None,
    ) -> FileSystemError:
        """Make the error from ``error`` while ``doing`` (``"writing"``) ``path``.

        Args:
            error: what the system said.
            doing: a verb in -ing form.
            path: what it was done to.
            needed: bytes needed, told when space is short.
            free: bytes free, told when space is short.
        """
        text = printable(path)
        reason = (error.strerror or str(error)).lower()
        hint = _HINTS.get(error.errno or 0)
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and needed is not None and free is not None:
            reason = f"{reason} ({needed} bytes needed, {free} bytes free)"
        return cls(f"{doing} {text}: {reason}", path=text, hint=hint)


_HINTS: Mapping[int, str] = {
    errno.ENOSPC: "free some space, or see `kit prune --dry-run`",
    errno.EDQUOT: "free some space or ask for a larger quota",
    errno.EACCES: "check who owns it and its permissions",
    errno.EPERM: "check who owns it and its permissions",
    errno.EROFS: "choose a place that can be written to",
    errno.ENAMETOOLONG: "shorten the name",
    errno.ENOENT: "check how it is spelled; a relative path starts from the working directory",
}


@contextmanager
def naming(source: str, hint: str | None = None) -> Iterator[None]:
    """In the block, errors about a value tell ``source``, where it stands; ``hint`` takes the place of theirs.

    Raises:
        InvalidValueError: one does not.
    """
    try:
        yield
    except InvalidValueError as error:
        raise InvalidValueError(f"{source}: {error.message}", hint=hint or error.hint) from error


def printable(path: str | bytes | PathLike[str] | PathLike[bytes]) -> str:
    r"""A path or any text for people: undecodable bytes and control characters are escaped (``\\xff``)."""
    raw = fspath(path)
    if isinstance(raw, bytes):
        text = raw.decode("utf-8", "backslashreplace")
    else:
        try:
            text = raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:  # half a character, as JSON may have it, and not the byte of a path
            text = raw
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
