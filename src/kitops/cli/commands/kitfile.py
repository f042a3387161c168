"""``kit kitfile``: ``schema`` and ``lint``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kitops.cli._lazy import kit_group
from kitops.cli._options import file_path, kit_command, result_format
from kitops.cli._output import print_json
from kitops.cli._values import read_stdin

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.errors import Problem


@kit_group("kitfile")
def command() -> None:
    """Check Kitfiles; print their JSON Schema."""


@kit_command("schema", examples=[("kit kitfile schema > kitfile.schema.json", "for an editor")])
def schema() -> None:
    """Print the JSON Schema of Kitfiles."""
    from kitops.kitfile.schema import json_schema

    print_json(json_schema())


@kit_command(
    "lint",
    examples=[("kit kitfile lint", "the one here"), ("kit kitfile lint --format json model/Kitfile", "for programs")],
)
@click.argument("path", default=".", type=file_path(), metavar="[PATH]")
@result_format
@click.pass_obj
@click.pass_context
def lint(ctx: click.Context, session: Session, /, *, path: str) -> None:
    """Report every problem of the Kitfile PATH (a file, a directory, or - for stdin), and what it warns of.

    Exits 2 when there is a problem, 0 when there are only warnings.
    """
    from kitops.ops.kitfile import lint as lint_kitfile

    found = lint_kitfile(Path(path), read_stdin() if path == "-" else None)
    rows = [("error", problem) for problem in found.problems] + [("warning", problem) for problem in found.warnings]
    rows.sort(key=lambda row: (row[1].line, row[1].column))
    lines = [_line(found.path, level, problem) for level, problem in rows]
    if found.hint:
        lines.append(found.hint)
    value = {
        "path": found.path,
        "problems": [
            {"level": level, "line": one.line, "column": one.column, "field": one.field, "message": one.message,
             "hint": one.hint}
            for level, one in rows
        ],
    }  # fmt: skip
    session.result("\n".join(lines) or f"{found.path}: no problems", value)
    ctx.exit(2 if found.problems else 0)


def _line(path: str, level: str, problem: Problem) -> str:
    """One problem as compilers write theirs: editors find the place, where there is one."""
    field = f"{problem.field}: " if problem.field else ""
    hint = f" ({problem.hint})" if problem.hint else ""
    place = f":{problem.line}:{problem.column}" if problem.line else ""
    return f"{path}{place}: {level}: {field}{problem.message}{hint}"


command.add_command(schema)
command.add_command(lint)
