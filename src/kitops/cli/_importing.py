"""What ``kit import`` and ``kit init --remote`` ask people, read and write."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from kitops.cli._output import to_stderr, to_stdout
from kitops.cli._values import can_ask, read_hub, read_stdin, read_token
from kitops.errors import FileSystemError, InvalidValueError, KitError, KitfileError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.cli._session import Session
    from kitops.ops.import_ import Imported
    from kitops.ops.init import InitOptions
    from kitops.ops.sources import SourceOptions


class KitfileEditor:
    """A generated Kitfile in a person's editor, until it is right; what was written is not lost.

    Args:
        session: whom to tell.
        is_wanted: whether it is edited unasked.
    """

    def __init__(self, session: Session, *, is_wanted: bool) -> None:
        self._session = session
        self._is_wanted = is_wanted
        self._written = ""

    def __call__(self, text: str) -> str:
        """The Kitfile as it was left in the editor; as it is where that is not wanted.

        Raises:
            InvalidValueError: it was emptied, or has problems and nobody mends them.
            KitError: the editor failed.
        """
        if not self._is_wanted and not click.confirm("Edit the Kitfile?", default=False, err=True):
            return text
        while True:
            try:
                text = click.edit(text, extension=".yaml", require_save=False) or ""
            except click.ClickException as error:
                hint = "name another editor in $EDITOR, or leave out --edit"
                raise KitError(f"editing the Kitfile: {error.message.lower()}", hint=hint) from error
            if not text.strip():
                self._written = ""
                raise InvalidValueError("the Kitfile was emptied: nothing is imported")
            self._written = text
            if self._is_right(text):
                return text

    def _is_right(self, text: str) -> bool:
        """Whether there is no problem; a person is told of one, and asked whether to mend it."""
        from kitops.kitfile.parse import parse

        try:
            parse(text.encode(), "Kitfile")
        except KitfileError as error:
            if not can_ask():
                raise
            to_stderr("".join(f"{printable(line)}\n" for line in error.lines))
            if not click.confirm("Edit it again?", default=True, err=True):
                raise
            return False
        return True

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """What was written is kept in a file when the block fails."""
        try:
            yield
        except BaseException:
            if self._written:
                self._keep()
            raise

    def _keep(self) -> None:
        with suppress(OSError):  # the error of the block matters more
            descriptor, path = tempfile.mkstemp(prefix="Kitfile-", suffix=".yaml")
            with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(self._written)
            self._session.say(f"the Kitfile that you wrote is kept: go on with `-f {path}`", "warning")


def make_editor(session: Session) -> KitfileEditor | None:
    """The editor for the Kitfile, if ``--edit`` says so, or a person can be asked."""
    context = click.get_current_context()
    is_wanted = bool(context.params["edit"])
    is_said = context.get_parameter_source("edit") is ParameterSource.COMMANDLINE
    return KitfileEditor(session, is_wanted=is_wanted) if is_wanted or (not is_said and can_ask()) else None


def read_kitfile(kitfile: str | None) -> bytes | None:
    """What ``-f`` names, if anything.

    Raises:
        FileSystemError: it cannot be read.
    """
    if kitfile is None:
        return None
    if kitfile == "-":
        return read_stdin()
    from kitops.kitfile.parse import read_text

    return read_text(Path(kitfile))


def check_writable(target: str) -> None:
    """Refuse early what :func:`write_result` could not write at the end.

    Raises:
        FileSystemError: there is no such directory, or it is one, or it may not be written.
    """
    path = Path(target)
    wrong = 0
    if target != "-" and path.is_dir():
        wrong = errno.EISDIR
    elif target != "-" and not path.parent.is_dir():
        wrong = errno.ENOENT
    elif target != "-" and not os.access(path if path.exists() else path.parent, os.W_OK):
        wrong = errno.EACCES
    if wrong:
        raise FileSystemError.wrap(OSError(wrong, os.strerror(wrong)), "writing", target)


def write_result(target: str, text: str) -> None:
    """Write a result to a file, or to stdout for ``-``.

    Raises:
        FileSystemError: it cannot be written.
    """
    if target == "-":
        to_stdout(text)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileSystemError.wrap(error, "writing", target) from error


def describe_import(imported: Imported) -> dict[str, Any]:
    """An import as JSON."""
    return {
        "digest": str(imported.desc.digest),
        "references": [str(ref) for ref in imported.references],
        "source": imported.origin.uri,
        "revision": imported.origin.revision,
        "size": imported.size,
        "fetchedSize": imported.fetched_size,
    }


def print_remote(session: Session, source: str, reach: SourceOptions, options: InitOptions) -> None:
    """Print (or write) the Kitfile of a source that is not here; what ``options`` say of the package is right."""
    from kitops.importers.location import parse_location
    from kitops.importers.tree import check_paths
    from kitops.kitfile.dump import dump, to_json
    from kitops.ops.describe_tree import describe_tree
    from kitops.ops.init import check_absent, write_kitfile
    from kitops.ops.sources import open_source

    location = parse_location(source, hub=read_hub())
    reach = replace(reach, token=read_token(reach.token, location.kind))
    output = options.output
    if output:
        check_absent([output], force=options.force)
    with session.place() as place, open_source(place, location, reach) as tree:
        check_paths(tree.files, tree.origin)
        kitfile = describe_tree(tree, tree.files, place.run, depth=options.depth)
    authors = (options.author,) if options.author else kitfile.package.authors
    package = replace(
        kitfile.package,
        name=options.name or kitfile.package.name,
        description=options.description or kitfile.package.description,
        authors=authors,
    )
    kitfile = replace(kitfile, package=package)
    if output:
        write_kitfile(output, dump(kitfile))
        session.result(f"Kitfile saved: {output}", {"path": str(output), "kitfile": to_json(kitfile)})
    elif session.output_format == "json":
        session.result("", {"path": None, "kitfile": to_json(kitfile)})
    else:
        to_stdout(dump(kitfile))
