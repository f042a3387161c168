"""What people type by mistake: every end is an exit code and a line, whatever the words are."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest
from cli_runs import START, Kit

from kitops.cli._errors import translate
from kitops.cli._root import root

ROUNDS = 3000 if os.environ.get("KITOPS_CHAOS") == "long" else 500
KNOWN = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14}
DIGEST = "sha256:" + "0" * 64
WORDS = [
    *("", " ", ".", "..", "/", "-", "--", "---", "-x", "-1", "0", "99999999999999999999", "1e9", "true", "=", "--=x"),
    *("x", "x:1", "x:1,2", "x:", ":1", "@", "x@", "x@sha256:", f"x@{DIGEST}", DIGEST, "0" * 64, "x:1 ", "a:b:c"),
    *("X:1", "x:ü", "日本:1", "\udcff\udcfe", "x:\udcff", "a\nb", "\x1b[31m", "*", "?", "~", "$HOME", "'", '"', "\\"),
    *("a" * 300, "a" * 5000, "a/" * 200 + "x:1", "a" * 70 + ".com/x:1", "local://x:1", "remote://x:1", "local://"),
    *("127.0.0.1:1/x:1", "http://127.0.0.1:1/x:1", "[::1]:1/x:1", "[:::]:1/x:1", "127.0.0.1:99999/x:1", "127.0.0.1:1"),
    *("%s", "{{.Name}}", "{{", ".model", "model", "model:", "kitfile", "json", "table", "p", "p/Kitfile", "p/m.bin"),
    *("/dev/null", "/proc/self/mem", "nowhere/at/all", "a" * 300 + "/Kitfile"),
]


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that lead to it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from leaves(below, (*path, name))
        return
    yield path, command


# An import or export would go out to the network, and a server serves until it is told to end.
LEFT_OUT = {("import",), ("export",), ("registry", "serve")}
COMMANDS = [found for found in leaves(root) if found[0] not in LEFT_OUT]


def draw_line(chance: random.Random) -> list[str]:
    path, command = chance.choice(COMMANDS)
    options = [name for option in command.params if isinstance(option, click.Option) for name in option.opts]
    if path == ("init",):
        options.remove("--remote")
    words = list(path)
    for _ in range(chance.choice([0, 0, 1, 1, 2, 3])):
        name = chance.choice(options)
        words += chance.choice([[name], [f"{name}={chance.choice(WORDS)}"], [name, chance.choice(WORDS)]])
    return words + chance.sample(WORDS, chance.choice([0, 1, 1, 2]))


def test_any_words(kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p/m.bin").write_bytes(b"weights")
    (tmp_path / "p/Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {name: m, path: m.bin}\n")
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    for number in range(ROUNDS):
        if number % 100 == 0:
            assert kit("pack", "p", "-t", "x:1").code in (0, 3)
        words = draw_line(chance)
        ended = kit(*words)
        assert ended.code in KNOWN, (seed, words, ended.err)
        assert "Traceback" not in ended.err, (seed, words, ended.err)
        assert ended.code == 0 or ended.err or ended.out, (seed, words, "ended without a word")


@pytest.mark.parametrize("command", ["info", "inspect"])
@pytest.mark.parametrize(
    ("reference", "code", "told"),
    [
        ("", 2, "Error: '': repository '' is not valid"),
        ("digits", 2, "Error: digits has neither tag nor digest"),
        ("digits:", 2, "Error: 'digits:': tag '' is not valid"),
        ("digits:v1,v2", 2, "Error: 'digits:v1,v2' names 2 tags, one is wanted here"),
        ("digits@v1", 2, "Error: 'v1' is not a digest"),
        ("Digits:v1", 2, "Error: 'Digits:v1': repository 'Digits' is not valid"),
        ("digits:v9", 4, "Error: digits:v9 is not in the local store"),
        (DIGEST, 4, f"Error: {DIGEST} is not in the local store"),
        (f"digits:v1@{DIGEST}", 4, f"Error: digits:v1@{DIGEST} is not in the local store"),
        ("\udcff:v1", 2, "Error: "),
        ("a" * 400 + ":v1", 2, "Error: "),
        ("\x1b[31mred:v1", 2, "Error: "),
    ],
)
def test_odd_references(kit: Kit, project: Path, command: str, reference: str, code: int, told: str) -> None:
    assert kit("pack", str(project), "-t", "digits:v1").code == 0
    ended = kit(command, reference)
    assert (ended.code, ended.err.startswith(told)) == (code, True), ended.err
    assert "\x1b" not in ended.err
    assert ended.out == ""


def test_a_missing_tag_is_told_once(kit: Kit, project: Path) -> None:
    assert kit("pack", str(project), "-t", "127.0.0.1:1/digits").code == 0
    assert kit("push", "127.0.0.1:1/digits", "--plain-http").err.count("has no tag") == 1
    assert kit("pack", str(project), "-t", "digits").code == 0
    for source in ("digits", "store:digits", "127.0.0.1:1/digits"):
        ended = kit("copy", source, "oci:/dev/null/layout", "--plain-http")
        assert ended.err.count("has no tag: using") == 1, ended.err


def test_bytes_that_are_no_text(environment: Mapping[str, str]) -> None:
    for words, code in (([b"info", b"\xff\xfe:1"], 2), ([b"\xff"], 2), ([b"pack", b"\xff"], 3)):
        done = subprocess.run(
            [os.fsencode(sys.executable), b"-c", START.encode(), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, b"Traceback" in done.stderr) == (code, False), done.stderr


NO_TEXT = b"\xff\xfe"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([b"login", b"127.0.0.1:1", b"-u", NO_TEXT, b"-p", b"x"], b"'-u' / '--username': '\\xff\\xfe' is not UTF-8"),
        ([b"login", b"127.0.0.1:1", b"-u", b"ada", b"-p", NO_TEXT], b"'\\xff\\xfe' is not UTF-8"),
        ([b"pack", b"project", b"--annotation", NO_TEXT + b"=b"], b"'--annotation': '\\xff\\xfe=b' is not UTF-8"),
        ([b"init", b"project", b"-f", b"--name=" + NO_TEXT], b"'--name': "),
        ([b"import", b"git+https://" + NO_TEXT], b"'SOURCE': "),
        ([b"list", NO_TEXT, b"--format=json"], b'"error": "usage"'),
    ],
)
def test_text_is_utf_8(
    environment: Mapping[str, str], project: Path, tmp_path: Path, words: list[bytes], told: bytes
) -> None:
    command = [os.fsencode(sys.executable), b"-c", START.encode(), *words]
    done = subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr


def test_files_have_any_name(environment: Mapping[str, str], project: Path, tmp_path: Path) -> None:
    name = os.fsdecode(NO_TEXT)
    project.rename(tmp_path / name)
    for words in (
        ["pack", name, "-t", "x:1"],
        ["import", f"./{name}", "-t", "y:1"],
        ["save", "x:1", "-o", f"{name}.tar"],
        ["load", "-i", f"{name}.tar"],
        ["copy", "store:x:1", f"oci:{name}.layout"],
        ["unpack", "x:1", "-d", f"{name}.out"],
        ["status", f"{name}.out"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", START, *words], cwd=tmp_path, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, (words, done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ("unpack", "x:1", "-d", ""),
        ("pack", ""),
        ("pack", "{project}", "-f", ""),
        ("init", ""),
        ("save", "x:1", "-o", ""),
        ("copy", "", "store:x:1"),
        ("status", ""),
        ("registry", "serve", "", "--port", "0"),
        ("registry", "serve", "--htpasswd", "", "--port", "0"),
        ("list", ""),
        ("remove", ""),
        ("push", "x:1", ""),
        ("convert", "x:1", "", "--to", "image"),
        ("status", ".", ""),
        ("logout", ""),
    ],
)
def test_what_an_unset_variable_leaves_is_not_taken_for_left_out(
    kit: Kit, project: Path, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert kit("pack", str(project), "-t", "x:1").code == 0
    ended = kit(*(word.replace("{project}", str(project)) for word in words))
    assert (ended.code, ended.out) == (2, "")
    assert "it is empty" in ended.err or "'' does not exist" in ended.err, ended.err
    assert list((tmp_path / "here").iterdir()) == []


def test_whether_a_path_can_be_read_is_found_by_reading(
    kit: Kit, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: False)  # as of a file of somebody else's, but root reads it
    assert kit("kitfile", "lint", str(project / "Kitfile")).code == 0
    assert kit("pack", str(project), "-f", str(project / "Kitfile")).code == 0


@pytest.mark.parametrize("words", [("init", "."), ("import", "."), ("cache", "adopt", ".")])
def test_a_working_directory_that_is_gone_is_no_bug(
    kit: Kit, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    ended = kit(*words)
    assert (ended.code, ended.err.splitlines()[0]) == (14, "Error: the working directory is gone")


def test_nobody_listens_and_nobody_speaks(environment: Mapping[str, str], project: Path) -> None:
    """Standard streams that are closed, not only at their end."""
    for words, code in (
        ("version", 14),
        ("list", 14),
        (f"pack {project} -t x:1", 14),
        (f"pack {project} -t x:1 -f - 1>&2", 14),
    ):
        script = f'"$0" -c "$1" {words} <&- {"" if "1>" in words else ">&-"}'
        done = subprocess.run(
            ["/bin/sh", "-c", script, sys.executable, START], capture_output=True, check=False, timeout=60
        )
        assert (done.returncode, b"Traceback" in done.stderr) == (code, False), (words, done.stderr)


@pytest.mark.parametrize(
    ("line", "code", "out"),
    [
        ("pack {project} -t x:1 2>&-", 0, b"Model saved: sha256:"),
        ("pack {project} -t x:1 --progress fancy 2>&-", 0, b"Model saved: sha256:"),
        ("init {project} --force <&-", 0, b"Kitfile saved: "),
        ("init {project} -o - <&- 2>&-", 0, b"manifestVersion: 1.0.0"),
        ("login 127.0.0.1:1 <&-", 2, b""),
        ("load -i - <&-", 2, b""),
        ("save x:1 -o - >&-", 4, b""),
    ],
)
def test_a_closed_stream_is_no_terminal(
    environment: Mapping[str, str], project: Path, line: str, code: int, out: bytes
) -> None:
    script = f'"$0" -c "$1" {line.format(project=project)}'
    done = subprocess.run(
        ["/bin/sh", "-c", script, sys.executable, START], capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False), done.stderr
    assert done.stdout.startswith(out)


def test_no_file_gets_the_number_of_a_closed_stream() -> None:
    script = "import os, sys; from kitops.cli._output import prepare_streams; prepare_streams();"
    script += "os._exit(os.open('/dev/null', os.O_RDONLY))"
    command = ["/bin/sh", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, script]
    assert subprocess.run(command, check=False, timeout=60).returncode >= 3


@pytest.mark.parametrize("damaged", ["store", "store/refs", "store/blobs/sha256", "store/index.json", "storage"])
def test_a_store_that_cannot_be_read_is_no_bug(kit: Kit, project: Path, tmp_path: Path, damaged: str) -> None:
    """A symbolic link to itself: the system refuses it to root too, as it refuses a closed directory to others."""
    assert kit("pack", str(project), "-t", "x:1").code == 0
    path = tmp_path / "home" / damaged
    if path.exists():
        path.rename(tmp_path / "away")
    path.symlink_to(path)
    for words in (
        ["list"],
        ["info", "x:1"],
        ["unpack", "x:1", "-d", str(tmp_path / "out")],
        ["tag", "x:1", "y:1"],
        ["remove", "x:1"],
        ["prune"],
        ["pack", str(project), "-t", "z:1"],
        ["cache", "info"],
        ["cache", "clear"],
    ):
        ended = kit(*words)
        assert ended.code in (0, 4, 14), (words, ended.err)
        assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EIO, "Input/output error"), 14),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 14),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 1),
        (MemoryError(), 1),
        (RuntimeError("can't start new thread"), 1),
        (RuntimeError("dictionary changed size during iteration"), None),
        (OSError(errno.EBADF, "Bad file descriptor"), None),  # ours to mend: a bug
        (KeyError("x"), None),
    ],
)
def test_what_the_system_refuses_is_no_bug(error: Exception, code: int | None) -> None:
    known = translate(error)
    assert (None if known is None else known.exit_code) == code
