"""MCP bundles: a zip with a ``manifest.json`` at its root, packed as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kitops.errors import FileSystemError, PackError

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST: Final = "manifest.json"


def directory_error(field: str, path: str) -> PackError:
    """The error of a part, an MCP server, whose path is a directory."""
    return PackError(
        f"{field}: {path} is a directory, and not an MCP bundle",
        hint="name the server's .mcpb file, which `mcpb pack` makes of its directory",
    )


def check_bundle(path: Path) -> None:
    """Raise PackError unless ``path`` is an MCP bundle.

    Raises:
        PackError: it is no zip, or has no ``manifest.json`` at its root.
        FileSystemError: it cannot be read.
    """
    import zipfile  # noqa: PLC0415 - most Kitfiles have no MCP server

    try:
        with zipfile.ZipFile(path) as bundle:
            has_manifest = MANIFEST in bundle.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:  # what damaged directories make it raise
        raise PackError(f"{path} is not an MCP bundle: it is no zip file") from error
    except OSError as error:
        raise FileSystemError.wrap(error, "reading", path) from error
    if not has_manifest:
        raise PackError(f"{path} is not an MCP bundle: it has no {MANIFEST} at its root")
