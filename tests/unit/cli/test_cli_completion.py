"""Completion: what is answered, and that real shells make of it what they should."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cli_runs import START, Kit, talk_to

from kitops.cli._completion import SCRIPTS, list_references
from kitops.cli._options import PART_TYPES
from kitops.formats import select

Need = Callable[[str], str]
Ask = Callable[[str], list[str]]


@pytest.fixture
def references(kit: Kit, project: Path) -> None:
    """digits:v1, digits:v2 and reg.example.com:5000/team/x:1 in the store."""
    assert kit("pack", str(project), "-t", "digits:v1,v2", "-t", "reg.example.com:5000/team/x:1").code == 0


@pytest.fixture
def ask(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The values (or types in brackets) that are answered for a line."""

    def answer(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("_KIT_COMPLETE", "bash_complete")
        ended = kit()
        assert (ended.code, ended.err) == (0, "")
        rows = [row.split("\t") for row in ended.out.splitlines() if row]
        return [value if kind == "plain" else f"<{kind}>" for kind, value, _ in rows]

    return answer


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("kit pu", ["push", "pull"]),
        ("kit -v --config x pu", ["push", "pull"]),
        ("kit cache a", ["adopt"]),
        ("kit push d", ["digits:v1", "digits:v2"]),
        ("kit push digits:v2", ["digits:v2"]),
        ("kit push --plain-http d", ["digits:v1", "digits:v2"]),
        ("kit push --plain-http=true reg.example.com:5000/", ["reg.example.com:5000/team/x:1"]),
        ("kit diff digits:v1 r", ["reg.example.com:5000/team/x:1"]),
        ("kit push 'd", ["digits:v1", "digits:v2"]),
        ("kit --config /nowhere push d", []),
        ("kit push --plain", ["--plain-http"]),
        ("kit pack ", ["<dir>"]),
        ("kit pack -f ", ["<file>"]),
        ("kit push --tls-verify=", ["--tls-verify=true", "--tls-verify=false"]),
        ("kit push digits:v1 --plain-http=f", ["--plain-http=false"]),
        ("kit unpack digits:v1 --as-skill=co", ["--as-skill=codex"]),
        ("kit unpack --as-skill=codex,cl", ["--as-skill=codex,claude-code"]),
        ("kit pack . --compression g", ["gzip", "gzip-fastest"]),
        ("kit pack . --compression=g", ["--compression=gzip", "--compression=gzip-fastest"]),
        ("kit list --progress=j", ["--progress=json"]),
        ("kit help exit", ["exit-codes"]),
        ("kit help pr", ["prune"]),
        ("kit completion z", ["zsh"]),
        ("kit diff local://", ["local://digits:v1", "local://digits:v2", "local://reg.example.com:5000/team/x:1"]),
        ("kit diff digits:v1 local://digits:v1", ["local://digits:v1"]),
        ("kit diff remote://", ["remote://reg.example.com:5000/team/x:1"]),
        ("kit copy store:d", ["store:digits:v1", "store:digits:v2"]),
        ("kit push local://", []),
        ("kit unpack digits:v1 -f d", ["datasets", "docs"]),
        ("kit unpack digits:v1 --filter=mo", ["--filter=model"]),
        ("kit pull -f model,d", ["model,datasets", "model,docs"]),
        ("kit export --filter kit", ["kitfile"]),
        ("kit list --format ", ["table", "json"]),
        ("kit list -f na", ["name="]),
        ("kit list -f mc", ["mcpservers"]),
        ("kit inspect --tensors --format t", ["table"]),
    ],
)
def test_candidates(references: None, ask: Ask, line: str, values: list[str]) -> None:
    assert sorted(ask(line)) == sorted(values)


def test_types_that_are_offered_are_types() -> None:
    assert set(PART_TYPES) == set(select._TYPES)


def test_every_command_is_offered(ask: Ask) -> None:
    assert {"init", "pack", "help", "completion"} <= set(ask("kit "))
    assert "--config" in ask("kit --")


def test_a_store_that_cannot_be_read_offers_nothing(environment: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "home" / "store").mkdir(parents=True)
    (tmp_path / "home" / "store" / "refs").write_text("not a directory")
    assert list_references(None, "") == []


