"""One command, two registries: one with TLS and one without. ``kit`` itself, against our own registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kitops.testing import ThrowAwayRegistry
from tls_files import make_authority

KITFILE = "manifestVersion: 1.0.0\ndocs: [{path: notes.txt}]\n"


@dataclass
class Two:
    """The registries, and a machine that trusts the one with TLS and has a ModelKit in each."""

    plain: str
    tls: str
    home: Path
    authority: Path

    def kit(self, *words: object, code: int = 0) -> str:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "KITOPS_HOME": str(self.home / "kitops"),
            "SSL_CERT_FILE": str(self.authority),
            "LC_ALL": "C.UTF-8",
        } | {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
        done = subprocess.run(
            [str(Path(sys.executable).with_name("kit")), *map(str, words)],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def settings(self, text: str) -> None:
        (self.home / "kitops").mkdir(exist_ok=True)
        (self.home / "kitops" / "settings.toml").write_text(text)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    (tmp_path / "tls").mkdir()
    authority = make_authority(tmp_path / "tls")
    cert, key = authority.issue("server", "127.0.0.1")
    home = tmp_path / "home"
    home.mkdir()
    project = tmp_path / "project"
    project.mkdir()
    (project / "Kitfile").write_text(KITFILE)
    (project / "notes.txt").write_text("notes")
    with ThrowAwayRegistry() as plain, ThrowAwayRegistry(tls_cert=cert, tls_key=key) as tls:
        found = Two(plain.address, tls.address, home, authority.cert)
        found.kit("pack", project, "-t", "notes:v1")
        yield found


@pytest.mark.parametrize("way", ["flag", "settings"])
def test_every_verb_that_speaks_to_two(two: Two, tmp_path: Path, way: str) -> None:
    flags = [f"--plain-http={two.plain}"]
    if way == "settings":
        flags = []
        two.settings(f'[[registry]]\nhost = "{two.plain}"\nplain_http = true\n\n[[registry]]\nhost = "{two.tls}"\n')
    two.kit("push", "notes:v1", f"{two.plain}/t/one:1", f"{two.tls}/t/one:1", *flags)
    two.kit("copy", f"{two.plain}/t/one:1", f"{two.tls}/t/two:1", *flags)
    two.kit("copy", f"{two.tls}/t/one:1", f"{two.plain}/t/two:1", *flags)
    file = tmp_path / "kits.tar"
    two.kit("save", "-r", f"{two.plain}/t/two:1", f"{two.tls}/t/two:1", "-o", file, *flags)
    two.kit("diff", f"{two.plain}/t/two:1", f"{two.tls}/t/two:1", "--exit-code", *flags)
    two.kit("pack", tmp_path / "project", "--push-to", f"{two.plain}/t/three:1,2", *flags)
    saved = json.loads(two.kit("list", f"{two.plain}/t/three", "--format", "json", *flags))
    assert saved[0]["tags"] == ["1", "2"]


def test_both_ways_of_saying_it_wrongly_say_what_to_type(two: Two) -> None:
    two.kit("push", "notes:v1", f"{two.tls}/t/x:1")
    refused = two.kit("copy", f"{two.tls}/t/x:1", f"{two.plain}/t/x:1", code=8)
    assert "does not speak TLS" in refused
    assert "--plain-http=HOST" in refused
    refused = two.kit("copy", f"{two.tls}/t/x:1", f"{two.plain}/t/x:1", "--plain-http", code=8)
    assert "--plain-http=HOST" in refused


@pytest.mark.parametrize("value", ["maybe", "localhost:99999", "http://localhost:5000", "a.example.com,"])
def test_what_is_neither_a_boolean_nor_a_host(two: Two, value: str) -> None:
    assert "--plain-http" in two.kit("list", f"{two.plain}/t/x", f"--plain-http={value}", code=2)


@pytest.mark.parametrize(
    "text",
    [
        'registry = "x"',
        "registry = [1]",
        "[[registry]]\nplain_http = true",
        '[[registry]]\nhost = "a.example.com"\nplain_http = "yes"',
        '[[registry]]\nhost = "a.example.com"\ninsecure = true',
        '[[registry]]\nhost = "http://a.example.com"\nplain_http = true',
    ],
)
def test_settings_that_do_not_parse(two: Two, text: str) -> None:
    two.settings(text)
    two.kit("list", f"{two.plain}/t/x", code=2)


def test_a_mirror_is_reached_as_its_own_url_says(two: Two) -> None:
    two.kit("push", "notes:v1", f"{two.plain}/t/x:1", f"--plain-http={two.plain}")
    two.settings(
        f'[[registry]]\nhost = "{two.plain}"\nplain_http = true\n\n'
        f'[[mirror]]\nregistry = "{two.plain}"\nurl = "https://{two.tls}"\n'
    )
    assert "Warning: mirror" in two.kit("pull", f"{two.plain}/t/x:1")  # it lacks it, and was asked by TLS
