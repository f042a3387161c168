"""The scripts that check the documents find what is wrong, not only nothing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def readme() -> ModuleType:
    return load("run_readme")


@pytest.fixture(scope="module")
def links() -> ModuleType:
    return load("links")


def test_console_and_python_blocks_become_steps_and_others_do_not(readme: ModuleType) -> None:
    document = (
        "Text\n\n```console\n$ echo one \\\n    two\none two\n$ true\n```\n\n"
        "```sh\nrm -rf /\n```\n\n```python\nprint(1)\n```\n"
    )
    found = readme.steps(document)
    assert [(step.line, step.source, step.expected, step.is_python) for step in found] == [
        (4, "echo one \\\n    two", "one two\n", False),
        (7, "true", None, False),
        (15, "print(1)\n", None, True),
    ]


def test_a_console_block_begins_with_a_command(readme: ModuleType) -> None:
    with pytest.raises(ValueError, match="line 2"):
        readme.steps("```console\noutput\n```\n")


@pytest.mark.parametrize(
    ("actual", "expected", "equal"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a  \nb\n", "a\nb\n", True),
        ("sha256:0123\n", "sha256:…\n", True),
        ("a\nlong\ntail\nz\n", "a\n…\nz\n", True),
        ("a\nb\n", "a\n", False),
        ("a.c", "abc", False),
        ("one two\n", "one…three\n", False),
        ("x.a\nx.b\nx.c\n", "x.…\nx.…\n", False),  # dots within a line stand for no line
        ("a\nmore\n", "a…\n", False),
        ("a\nz\n", "a\n…\nz\n", False),
    ],
)
def test_output_is_compared_with_what_the_document_says(
    readme: ModuleType, actual: str, expected: str, *, equal: bool
) -> None:
    assert readme.is_as_expected(actual, expected) is equal


def test_links_to_missing_files_and_headings_are_found(
    links: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# A *good* heading!\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[ok](other.md#a-good-heading) [ok](https://example.com/x) [self](#page)\n# Page\n"
        "[gone](missing.md) [no heading](other.md#bad)\n```\n[in code](nowhere.md)\n```\n"
    )
    assert links.check(page) == ["page.md: missing.md: no such file", "page.md: other.md#bad: no such heading"]


def environment_script(tmp_path: Path, python: str) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{python}\n")
    program.chmod(0o755)
    return subprocess.run(
        [ROOT / "scripts" / "environment.sh", tmp_path / "environment", "requirements/quickstart.txt"],
        env={"PATH": os.environ["PATH"], "PYTHON": str(program)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_python_without_venv_is_told_plainly(tmp_path: Path) -> None:
    done = environment_script(
        tmp_path, f'case "$2" in *ensurepip*) exit 1;; esac\nexec {Path(sys.executable).resolve()} "$@"'
    )
    assert done.returncode == 1
    assert "cannot make virtual environments" in done.stderr
    assert "apt-get install python3-venv" in done.stderr
    assert not (tmp_path / "environment").exists()


def test_an_old_python_is_told_plainly(tmp_path: Path) -> None:
    done = environment_script(tmp_path, "exit 1")
    assert done.returncode == 1
    assert "is not a Python 3.11 or later" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def build_hook() -> ModuleType:
    pytest.importorskip("hatchling")
    return load("build_hook")


def test_a_build_notes_its_commit_and_time(
    build_hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    built = "2023-11-14T22:13:20Z"
    assert build_hook.read_note(tmp_path) == {"commit": None, "built": built}
    (tmp_path / "build.json").write_text('{"commit": "abc", "built": "of the source distribution"}')
    assert build_hook.read_note(tmp_path) == {"commit": "abc", "built": built}


def test_a_build_of_changed_files_says_so(build_hook: ModuleType, tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@example.com"]
    (tmp_path / "file").write_text("one")
    for words in (["init", "--quiet"], ["add", "file"], ["commit", "--quiet", "--message", "first"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True)
    commit = build_hook.read_commit(tmp_path)
    assert len(commit) == 40
    (tmp_path / "file").write_text("two")
    assert build_hook.read_commit(tmp_path) == f"{commit}-dirty"
