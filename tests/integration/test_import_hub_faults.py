"""A hub that misbehaves: silence, nonsense and breaks end in a line, never in a traceback, and never without an end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hub_server import Hub, model_repo
from integration.hub_imports import MIB, failure, kit, run_import, tree_of
from integration.test_import_hub import CARD
from kitops.content.protocols import Run
from kitops.errors import Cancelled, NetworkError, SourceError
from kitops.importers import hub_wire
from kitops.kitfile.dump import dump
from kitops.ops.place import Place
from kitops.ops.unpack import unpack
from unit.ops.ops_places import open_test_place


@pytest.fixture
def hub(hub: Hub) -> Hub:
    hub.add(model_repo("Org/Big", {"model.bin": os.urandom(2 * MIB), "README.md": CARD, "sub/a.txt": b"a"}))
    return hub


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_test_place(tmp_path / "home")


@pytest.mark.parametrize(
    "raw",
    [
        b"<html>captive portal</html>",
        b"",
        b"{}",
        b"[]",
        b"5",
        b'{"sha": 5}',
        b'{"sha": "main"}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_answers_that_are_none(hub: Hub, place: Place, raw: bytes) -> None:
    hub.raw = raw
    error = failure(place, hub, "Org/Big")
    assert isinstance(error, SourceError)
    assert "HF_ENDPOINT" in (error.hint or "")


def test_a_listing_that_is_none_or_never_ends(hub: Hub, place: Place) -> None:
    hub.mangle = lambda _: {}
    assert "no list" in failure(place, hub, "Org/Big").message
    hub.mangle = lambda entries: [entry | {"size": None} for entry in entries]
    assert "no size" in failure(place, hub, "Org/Big").message
    hub.mangle = None
    hub.page, hub.loops = 1, True
    assert "never ends" in failure(place, hub, "Org/Big").message


def test_another_commit_than_the_one_that_was_asked_for(hub: Hub, place: Place) -> None:
    repo = model_repo("Org/Moved", {"a.txt": b"a"})
    hub.add(repo)
    repo.refs["f" * 40] = repo.refs["main"]
    with pytest.raises(SourceError, match=f"gives commit {repo.refs['main']} for {'f' * 40}"):
        run_import(place, hub, "Org/Moved", ref="f" * 40)
    assert run_import(place, hub, "Org/Moved", ref=repo.refs["main"]).origin.revision == repo.refs["main"]


def test_a_file_of_which_only_a_wrong_size_is_told(hub: Hub, place: Place) -> None:
    hub.add(model_repo("Org/Short", {"a.txt": b"abc"}))
    hub.mangle = lambda entries: [{"type": "file", "path": "a.txt", "size": 2} for _ in entries]
    assert "larger than it is listed" in failure(place, hub, "Org/Short").message
    hub.mangle = lambda entries: [{"type": "file", "path": "a.txt", "size": 3} for _ in entries]
    assert run_import(place, hub, "Org/Short").size == 3


@pytest.mark.parametrize("body", [b"[]", b'{"errors": 5}', b'{"error": {"a": 1}}', b"x" * 1_000_000, b"\xff\xfe"])
def test_complaints_that_the_client_does_not_know(hub: Hub, place: Place, body: bytes) -> None:
    hub.complaint = (418, body)
    error = failure(place, hub, "Org/Big")
    assert isinstance(error, SourceError)
    assert "418" in error.message
    assert len(error.message) < 500
    assert "\n" not in error.message


def test_a_complaint_in_any_language(hub: Hub, place: Place) -> None:
    hub.file_refusals = {"README.md": [403]}
    hub.refusal = "das dürfen Sie nicht"
    error = failure(place, hub, "Org/Big")
    assert isinstance(error, SourceError)
    assert "dürfen" in error.message


def test_one_failure_is_no_end(hub: Hub, place: Place, tmp_path: Path) -> None:
    for status in (503, 500, 502):
        hub.api_refusals = [status]
        home = open_test_place(tmp_path / f"home-{status}")
        assert run_import(home, hub, "Org/Big").size > 2 * MIB
    hub.cut_after, hub.cuts = 100_000, 1
    imported = run_import(place, hub, "Org/Big")
    unpack(place, imported.references[0], tmp_path / "out")
    assert (tmp_path / "out/sub/a.txt").read_bytes() == b"a"


def test_heads_of_files_are_tried_again(hub: Hub, place: Place) -> None:
    hub.file_refusals = {"README.md": [503, 503]}
    assert "license: MIT" in dump(run_import(place, hub, "Org/Big").kitfile)
    assert not [request for request in hub.requests if "agent" in request]  # nothing but what was asked for


def test_silence_has_an_end(hub: Hub, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_wire, "SILENT_SECONDS", 0.3)
    hub.silence = threading.Event()
    started = time.monotonic()
    assert isinstance(failure(place, hub, "Org/Big"), NetworkError)
    assert time.monotonic() - started < 25
    hub.silence.set()


@pytest.mark.parametrize("where", ["API", "body"])
def test_the_end_is_heeded_during_silence(hub: Hub, tmp_path: Path, where: str) -> None:
    run = Run()
    gate = threading.Event()
    if where == "API":
        hub.silence = gate
    else:
        hub.stall = gate
    seen: list[float] = []

    def cancel() -> None:
        limit = time.monotonic() + 10
        while not (hub.requests if where == "API" else hub.sent >= 256 * 1024) and time.monotonic() < limit:
            time.sleep(0.02)
        time.sleep(0.2)
        seen.append(time.monotonic())
        run.cancel.cancel()

    watcher = threading.Thread(target=cancel)
    watcher.start()
    with pytest.raises(Cancelled):
        run_import(open_test_place(tmp_path / "home", run), hub, "Org/Big")
    assert time.monotonic() - seen[0] < 10  # the silence has no end
    watcher.join()
    gate.set()


@pytest.mark.parametrize("where", ["API", "body"])
def test_ctrl_c_leaves_nothing_untidy(hub: Hub, tmp_path: Path, where: str) -> None:
    gate = threading.Event()
    if where == "API":
        hub.silence = gate
    else:
        hub.stall = gate
    process = kit(hub, tmp_path / "home", "import", "Org/Big")
    limit = time.monotonic() + 20
    while not (hub.requests if where == "API" else hub.sent >= 256 * 1024) and time.monotonic() < limit:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "tidied" not in complaint
    gate.set()


def test_a_url_may_name_one_file_or_folder(hub: Hub, place: Place, tmp_path: Path) -> None:
    imported = run_import(place, hub, "https://huggingface.co/Org/Big/blob/main/model.bin")
    unpack(place, imported.references[0], tmp_path / "out")
    assert set(tree_of(tmp_path / "out")) == {"Kitfile", "model.bin"}
    asked = imported.predicate["buildDefinition"]["externalParameters"]  # type: ignore[index,call-overload]
    assert asked["folder"] == "model.bin"  # type: ignore[index,call-overload]
    imported = run_import(place, hub, "https://huggingface.co/Org/Big/tree/main/sub")
    unpack(place, imported.references[0], tmp_path / "sub")
    assert set(tree_of(tmp_path / "sub")) == {"Kitfile", "sub/a.txt"}


def test_nothing_at_all_is_refused(hub: Hub, place: Place) -> None:
    hub.add(model_repo("Org/Empty", {}))
    cases = {"https://huggingface.co/Org/Big/tree/main/nope": "no files at nope", "Org/Empty": "no files"}
    for source, words in cases.items():
        error = failure(place, hub, source)
        assert isinstance(error, SourceError)
        assert words in error.message
        assert error.hint
    assert place.store.refs.list() == []


def run_kit(hub: Hub, home: Path, *arguments: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "KITOPS_HOME": str(home), "NO_COLOR": "1", **more}
    command = [str(Path(sys.executable).with_name("kit")), *arguments]
    return subprocess.run(
        command, env=environment, input=given, capture_output=True, text=True, timeout=60, check=False
    )


def test_tokens_from_the_command_line(hub: Hub, tmp_path: Path) -> None:
    hub.known_tokens = frozenset({"hf_secret"})
    hub.add(model_repo("Org/Secret", {"model.bin": b"x" * 2000}, tokens=frozenset({"hf_secret"})))
    home = tmp_path / "home"
    assert run_kit(hub, home, "import", "Org/Secret", "--token", "hf_secret\n").returncode == 0
    done = run_kit(hub, home, "import", "Org/Secret", "--token", "-", "-t", "again:v1", given="hf_secret\n")
    assert done.returncode == 0, done.stderr
    for token in ("", "hf_ä", "hf_secret other"):
        done = run_kit(hub, home, "import", "Org/Secret", "--token", token)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "hf_" not in done.stderr
    assert run_kit(hub, home, "init", "--remote", "Org/Secret", "--token", "-", given="hf_secret").returncode == 0


def test_an_address_that_is_none_is_told(hub: Hub, tmp_path: Path) -> None:
    for source in ("Org/Big", "https://huggingface.co/Org/Big"):
        done = run_kit(hub, tmp_path / "home", "import", source, HF_ENDPOINT="http://[::1")
        assert done.returncode == 2
        assert "address of a hub" in done.stderr


def test_what_a_directory_is_called_is_told(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work/Org/Tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    process = kit(hub, tmp_path / "home", "import", "Org/Tiny")
    said = process.communicate(timeout=60)[1]
    assert "Org/Tiny is read from Hugging Face; the directory of that name is ./Org/Tiny\n" in said


def test_a_hub_that_is_out_of_reach(place: Place) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        error = failure(place, Hub(endpoint=f"http://127.0.0.1:{nobody.getsockname()[1]}"))
    assert isinstance(error, NetworkError)
    assert error.hint == "check the network, HTTPS_PROXY and HF_ENDPOINT; what came is kept"
