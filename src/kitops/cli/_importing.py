"""What ``kit import`` and ``kit init --remote`` ask people, read and write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kitops.cli._output import to_stdout
from kitops.cli._values import hub_host, read_stdin
from kitops.errors import FileSystemError

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.ops.import_ import Imported
    from kitops.ops.sources import SourceOptions


def edit_kitfile(text: str) -> str:
    """The Kitfile as it was left in the editor; as it is where that is not wanted."""
    context = click.get_current_context()
    if not context.params["edit"] and not click.confirm("Edit the Kitfile?", default=False, err=True):
        return text
    return click.edit(text, extension=".yaml", require_save=False) or text


def read_kitfile(kitfile: str | None) -> bytes | None:
    """What ``-f`` names, if anything.

    Raises:
        FileSystemError: it cannot be read.
    """
    if kitfile is None:
        return None
    if kitfile == "-":
        return read_stdin()
    try:
        return Path(kitfile).read_bytes()
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", kitfile) from error


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


def print_remote(session: Session, source: str, options: SourceOptions, depth: int, output: str | None) -> None:
    """Print (or write) the Kitfile of a source that is not here."""
    from kitops.importers.location import parse_location
    from kitops.kitfile.dump import dump, to_json
    from kitops.ops.describe_tree import describe_tree
    from kitops.ops.init import write_kitfile
    from kitops.ops.sources import open_source

    location = parse_location(source, hub_host=hub_host())
    with session.place() as place, open_source(place, location, options) as tree:
        kitfile = describe_tree(tree, tree.files, place.run, depth=depth)
    if output and output != "-":
        write_kitfile(Path(output), dump(kitfile))
        session.result(f"Kitfile saved: {output}", {"path": output, "kitfile": to_json(kitfile)})
    elif session.output_format == "json":
        session.result("", {"path": None, "kitfile": to_json(kitfile)})
    else:
        to_stdout(dump(kitfile))
