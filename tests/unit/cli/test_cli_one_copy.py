"""``kit status``, ``verify``, ``unpack --repair`` and ``du`` as people type them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_runs import Kit

TEXT = "manifestVersion: 1.0.0\nmodel: {path: model.bin}\ndocs: [{path: README.md}]\n"


@pytest.fixture
def out(kit: Kit, tmp_path: Path) -> Path:
    """An unpacked ModelKit, ``x:v1``."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "Kitfile").write_text(TEXT)
    (project / "model.bin").write_bytes(b"weights")
    (project / "README.md").write_text("# hello\n")
    assert kit("pack", str(project), "-t", "x:v1").code == 0
    done = kit("unpack", "x:v1", "-d", str(tmp_path / "out"), "--format", "json")
    assert done.code == 0
    table = json.loads(done.out)
    assert table["reflinked"] + table["copied"] == table["size"]
    return tmp_path / "out"


def test_what_matches_says_so(kit: Kit, out: Path) -> None:
    assert "no difference seen in 3 files" in kit("status", str(out), "--exit-code").out
    done = kit("verify", str(out), "x:v1")
    assert (done.code, "verified: 3 files" in done.out) == (0, True)


def test_exit_codes_and_signs(kit: Kit, out: Path) -> None:
    (out / "README.md").unlink()
    (out / "model.bin").write_bytes(b"weights!")
    (out / "mine").write_text("")
    assert kit("status", str(out)).code == 0
    done = kit("status", str(out), "--exit-code")
    assert done.code == 1
    assert done.out.splitlines()[1:] == ["  ~ model.bin", "  - README.md", "  + mine"]
    done = kit("verify", str(out), "--format", "json")
    table = json.loads(done.out)
    assert (done.code, table["equal"]) == (5, False)
    assert (table["changed"], table["missing"], table["extra"]) == (["model.bin"], ["README.md"], ["mine"])
    done = kit("unpack", "x:v1", "-d", str(out), "--repair", "--format", "json")
    assert json.loads(done.out)["mended"] == ["README.md", "model.bin"]
    assert kit("verify", str(out)).code == 5
    assert kit("verify", str(out), "--ignore-extra").code == 0
    assert kit("status", str(out), "--exit-code", "--ignore-extra").code == 0


def test_permission_bits_have_a_sign_of_their_own(kit: Kit, out: Path) -> None:
    (out / "model.bin").chmod(0o700)
    for verb in ("status", "verify"):
        assert kit(verb, str(out)).out.splitlines()[1:] == ["  m model.bin"]
        assert kit(verb, str(out), "--format", "json").json["modes"] == ["model.bin"]
        assert kit(verb, str(out), "--ignore-modes").out.splitlines()[1:] != ["  m model.bin"]
    assert kit("status", str(out), "--exit-code").code == 1
    assert kit("status", str(out), "--exit-code", "--ignore-modes").code == 0
    assert kit("verify", str(out)).code == 5
    assert kit("verify", str(out), "--ignore-modes").code == 0
    done = kit("unpack", "x:v1", "-d", str(out), "--repair", "--format", "json")
    assert (done.code, done.json["mended"], done.json["modes"]) == (0, [], ["model.bin"])
    assert "Mended the permission bits of model.bin" in done.err
    assert kit("verify", str(out)).code == 0


def test_what_is_left_is_told(kit: Kit, out: Path) -> None:
    (out / "model.bin").unlink()
    done = kit("unpack", "x:v1", "-d", str(out), "-i")
    assert "Unpacked 1 file (7 B) into" in done.err
    assert "1 left as they were (8 B)" in done.err


def test_what_is_typed_wrong(kit: Kit, out: Path, tmp_path: Path) -> None:
    assert kit("unpack", "x:v1", "-d", str(out), "--repair", "--overwrite").code == 2
    assert kit("status", str(tmp_path / "nowhere")).code == 2
    done = kit("verify", str(tmp_path / "project"))
    assert (done.code, "name the ModelKit" in done.err) == (4, True)
    assert kit("verify", str(out), "y:v1").code == 4
    assert kit("du", "y:v1").code == 4


def test_disk_usage(kit: Kit, out: Path) -> None:
    done = kit("du")
    assert done.code == 0
    assert done.out.splitlines()[0].split() == ["SIZE", "OWN", "REFERENCES", "DIGEST"]
    row = kit("du", "x:v1", "--format", "{{.References}} {{.Bytes}} {{.OwnBytes}} {{.Size}}").out
    assert re.fullmatch(r"\[x:v1\] [0-9]+ [0-9]+ [0-9.]+ .?i?B\n", row)
    assert kit("du", "--format", "{{.Nope}}").code == kit("du", "--format", "yaml").code == 2
    table = json.loads(kit("du", "x:v1", "--format", "json").out)
    assert table["size"] == table["kits"][0]["size"] == table["store"]
    assert table["kits"][0]["references"] == ["x:v1"]
