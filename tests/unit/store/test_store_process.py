import os
import subprocess
import sys

import pytest

from kitops.store import process


@pytest.fixture(autouse=True)
def fresh():
    process._name_of.cache_clear()
    yield
    process._name_of.cache_clear()


needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="there is no /proc")


@needs_proc
def test_this_process_lives():
    assert process.is_alive(process.this_process())


@needs_proc
def test_a_process_that_ended_does_not():
    code = "from kitops.store.process import this_process; print(this_process())"
    name = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert name.split("-")[0] == process.this_process().split("-")[0]
    assert process.is_alive(name) is False


@needs_proc
def test_a_pid_that_was_given_again_is_another_process():
    machine, pid, start = process.this_process().split("-")
    assert process.is_alive(f"{machine}-{pid}-{int(start) - 1}") is False


@pytest.mark.parametrize("name", ["", "x", "another-1-1", "a-b-c", "0" * 16])
def test_what_is_not_of_this_machine_is_not_known(name):
    assert process.is_alive(name) is None


def test_a_system_that_does_not_tell(monkeypatch):
    monkeypatch.setattr(process, "_read_text", lambda path: "")
    assert process.this_process() == ""
    assert process._read_text("/proc/1/stat") == ""


def test_a_system_without_namespaces(monkeypatch):
    def refuse(path):
        raise OSError

    monkeypatch.setattr(os, "readlink", refuse)
    assert process.this_process() == ""
