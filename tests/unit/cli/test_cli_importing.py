"""What ``kit import`` and ``kit init`` ask, refuse and keep: of a directory, which needs no network."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from cli_runs import START, Kit, talk_to


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    root.mkdir()
    (root / "model.onnx").write_bytes(b"weights")
    (root / "notes.md").write_bytes(b"# notes")
    return root


def editor(tmp_path: Path, *scripts: str) -> dict[str, str]:
    """Variables that name an editor: it runs the first of ``scripts`` the first time, the last one from then on."""
    program = tmp_path / "editor"
    cases = "".join(f"{index}) {script} ;;\n" for index, script in enumerate(scripts[:-1]))
    program.write_text(
        f"#!/bin/sh\ncount=$(cat {tmp_path}/count 2>/dev/null || echo 0)\necho $((count + 1)) > {tmp_path}/count\n"
        f"case $count in\n{cases}*) {scripts[-1]} ;;\nesac\n"
    )
    program.chmod(0o755)
    (tmp_path / "tmp").mkdir()
    return {"EDITOR": str(program), "VISUAL": str(program), "TMPDIR": str(tmp_path / "tmp")}


BREAK = "sed -i 's/^model:/modle:/' \"$1\""
MEND = "sed -i 's/^modle:/model:/; s/model.onnx/.\\/model.onnx/' \"$1\""
EMPTY = ': > "$1"'


def talk(
    environment: Mapping[str, str],
    tmp_path: Path,
    scripts: tuple[str, ...],
    words: tuple[str, ...],
    *answers: tuple[bytes, bytes],
) -> tuple[int, str]:
    """``kit`` on a terminal with an editor."""
    variables = {**environment, **editor(tmp_path, *scripts)}
    return talk_to([sys.executable, "-c", START, *words], variables, list(answers))


def test_a_kitfile_with_problems_is_opened_again(environment: Mapping[str, str], tmp_path: Path, model: Path) -> None:
    answers = [(b"Edit the Kitfile?", b"y\n"), (b"Edit it again?", b"\n")]
    code, screen = talk(environment, tmp_path, (BREAK, MEND), ("import", str(model)), *answers)
    assert code == 0, screen
    assert "modle" in screen
    assert (tmp_path / "count").read_text() == "2\n"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_was_written_is_kept_when_nobody_mends_it(
    environment: Mapping[str, str], tmp_path: Path, model: Path
) -> None:
    answers = [(b"Edit it again?", b"n\n")]
    code, screen = talk(environment, tmp_path, (BREAK,), ("import", str(model), "--edit"), *answers)
    assert code == 2, screen
    (kept,) = (tmp_path / "tmp").iterdir()
    assert "modle:" in kept.read_text()
    assert str(kept) in re.sub(r"\s+", "", screen)


def test_what_was_written_is_kept_where_nobody_can_be_asked(kit_process: Kit, tmp_path: Path, model: Path) -> None:
    """Problems that only show when it is packed are no reason to lose it either."""
    for script in (BREAK, "sed -i 's/model.onnx/none.onnx/' \"$1\""):
        done = kit_process("import", str(model), "--edit", env=editor(tmp_path, script))
        assert done.code in (2, 3)
        (kept,) = (tmp_path / "tmp").iterdir()
        assert f"-f {kept}" in done.err
        assert re.search(r"modle:|none\.onnx", kept.read_text())
        kept.unlink()
        (tmp_path / "tmp").rmdir()


def test_an_emptied_kitfile_imports_nothing(kit_process: Kit, tmp_path: Path, model: Path) -> None:
    done = kit_process("import", str(model), "--edit", env=editor(tmp_path, EMPTY))
    assert done.code == 2
    assert "nothing is imported" in done.err
    assert kit_process("list", "--format", "json").json == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_editor_that_fails_is_no_wrong_command_line(kit_process: Kit, tmp_path: Path, model: Path) -> None:
    done = kit_process("import", str(model), "--edit", env=editor(tmp_path, "exit 3"))
    assert done.code == 1
    assert "Hint: name another editor in $EDITOR" in done.err
    done = kit_process("import", str(model), "--edit", env={"EDITOR": "no-such-editor", "VISUAL": ""})
    assert (done.code, "editing the Kitfile: no-such-editor" in done.err) == (1, True)
    assert kit_process("list", "--format", "json").json == []


def test_nobody_is_asked_who_said_no(environment: Mapping[str, str], tmp_path: Path, model: Path) -> None:
    code, screen = talk(environment, tmp_path, (EMPTY,), ("import", str(model), "--edit=false"))
    assert code == 0, screen
    assert "Edit the Kitfile" not in screen


def test_where_the_attestation_goes_is_looked_at_first(kit: Kit, tmp_path: Path, model: Path) -> None:
    for target, reason in ((tmp_path / "none/x.json", "no such file"), (tmp_path, "is a directory")):
        done = kit("import", str(model), "--attestation-output", str(target))
        assert done.code == 14
        assert reason in done.err
    assert kit("list", "--format", "json").json == []
    assert kit("import", str(model), "--attestation-output", str(tmp_path / "x.json")).code == 0
    assert (tmp_path / "x.json").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--ref", "v1"), "--ref does not apply to a directory"),
        (("--token", "x"), "--token does not apply to a directory"),
        (("--submodules",), "--submodules does not apply to a directory"),
        (("--tool", "git"), "not of git"),
        (("--tool", "hf"), "not on Hugging Face"),
        (("-t", "x:v1", "--to", "registry.example.com/x:v1"), "called as it is there"),
    ],
)
def test_what_does_not_apply_is_refused(kit: Kit, model: Path, words: tuple[str, ...], told: str) -> None:
    done = kit("import", str(model), *words)
    assert done.code == 2
    assert told in done.err


def test_a_directory_goes_straight_to_a_registry(kit: Kit, model: Path, registry: str, tmp_path: Path) -> None:
    (model / "README.md").write_text("---\nlicense: mit\n---\n")
    ref = f"{registry}/team/model:v1"
    done = kit("import", str(model), "--to", ref, "--plain-http")
    assert done.code == 0, done.err
    assert done.out.startswith("Pushed sha256:")
    assert kit("list", "--format", "json").json == []
    assert kit("unpack", ref, "-d", str(tmp_path / "out"), "--plain-http").code == 0
    assert (tmp_path / "out/model.onnx").read_bytes() == b"weights"
    assert "license: MIT" in (tmp_path / "out/Kitfile").read_text()


def test_a_directory_is_not_remote(kit: Kit, model: Path) -> None:
    done = kit("init", "--remote", str(model))
    assert done.code == 2
    assert f"kit init {model}" in done.err
    assert kit("init", str(model), "--ref", "v1").code == 2
