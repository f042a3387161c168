"""Run the examples of the documents as a reader would, and compare what they print with what the documents say.

``console`` blocks hold commands after ``$`` (a line that ends with a backslash goes on) and the standard output that
is expected of them; no output in the block means that it is not compared. ``…`` stands for anything on its line, and
alone on a line for any lines. ``python`` blocks are run one after the other in one interpreter; what they print is not
compared. Blocks of a document share a fresh directory with a copy of ``examples/``, a store of its own and a throw-away
registry, whose address takes the place of ``localhost:5000``. Any other kind of block (``sh``, ``yaml``, ``text``) is
only read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kitops.server import RegistryServer

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "localhost:5000"
INTERPRETER = """
import contextlib, io, json, sys, traceback
blocks, answers, names = sys.stdin, sys.stdout, {"__name__": "__main__"}
for block in blocks:
    said, failure = io.StringIO(), ""
    with contextlib.redirect_stdout(said):
        try:
            exec(compile(json.loads(block), "<document>", "exec"), names)
        except BaseException:
            failure = traceback.format_exc()
    print(json.dumps([said.getvalue(), failure]), file=answers, flush=True)
"""


@dataclass(frozen=True)
class Step:
    """One command or one Python block, and what it should print (None: anything)."""

    line: int
    source: str
    expected: str | None
    is_python: bool


def steps(document: str) -> list[Step]:
    """The steps of a document, in order."""
    found = []
    for match in BLOCK.finditer(document):
        line = document.count("\n", 0, match.start()) + 2
        kind, body = match.groups()
        found += [Step(line, body, None, is_python=True)] if kind == "python" else _commands(body, line)
    return found


def _commands(body: str, first_line: int) -> list[Step]:
    found: list[Step] = []
    lines = iter(enumerate(body.splitlines(), first_line))
    for number, line in lines:
        if line.startswith("$ "):
            source = line[2:]
            while source.endswith("\\"):
                source += "\n" + next(lines)[1]
            found.append(Step(number, source, None, is_python=False))
        elif found:
            last = found.pop()
            found.append(Step(last.line, last.source, (last.expected or "") + line + "\n", is_python=False))
        else:
            raise ValueError(f"line {number}: a console block begins with a command")
    return found


def is_as_expected(actual: str, expected: str) -> bool:
    """Whether the outputs are equal; trailing blanks do not count.

    ``…`` stands for any text on its line; alone on a line, for any lines.
    """
    blocks = re.split(r"^…$", _trimmed(expected), flags=re.MULTILINE)
    patterns = [r"[^\n]*".join(map(re.escape, block.split("…"))) for block in blocks]
    return re.fullmatch(r"[\s\S]*".join(patterns), _trimmed(actual)) is not None


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


class Interpreter:
    """A Python of its own that runs one block after the other, in ``directory``."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", INTERPRETER],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.communicate(timeout=60)

    def run(self, source: str) -> tuple[int, str, str]:
        """Exit code, what the block printed, and its traceback."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(source) + "\n")
        self._child.stdin.flush()
        said, failure = json.loads(self._child.stdout.readline())
        return int(bool(failure)), said, failure


def _set_modes(tree: Path) -> None:
    """Permission bits as with umask 022: the digests in the documents depend on them, a checkout's on its umask."""
    for path in (tree, *tree.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def run(document: Path) -> tuple[int, list[str]]:
    """Run the steps of one document: how many there were and what went wrong."""
    found = steps(document.read_text(encoding="utf-8"))
    wrong: list[str] = []
    if not found:
        return 0, wrong
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="kitops-readme-"))
        registry = stack.enter_context(RegistryServer(Path(name) / "registry"))
        directory = Path(name) / "reader"
        shutil.copytree(ROOT / "examples", directory / "examples", ignore=shutil.ignore_patterns("__pycache__"))
        _set_modes(directory / "examples")
        environment = os.environ | {
            "HOME": str(directory),
            "KITOPS_HOME": str(directory / ".kitops"),
            "DOCKER_CONFIG": str(directory / ".docker"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

        def shell(source: str) -> tuple[int, str, str]:
            command = ["bash", "-euc", source]
            done = subprocess.run(
                command, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=120
            )
            return done.returncode, done.stdout, done.stderr

        interpreter = stack.enter_context(Interpreter(directory, environment))
        for step in found:
            source = step.source.replace(ADDRESS, registry.address)
            code, output, errors = (interpreter.run if step.is_python else shell)(source)
            place = f"{document.relative_to(ROOT)}:{step.line}"
            output = output.replace(registry.address, ADDRESS)
            if code:
                wrong.append(f"{place}: exit code {code}\n{step.source}\n{output}{errors}")
                break
            if step.expected is not None and not is_as_expected(output, step.expected):
                wrong.append(f"{place}: {step.source}\n--- expected\n{step.expected}--- printed\n{output}")
    return len(found), wrong


def main() -> None:
    """Run the README and the documents, or those that are named."""
    documents = [ROOT / name for name in sys.argv[1:]] or [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "docs" / "how-to").glob("*.md")),
    ]
    total, wrong = 0, []
    for document in documents:
        count, problems = run(document)
        total += count
        wrong += problems
    print("\n".join(wrong) if wrong else f"{total} examples ran")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
