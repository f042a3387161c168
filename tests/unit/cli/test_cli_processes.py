"""What only a process of its own shows: signals, closed pipes, full disks, terminals, what is imported."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from cli_runs import START, Kit, talk_to


@pytest.fixture
def silent_registry() -> Iterator[tuple[str, threading.Event]]:
    """A registry that takes connections and never answers; the event is set when somebody asked."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connections.append(connection)
                connection.recv(1)
                asked.set()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", asked
        server.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            connection.close()


def start(environment: Mapping[str, str], *words: str, **more: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", START, *words],
        stdin=more.get("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("progress", ["plain", "json"])
def test_signals_end_a_transfer(
    environment: Mapping[str, str],
    silent_registry: tuple[str, threading.Event],
    number: signal.Signals,
    code: int,
    progress: str,
) -> None:
    address, asked = silent_registry
    process = start(environment, "pull", f"{address}/x:1", "--plain-http", "--progress", progress)
    assert asked.wait(30)
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert process.returncode == code
    assert (out, b"Traceback" in err) == (b"", False)


STUBBORN = """
import sys, time
from kitops.cli import _signals
from kitops.cli._session import Session
_signals.GRACE_SECONDS = {grace}
with Session().working():
    print('ready', flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("grace", "numbers", "codes"),
    [
        (60, [signal.SIGINT, signal.SIGTERM], {130, 143}),  # the kernel chooses which of the two comes first
        (0.01, [signal.SIGINT], {130}),
        (0.01, [signal.SIGTERM], {143}),
    ],
)
def test_work_that_does_not_listen_ends_all_the_same(
    environment: Mapping[str, str], grace: float, numbers: list[signal.Signals], codes: set[int]
) -> None:
    """At the second signal, or when the grace is over."""
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN.format(grace=grace)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    for number in numbers:
        process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode in codes
    assert b"Traceback" not in err
    assert err.startswith(b"Error: ended before everything was tidied up")


def test_the_reader_of_a_pipe_may_leave(environment: Mapping[str, str]) -> None:
    for words in (("--help",), ("help", "exit-codes"), ("version",), ("list",)):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as closed:
            done = subprocess.run(
                [sys.executable, "-c", START, *words], stdout=closed, stderr=subprocess.PIPE, check=False, timeout=60
            )
        assert (done.returncode, done.stderr) == (141, b""), words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_stdout(environment: Mapping[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", START, "version"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.returncode == 14
    assert done.stderr.startswith(b"Error: writing standard output: no space left on device\nHint: ")


def test_closed_streams(environment: Mapping[str, str]) -> None:
    command = f'"{sys.executable}" -c "{START}"'
    closed_out = subprocess.run(["sh", "-c", f"{command} version >&-"], capture_output=True, check=False, timeout=60)
    assert (closed_out.returncode, closed_out.stderr) == (14, b"Error: writing standard output: it is closed\n")
    closed_err = subprocess.run(["sh", "-c", f"{command} versio 2>&-"], capture_output=True, check=False, timeout=60)
    assert (closed_err.returncode, closed_err.stdout) == (2, b"")
    full_err = subprocess.run(["sh", "-c", f"{command} versio 2>/dev/full"], capture_output=True, check=False)
    assert full_err.returncode == 2


def talk(environment: Mapping[str, str], words: tuple[str, ...], answers: list[tuple[bytes, bytes]]) -> tuple[int, str]:
    """Run ``kit`` on a terminal; each answer is typed once its question is on the screen."""
    return talk_to([sys.executable, "-c", START, *words], environment, answers)


def test_init_asks_on_a_terminal(environment: Mapping[str, str], project: Path) -> None:
    (project / "Kitfile").unlink()
    answers = [(b"Name", b"digits\n"), (b"Description", b"\n"), (b"Author", b"Ada\n")]
    code, screen = talk(environment, ("init", str(project)), answers)
    assert code == 0, screen
    assert "package:\n  name: digits\n  authors: [Ada]\n" in (project / "Kitfile").read_text()


def test_init_asks_nothing_that_it_will_not_write(environment: Mapping[str, str], project: Path) -> None:
    for words, code in ((str(project),), 2), ((str(project / "src" / "none"),), 3):
        ended, screen = talk(environment, ("init", *words), [])
        assert ended == code, screen
        assert "Name" not in screen


def test_ctrl_c_at_a_question(environment: Mapping[str, str], project: Path) -> None:
    code, screen = talk(environment, ("init", str(project), "--force"), [(b"Name", b"\x03")])
    assert code == 130
    assert "Traceback" not in screen


def test_the_password_is_not_shown(environment: Mapping[str, str]) -> None:
    answers = [(b"Username", b"ada\n"), (b"Password: ", b"secret-word\n")]
    code, screen = talk(environment, ("login", "127.0.0.1:1", "--plain-http"), answers)
    assert code == 8, screen
    assert "secret-word" not in screen


@pytest.mark.parametrize(("typed", "code"), [(b"\x03", 130), (b"\x04", 130), (b"\n", 2)])
def test_no_password_after_all(environment: Mapping[str, str], typed: bytes, code: int) -> None:
    answers = [(b"Password: ", typed)]
    assert talk(environment, ("login", "127.0.0.1:1", "--plain-http", "-u", "ada"), answers)[0] == code


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (("login", "127.0.0.1:1", "-u", "ada"), [(b"Password: ", b"\xff\n")]),
        (("login", "127.0.0.1:1"), [(b"Username: ", b"\xff\n")]),
    ],
)
def test_what_is_typed_is_utf_8(
    environment: Mapping[str, str], words: tuple[str, ...], answers: list[tuple[bytes, bytes]]
) -> None:
    code, screen = talk(environment, words, answers)
    assert (code, "what was typed is not UTF-8" in screen) == (2, True), screen


def test_the_host_is_looked_at_before_a_password_is_typed(environment: Mapping[str, str]) -> None:
    code, screen = talk(environment, ("login", "https://reg.example.com"), [(b"Error", b"")])
    assert (code, "Username" in screen) == (2, False), screen


def test_commands_import_only_what_they_need(environment: Mapping[str, str]) -> None:
    script = (
        "import sys; from kitops.cli._main import main; main(sys.argv[1:]);"
        "print(*sorted(name for name in sys.modules), file=sys.stderr)"
    )

    def modules(*words: str) -> set[str]:
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, check=True, timeout=60)
        return set(done.stderr.decode().split())

    heavy = {"urllib3", "yaml", "rich", "ssl", "isal", "kitops.store", "kitops.registry", "kitops.layers"}
    loaded = modules("version")
    assert loaded & (heavy | {"kitops.content", "kitops.kitfile"}) == set()
    assert {name for name in loaded if name.startswith("kitops.ops.")} == {"kitops.ops.version"}
    assert modules("--help") & heavy == set()
    assert modules("list") & {"urllib3", "rich", "ssl", "yaml"} == set()


def test_the_entry_point(kit_process: Kit) -> None:
    ended = kit_process("version")
    assert (ended.code, ended.err) == (0, "")
    assert kit_process("versio").code == 2


def test_foreign_letters_on_a_narrow_terminal(kit_process: Kit) -> None:
    ended = kit_process("tag", "日本", "x:1", env={"PYTHONIOENCODING": "ascii"})
    assert ended.code == 2
    assert "\\u65e5" in ended.err
