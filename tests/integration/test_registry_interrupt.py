"""Ctrl-C while the network is silent."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading

import pytest

from scripted_server import raw_server

PROGRAM = """
import signal, sys
from kitops.content.cancel import CancelToken
from kitops.content.protocols import Run
from kitops.errors import Cancelled
from kitops.oci.descriptor import Descriptor
from kitops.oci.reference import Reference
from kitops.registry import Network, open_repository
from kitops.registry.credentials import FixedCredential

token = CancelToken()
signal.signal(signal.SIGINT, lambda number, frame: token.cancel(number))
network = Network(plain_http=sys.argv[2] == "plain")
ref = Reference.parse(sys.argv[1] + "/a/b")
with open_repository(ref, network, FixedCredential(), Run(cancel=token)) as repository:
    try:
        repository.fetch(Descriptor.of(b"never comes", "application/x"))
    except Cancelled as cancelled:
        sys.exit(128 + cancelled.signal_number)
"""


@pytest.mark.parametrize("way", ["plain", "tls"])
def test_an_interrupt_ends_a_read_that_nobody_answers(way: str) -> None:
    asked, over = threading.Event(), threading.Event()

    def silent(connection: socket.socket) -> None:
        connection.recv(65536)
        asked.set()
        over.wait(60)

    with (
        raw_server(silent) as address,
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, address, way], stderr=subprocess.PIPE
        ) as running,
    ):
        assert asked.wait(30)
        running.send_signal(signal.SIGINT)
        _, complaint = running.communicate(timeout=30)  # its own timeout is 60 seconds
        over.set()
    assert (running.returncode, complaint) == (130, b"")