def test_scripts_are_printed(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    for shell, script in SCRIPTS.items():
        monkeypatch.delenv("_KIT_COMPLETE", raising=False)
        assert kit("completion", shell).out == script
        monkeypatch.setenv("_KIT_COMPLETE", f"{shell}_source")
        assert kit().out == script
    for wrong in ("tcsh_complete", "bash_x"):
        monkeypatch.setenv("_KIT_COMPLETE", wrong)
        assert kit().code == 1


def test_powershell_asks_as_the_others_do(kit: Kit, references: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "$env:_KIT_COMPLETE = 'powershell_complete'" in SCRIPTS["powershell"]
    assert '-split "`t", 3' in SCRIPTS["powershell"]
    monkeypatch.setenv("_KIT_COMPLETE", "powershell_complete")
    monkeypatch.setenv("COMP_LINE", "kit push digits:v")
    assert kit().out == "plain\tdigits:v1\t\nplain\tdigits:v2\t\n"


# Real shells


@pytest.fixture
def shell_environment(environment: Mapping[str, str], references: None, tmp_path: Path) -> dict[str, str]:
    """An environment with ``kit`` on the path."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "kit"
    program.write_text(f"#!{sys.executable}\n{START.replace('; ', chr(10))}\n")
    program.chmod(0o755)
    (tmp_path / "user").mkdir()
    return {**environment, "PATH": f"{programs}:{os.environ['PATH']}", "TERM": "xterm"}


def run(words: list[str], env: Mapping[str, str], cwd: Path) -> str:
    done = subprocess.run(words, env=dict(env), cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


BASH = """
eval "$(kit completion bash)"
complete -p kit >/dev/null || exit 3
ask() {
    COMP_LINE="$1" COMP_POINT=${#1} COMPREPLY=()
    _kit_completion kit
    printf '%s|' "${COMPREPLY[@]}"
    echo
}
ask "kit pu"
ask "kit push digits:v"
ask "kit push reg.example.com:5000/t"
ask "kit pack . --compression=gzip-"
ask "kit diff local://digits:v"
ask "kit diff local://d"
COMP_WORDBREAKS=${COMP_WORDBREAKS//:}
ask "kit push digits:v"
"""


def test_bash(need: Need, shell_environment: dict[str, str], project: Path) -> None:
    out = run([need("bash"), "--norc", "-c", BASH], shell_environment, project)
    assert out.splitlines() == [
        "push|pull|",
        "v1|v2|",
        "5000/team/x:1|",
        "gzip-fastest|",
        "v1|v2|",
        "//digits:v1|//digits:v2|",
        "digits:v1|digits:v2|",
    ]


FISH = """
kit completion fish | source
complete -C 'kit pu' | sort
complete -C 'kit push digits:v'
complete -C 'kit pack . --compression=gzip-'
complete -C 'kit pack sr'
complete -C 'kit pack -f Kit'
"""


def test_fish(need: Need, shell_environment: dict[str, str], project: Path) -> None:
    out = run([need("fish"), "--no-config", "-c", FISH], shell_environment, project)
    values = [line.split("\t")[0] for line in out.splitlines()]
    assert values == ["pull", "push", "digits:v1", "digits:v2", "--compression=gzip-fastest", "src/", "Kitfile"]


ZSH = (
    b"unsetopt beep; autoload -Uz compinit; compinit -u -D; "
    b'eval "$(kit completion zsh)"; kit() { print -l "<"${^@}">" }\n'
)
EDITING = b"\x1b[?2004h"  # zsh's line editor reads: only from then on is a Tab more than a letter


def test_zsh(need: Need, shell_environment: dict[str, str], project: Path) -> None:
    """What a Tab makes of a line is seen by what ``print`` in place of ``kit`` gets."""
    answers = [
        (EDITING, b"cd " + str(project).encode() + b"\n"),
        (EDITING, ZSH),
        (EDITING, b"kit push reg\t\n"),
        (EDITING, b"kit pru\t\n"),
        (EDITING, b"kit pack sr\t\n"),
        (EDITING, b"kit unpack --dir=sr\t\n"),
        (EDITING, b"kit push digits:\t1\n"),
        (EDITING, b"exit\n"),
    ]
    code, screen = talk_to([need("zsh"), "-f", "-i"], {**shell_environment, "PS1": ">"}, answers)
    assert code == 0, screen
    for word in ("reg.example.com:5000/team/x:1", "prune", "src", "--dir=src", "digits:v1"):
        assert f"<{word}>" in screen, screen
