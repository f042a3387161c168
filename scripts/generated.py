"""Write the generated documents, or check that they are current: the commands and the JSON Schema of the Kitfile.

python scripts/generated.py write
python scripts/generated.py check
"""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kitops.cli._root import root
from kitops.kitfile.schema import json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 100


def schema() -> str:
    """The JSON Schema that editors use."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def commands() -> str:
    """The reference of the command line: what ``kit COMMAND --help`` prints, command by command."""
    pages = list(_pages(root, "kit", None))
    contents = " · ".join(f"[`{path}`](#{path.replace(' ', '-')})" for path, _ in pages)
    body = "\n".join(f"## {path}\n\n```text\n{help_text}\n```\n" for path, help_text in pages)
    return (
        "# Commands\n\n<!-- Written by `make docs` from the commands themselves: do not edit. -->\n\n"
        f"{contents}\n\nWhat each [exit code](exit-codes.md) means is on a page of its own.\n\n{body}"
    )


def _pages(command: click.Command, path: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent)
    context.terminal_width = context.max_content_width = WIDTH
    yield path, "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from _pages(found, f"{path} {name}", context)


def main() -> None:
    """Write or check."""
    verb = sys.argv[1] if len(sys.argv) == 2 else ""
    if verb not in ("write", "check"):
        sys.exit(__doc__)
    stale = False
    for name, text in (("cli.md", commands()), ("kitfile.schema.json", schema())):
        path = DOCS / name
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        if found == text:
            continue
        if verb == "write":
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")
        else:
            stale = True
            print(f"docs/{name} is not current: run `make docs`")
            print("\n".join(list(difflib.unified_diff(found.splitlines(), text.splitlines(), lineterm=""))[:20]))
    sys.exit(stale)


if __name__ == "__main__":
    main()
