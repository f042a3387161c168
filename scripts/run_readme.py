"""Run the examples of the documents as a reader would, and compare what they print with what the documents say.

``console`` blocks hold commands after ``$`` (a line that ends with a backslash goes on) and the standard output that
is expected of them; no output in the block means that it is not compared. ``…`` stands for anything. ``python`` blocks
are run one after the other in one interpreter. Blocks of a document share a fresh directory with a copy of
``examples/``, a store of its own and a throw-away registry, whose address takes the place of ``localhost:5000``.
Any other kind of block (``sh``, ``yaml``, ``text``) is only read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kitops.server import RegistryServer

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "localhost:5000"


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
    """Whether the outputs are equal; ``…`` stands for any text, trailing blanks do not count."""
    pieces = [re.escape(piece) for piece in _trimmed(expected).split("…")]
    return re.fullmatch(".*".join(pieces), _trimmed(actual), re.DOTALL) is not None


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def run(document: Path) -> tuple[int, list[str]]:
    """Run the steps of one document: how many there were and what went wrong."""
    found = steps(document.read_text(encoding="utf-8"))
    wrong: list[str] = []
    if not found:
        return 0, wrong
    with tempfile.TemporaryDirectory(prefix="kitops-readme-") as name, RegistryServer(Path(name) / "reg") as registry:
        directory = Path(name) / "reader"
        shutil.copytree(ROOT / "examples", directory / "examples", ignore=shutil.ignore_patterns("__pycache__"))
        environment = os.environ | {
            "HOME": str(directory),
            "KITOPS_HOME": str(directory / ".kitops"),
            "DOCKER_CONFIG": str(directory / ".docker"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        python = ""
        for step in found:
            if step.is_python:  # what came before is run again, silently: the blocks of a page build on each other
                python += step.source.replace(ADDRESS, registry.address)
                command = [sys.executable, "-c", python]
            else:
                command = ["bash", "-euc", step.source.replace(ADDRESS, registry.address)]
            done = subprocess.run(
                command, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=120
            )
            place = f"{document.relative_to(ROOT)}:{step.line}"
            output = done.stdout.replace(registry.address, ADDRESS)
            if done.returncode:
                wrong.append(f"{place}: exit code {done.returncode}\n{step.source}\n{output}{done.stderr}")
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
