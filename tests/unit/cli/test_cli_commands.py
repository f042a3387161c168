"""Every command on a real store, and on a real registry where it needs one: output, exit code, JSON."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from cli_runs import KITFILE, Kit

from kitops.content.copy import BytesReader
from kitops.content.protocols import Run
from kitops.formats.layertypes import KITOPS_ARTIFACT, KITOPS_CONFIG
from kitops.oci.descriptor import Descriptor
from kitops.oci.manifest import Manifest
from kitops.oci.reference import Reference
from kitops.registry import Network, open_repository
from kitops.registry.credentials import FixedCredential
from kitops.server import BasicAccess, RegistryServer, ServerOptions

DIGEST = r"sha256:[0-9a-f]{64}"


@pytest.fixture
def packed(kit: Kit, project: Path) -> str:
    """The digest of the project, packed as digits:v1."""
    ended = kit("pack", str(project), "-t", "digits:v1")
    assert ended.code == 0, ended.err
    return ended.out.split()[-1]


@pytest.fixture
def changed(kit: Kit, packed: str, project: Path) -> str:
    """The project with changes, packed as digits:v2."""
    (project / "Kitfile").write_text(KITFILE.replace("1.0.0\n  authors", "2.0.0\n  authors"))
    (project / "src" / "train.py").write_text("print('train more')\n")
    (project / "src" / "new.py").write_text("")
    ended = kit("pack", str(project), "-t", "digits:v2")
    assert ended.code == 0, ended.err
    return ended.out.split()[-1]


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


# init


def test_init_writes_a_kitfile(kit: Kit, project: Path) -> None:
    (project / "Kitfile").unlink()
    ended = kit("init", str(project), "--name", "digits", "--author=Ada", "--desc", "Digits")
    assert (ended.code, ended.out) == (0, f"Kitfile saved: {project / 'Kitfile'}\n")
    text = (project / "Kitfile").read_text()
    assert "name: digits\n  description: Digits\n  authors: [Ada]\n" in text
    again = kit("init", str(project))
    assert again.code == 2
    assert "is there already" in again.err
    assert kit("init", str(project), "--force").code == 0


def test_init_prints(kit: Kit, project: Path, tmp_path: Path) -> None:
    before = (project / "Kitfile").read_text()
    assert kit("init", str(project), "-o", "-").out.startswith("manifestVersion: 1.0.0\n")
    assert kit("init", str(project), "-o", "-", "--format", "json").json["kitfile"]["manifestVersion"] == "1.0.0"
    assert (project / "Kitfile").read_text() == before
    other = tmp_path / "other.yaml"
    assert kit("init", str(project), "-o", str(other), "--depth", "-1", "--format=json").json["path"] == str(other)
    assert other.is_file()


def test_init_leaves_what_is_no_file(kit: Kit, project: Path, tmp_path: Path) -> None:
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target.yaml"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert kit("init", str(project), "--force", "-o", str(pipe)).code == 0
        assert pipe.is_fifo()
        assert os.read(reader, 100).startswith(b"manifestVersion: 1.0.0\n")
    finally:
        os.close(reader)
    link.symlink_to(target.name)
    assert kit("init", str(project), "--force", "-o", str(link)).code == 0
    assert link.is_symlink()
    assert target.read_text().startswith("manifestVersion: 1.0.0\n")


def test_init_tells_a_directory_in_the_place_of_the_kitfile(kit: Kit, project: Path) -> None:
    for more in ([], ["--force"]):
        ended = kit("init", str(project), "-o", str(project / "src"), *more)
        assert (ended.code, ended.err) == (
            2,
            f"Error: {project / 'src'} is a directory, no Kitfile can be written there\n",
        )
    (project / "Kitfile").unlink(missing_ok=True)
    (project / ".kitfile").mkdir()
    assert kit("init", str(project)).code == 0
    (project / "Kitfile").unlink()
    (project / ".kitfile").rmdir()
    (project / ".kitfile").write_text("")
    assert kit("init", str(project)).code == 2


def test_init_writes_nothing_that_pack_refuses(kit: Kit, project: Path) -> None:
    (project / "back\\slash.csv").touch()
    ended = kit("init", str(project), "--force")
    assert ended.code == 2
    assert ended.err == (
        "Error: the Kitfile for these files: datasets[0].path: back\\slash.csv holds a backslash"
        " (write / between directories; a file with a backslash in its name must be renamed)\n"
        "Hint: rename them, or list them in .kitignore\n"
    )
    (project / ".kitignore").write_text("back*\n")
    assert kit("init", str(project), "--force").code == 0


def test_init_of_nothing(kit: Kit, tmp_path: Path) -> None:
    assert kit("init", str(tmp_path / "none")).code == 3


# pack


def test_pack_ends_with_the_digest(kit: Kit, project: Path) -> None:
    ended = kit("pack", str(project), "-t", "digits:v1,latest", "--progress", "none")
    assert ended.code == 0
    assert re.fullmatch(rf"Model saved: {DIGEST}\n", ended.out)
    assert ended.err == ""
    found = kit("pack", str(project), "-t", "digits:v1", "-t", "other:x", "--format", "json").json
    assert found["digest"] in ended.out
    assert (found["references"], found["newSize"], found["pushed"]) == (["digits:v1", "other:x"], 0, False)


def test_pack_takes_the_default_tag_and_says_so(kit: Kit, project: Path) -> None:
    ended = kit("pack", str(project), "-t", "digits")
    assert ended.code == 0
    assert "latest" in ended.err
    assert kit("info", "digits:latest").code == 0


def test_pack_reads_a_kitfile_from_stdin(kit: Kit, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, "manifestVersion: 1.0.0\nmodel: {path: model.bin}\n")
    assert kit("pack", str(project), "-f", "-", "-t", "in:1").code == 0
    assert kit("info", "in:1", "-f", ".model.path").out == "model.bin\n"


def test_pack_reads_another_kitfile(kit: Kit, project: Path, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("manifestVersion: 1.0.0\nmodel: {path: model.bin}\n")
    assert kit("pack", str(project), "--file", str(tmp_path / "other.yaml"), "-t", "in:1").code == 0


def test_pack_writes_annotations(kit: Kit, project: Path) -> None:
    words = ("--annotation", "team=vision", "--created", "2026-01-31T12:00:00Z")
    assert kit("pack", str(project), "-t", "a:1", *words).code == 0
    annotations = kit("inspect", "a:1").json["manifest"]["annotations"]
    assert annotations["team"] == "vision"
    assert annotations["org.opencontainers.image.created"] == "2026-01-31T12:00:00Z"


def test_pack_as_modelpack_and_compressed(kit: Kit, project: Path) -> None:
    assert kit("pack", str(project), "-t", "a:1", "--use-model-pack", "--compression", "zstd").code == 0
    manifest = kit("inspect", "a:1").json["manifest"]
    assert "cncf" in manifest["artifactType"]
    assert manifest["layers"][0]["mediaType"].endswith("+zstd")


def test_pack_refuses_links_by_default(kit: Kit, project: Path) -> None:
    (project / "src" / "link").symlink_to("train.py")
    ended = kit("pack", str(project))
    assert ended.code == 3
    assert "--symlinks" in ended.err
    for policy in ("follow", "skip"):
        assert kit("pack", str(project), "--symlinks", policy, "--no-cache").code == 0


def test_pack_tells_every_problem_of_the_kitfile(kit: Kit, project: Path) -> None:
    (project / "Kitfile").write_text("manifestVersion: 1.0.0\nmodle: {}\ncode: 7\n")
    ended = kit("pack", str(project), "--format", "json")
    assert ended.code == 2
    assert [problem["line"] for problem in ended.error["problems"]] == [2, 3]


def test_pack_and_push(kit: Kit, project: Path, registry: str) -> None:
    name = f"{registry}/team/digits"
    ended = kit("pack", str(project), "-t", f"{name}:v1,v2", "--push", "--plain-http")
    assert ended.code == 0, ended.err
    digest = ended.out.split()[-1]
    assert ended.out == f"Model saved: {digest}\nPushed {digest}\n"
    assert kit("info", "-r", f"{name}:v2", "--plain-http").out.startswith("manifestVersion")
    assert kit("pack", str(project), "-t", f"{name}:v1", "--push", "--plain-http", "--format=json").json["pushed"]
    assert kit("pack", str(project), "--push").code == 2


@pytest.mark.parametrize(
    "line",
    [
        "pack {project} --push {name}:v1,v2",
        "pack --push {name}:v1,v2 {project}",
        "pack {project} --push={name}:v1,v2",
        "pack --push {name}:v1 --push {name}:v2 {project}",
        "pack {project} --push-to {name}:v1,v2",
    ],
)
def test_pack_straight_to_a_registry(kit: Kit, project: Path, registry: str, line: str) -> None:
    name = f"{registry}/team/digits"
    words = line.format(project=project, name=name).split()
    ended = kit(*words, "--plain-http")
    assert ended.code == 0, ended.err
    digest = ended.out.split()[-1]
    assert ended.out == f"Model saved: {digest}\nPushed {digest}\n"
    assert kit("list", "--format", "json").json == []
    assert kit("list", name, "--plain-http", "--format", "{{.Tags}}").out == "[v1 v2]\n"
    assert kit(*words, "--plain-http", "--keep").code == 0
    assert kit("list", "--format", "{{.Repo}} {{.Tags}} {{.Digest}}").out == f"{name} [v1 v2] {digest}\n"


def test_the_word_behind_push_may_be_the_directory(
    kit: Kit, project: Path, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, _, port = registry.partition(":")
    monkeypatch.chdir(project.parent)
    where = Path(registry, "x")  # what could be a reference is a directory here
    where.parent.mkdir()
    project.rename(where)
    for words in (("--push", str(where)), ("--push=true", str(where)), (str(where), "--push")):
        ended = kit("pack", "-t", f"{host}:{port}/y:1", "--plain-http", *words)
        assert ended.code == 0, ended.err
        assert kit("list", "--format", "{{.Repo}}").out == f"{host}:{port}/y\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--push",), "--push wants a --tag that names a registry"),
        (("--push", "team/digits:v1"), "unexpected extra argument"),
        (("--push", "reg.example.com/x:1", "-t", "y:1"), "take neither a bare --push nor --tag"),
        (("--push-to", "reg.example.com/x:1", "--push"), "take neither a bare --push nor --tag"),
        (("--keep",), "--keep is of --push REF and --push-to"),
        (("--keep", "-t", "x:1"), "--keep is of --push REF and --push-to"),
        (("-t", "x:1", "--push"), "x:1"),
        (("--use-model-pack", "--annotation", "ml.kitops.modelkit.kitfile={}"), "ml.kitops.modelkit.kitfile"),
    ],
)
def test_what_does_not_go_together_when_packing(kit: Kit, project: Path, words: tuple[str, ...], told: str) -> None:
    ended = kit("pack", str(project), *words)
    assert (ended.code, told in ended.err) == (2, True), ended.err
    assert kit("list", "--format", "json").json == []


@pytest.mark.parametrize("tags", [":v1", ":v1,v2"])
@pytest.mark.parametrize("words", [("--push", "-t"), ("--keep", "--push-to")])
def test_a_push_that_fails_tells_what_is_kept(kit: Kit, project: Path, words: tuple[str, ...], tags: str) -> None:
    name = "127.0.0.1:1/team/digits"
    ended = kit("pack", str(project), *words, name + tags, "--plain-http")
    assert (ended.code, ended.out) == (8, "")
    digest = kit("list", "--format", "{{.Digest}}").out.strip()
    again = f"kit push {name}:v1" + (f" {name}:v1 {name}:v2" if "v2" in tags else "")
    assert f"Warning: {digest} is in the local store, but not pushed: `{again}` goes on\n" in ended.err
    assert kit(*again.split()[1:], "--plain-http").code == 8


# unpack


def test_unpack_gives_the_project_back(kit: Kit, project: Path, packed: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = kit("unpack", "digits:v1", "-d", str(out))
    assert (ended.code, ended.out) == (0, "")
    assert "into" in ended.err
    for path in ("model.bin", "train.csv", "src/train.py"):
        assert (out / path).read_bytes() == (project / path).read_bytes()
    assert kit("unpack", "digits:v1", "-d", str(out)).code == 14
    (out / "train.csv").write_text("mine")
    kept = kit("unpack", "digits:v1", "-d", str(out), "-i", "--format", "json").json
    assert kept["digest"] == packed
    assert kept["kept"] > 0
    assert (out / "train.csv").read_text() == "mine"
    assert kit("unpack", "digits:v1", "-d", str(out), "-i").code == 0
    assert kit("unpack", "digits:v1", "-d", str(out), "-o").code == 0
    assert (out / "train.csv").read_text() != "mine"
    assert kit("unpack", "digits:v1", "-o", "-i").code == 2


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (("--filter", "model"), {"model.bin"}),
        (("-f", "datasets:tr*", "-f=code"), {"train.csv", "src/train.py"}),
        (("--model", "--datasets"), {"model.bin", "train.csv"}),
        (("--include-remote",), {"Kitfile", "model.bin", "src/train.py", "train.csv"}),
    ],
)
def test_unpack_of_parts(kit: Kit, packed: str, tmp_path: Path, words: tuple[str, ...], files: set[str]) -> None:
    out = tmp_path / "out"
    assert kit("unpack", packed, "-d", str(out), *words).code == 0
    assert {str(path.relative_to(out)) for path in out.rglob("[!.]*") if path.is_file()} == files


def test_unpack_beside_another_kitfile(kit: Kit, packed: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "Kitfile").write_text("manifestVersion: 1.0.0\n")
    words = ("unpack", packed, "-d", str(tmp_path / "out"), "-i")
    ended = kit(*words)
    assert ended.code == 14
    assert ended.err == (
        "Error: unpacking Kitfile: it is there already, and is another one\n"
        "Hint: use --overwrite to replace it, --filter to take parts without it, or --dir for another place\n"
    )
    assert kit(*words, "--filter", "model").code == 0
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out" / "Kitfile").mkdir(parents=True)
    assert "Hint: move it away\n" in kit(*words).err


def test_unpack_without_a_record(kit: Kit, packed: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert kit("unpack", packed, "-d", str(out), "--no-record").code == 0
    assert {path.name for path in out.iterdir()} == {"Kitfile", "model.bin", "src", "train.csv"}
    assert kit("status", str(out)).code == 4
    assert kit("status", str(out), "digits:v1", "--exit-code").code == 0
    assert kit("unpack", packed, "-d", str(out), "--no-record", "--repair").code == 2
    assert kit("unpack", packed, "-d", str(out), "-o").code == 0
    assert kit("status", str(out), "--exit-code").code == 0


def test_unpack_of_a_wrong_filter(kit: Kit, packed: str) -> None:
    ended = kit("unpack", "digits:v1", "-f", "modle")
    assert (ended.code, "did you mean 'model'" in ended.err) == (2, True)


# push, pull, remote views


def test_round_trip_through_a_registry(kit: Kit, packed: str, registry: str, tmp_path: Path) -> None:
    name = f"{registry}/team/digits"
    pushed = kit("push", "digits:v1", f"{name}:v1,latest", "--plain-http")
    assert (pushed.code, pushed.out) == (0, f"Pushed {packed}\n")
    assert f"Pushing digits:v1 to {name}:v1,latest" in pushed.err
    listed = kit("list", name, "--plain-http", "--format", "json").json
    assert [(row["repo"], row["tags"], row["digest"]) for row in listed] == [("team/digits", ["latest", "v1"], packed)]
    assert kit("inspect", "--remote", f"{name}:v1", "--plain-http").json["digest"] == packed
    shutil.rmtree(tmp_path / "home")
    pulled = kit("pull", f"{name}:v1", "--plain-http=true")
    assert (pulled.code, pulled.out) == (0, f"Pulled {packed}\n")
    assert f"Pulling {name}:v1" in pulled.err
    found = kit("pull", f"{name}:v1,latest", "--plain-http", "--format=json").json
    assert found == {"digest": packed, "references": [f"{name}:v1", f"{name}:latest"]}
    found = kit("push", f"{name}:v1,latest", "--plain-http", "--format=json").json
    assert found == {"digest": packed, "references": [f"{name}:v1", f"{name}:latest"]}
    same = kit("diff", f"local://{name}:v1", f"remote://{name}:v1", "--plain-http", "--exit-code")
    assert same.code == 0, same.err
    assert kit("remove", "-r", f"{name}:latest", "--plain-http").code == 0
    assert kit("list", name, "--plain-http", "--format", "{{.Tags}}").out == "[v1]\n"


def test_pull_of_parts(kit: Kit, packed: str, registry: str, tmp_path: Path) -> None:
    name = f"{registry}/team/digits:v1"
    kit("push", "digits:v1", name, "--plain-http")
    home = ("--config", str(tmp_path / "away"))
    plan = kit(*home, "pull", name, "--plain-http", "--filter", "model", "--dry-run")
    assert plan.code == 0
    assert [line.split()[0] for line in plan.out.splitlines()][:2] == ["DIGEST", packed.partition(":")[2][:12]]
    assert "left out" in plan.out
    assert "disk:" in plan.out
    assert kit(*home, "list").out.count("\n") == 1
    table = kit(*home, "pull", name, "--plain-http", "--filter", "model", "--dry-run", "--format=json").json
    assert (table["verb"], table["references"], table["disk"]["fits"]) == ("pull", [name], True)
    pulled = kit(*home, "pull", name, "--plain-http", "--filter", "model", "--format=json").json
    assert pulled["digest"] == packed
    assert {item["digest"] for item in table["items"] if item["state"] == "left-out"} == set(pulled["leftOut"])
    assert kit(*home, "unpack", name, "--filter", "model", "-d", str(tmp_path / "out")).code == 0
    assert kit(*home, "pull", name, "--filter", "nonsense").code == 2
    ended = kit(*home, "list")
    assert re.fullmatch(r"\S+ +v1 +.* KiB\* +sha256:\S+", ended.out.splitlines()[1])
    assert ended.err == "* only a part is here: `kit pull` completes it\n"
    assert kit(*home, "list", "--format", "json").json[0]["partial"] is True
    assert kit(*home, "pull", name, "--plain-http").code == 0
    ended = kit(*home, "list")
    assert ("*" in ended.out, ended.err) == (False, "")


def test_several_are_pulled(kit: Kit, packed: str, project: Path, registry: str, tmp_path: Path) -> None:
    other = kit("pack", str(project), "-t", "other:v1", "--annotation", "a=b").out.split()[-1]
    kit("push", "digits:v1", f"{registry}/team/digits:v1,v2", "--plain-http")
    kit("push", "other:v1", f"{registry}/team/other:v1", "--plain-http")
    home = ("--config", str(tmp_path / "away"))
    names = (f"{registry}/team/digits:v1,v2", f"{registry}/team/other:v1")
    plan = kit(*home, "pull", *names, "--plain-http", "--dry-run", "--format=json").json
    assert len(plan["references"]) == 3
    pulled = kit(*home, "pull", *names, "--plain-http", "--format=json").json
    assert [kit["digest"] for kit in pulled["kits"]] == [packed, packed, other]
    assert kit(*home, "pull", *names, "--plain-http").out == f"Pulled {packed}\nPulled {other}\n"
    assert len(kit(*home, "list", "--format", "json").json) == 2


def test_pull_mends_what_is_damaged(
    kit: Kit, packed: str, registry: str, environment: Mapping[str, str], tmp_path: Path
) -> None:
    name = f"{registry}/team/digits:v1"
    kit("push", "digits:v1", name, "--plain-http")
    kit("pull", name, "--plain-http")
    blobs = Path(environment["KITOPS_HOME"], "store/blobs/sha256")
    largest = max(blobs.iterdir(), key=lambda blob: blob.stat().st_size)
    largest.write_bytes(b"x" * largest.stat().st_size)
    ended = kit("unpack", name, "-d", str(tmp_path / "out"))
    assert ended.code == 5
    assert f"Hint: `kit pull --verify {name}` fetches it again" in ended.err
    assert kit("pull", name, "--verify", "--dry-run").code == 2
    ended = kit("pull", name, "--verify", "--plain-http", "--format", "json")
    assert (ended.code, ended.json["digest"]) == (0, packed)
    assert f"is damaged in the store: sha256:{largest.name} is fetched again" in ended.err
    assert kit("unpack", name, "-d", str(tmp_path / "out")).code == 0


def test_plan_of_a_push(kit: Kit, packed: str, registry: str) -> None:
    name = f"{registry}/team/digits:v1"
    plan = kit("push", "digits:v1", name, "--plain-http", "--dry-run", "--format=json").json
    assert {item["state"] for item in plan["items"]} == {"new"}
    assert kit("list", f"{registry}/team/digits", "--plain-http").code == 4
    assert "there already: 0 B" in kit("push", "digits:v1", name, "--plain-http", "--dry-run").out


def test_push_to_nowhere(kit: Kit, packed: str) -> None:
    assert kit("push", "digits:v1").code == 2
    assert kit("push", "digits:v1,v2", "reg.example.com/x:1").code == 2
    assert kit("pull", "digits:v1").code == 2
    assert kit("push", "digits:v1", "127.0.0.1:1/x:1", "--plain-http").code == 8


def test_progress_as_json(kit: Kit, packed: str, registry: str) -> None:
    ended = kit("push", "digits:v1", f"{registry}/x:1", "--plain-http", "--progress", "json")
    events = [json.loads(line) for line in ended.err.splitlines()]
    assert {"message", "planned", "started", "finished"} <= {event["event"] for event in events}
    assert ended.out == f"Pushed {packed}\n"


# list


def test_list_of_an_empty_store(kit: Kit) -> None:
    assert kit("list").out == "REPOSITORY   TAG   MAINTAINER   NAME   SIZE   DIGEST\n"
    assert kit("list", "--format", "json").json == []
    assert kit("list", "--format", "{{.Repo}}").out == ""


def test_list_where_no_store_can_be(kit: Kit, environment: Mapping[str, str]) -> None:
    home = Path(environment["KITOPS_HOME"])
    home.mkdir(parents=True)
    (home / "store").symlink_to("unmounted")
    ended = kit("list")
    assert (ended.code, ended.out) == (14, "")
    assert f"opening the store {home}/store: {home}/store is a symbolic link that leads nowhere" in ended.err
    (home / "store").unlink()
    home.rmdir()
    home.symlink_to("unmounted")
    assert f"{home} is a symbolic link that leads nowhere" in kit("list").err
    home.unlink()
    home.write_text("")
    ended = kit("list")
    assert ended.code == 14
    assert f"{home} is not a directory" in ended.err


def test_list_leaves_out_a_damaged_ref(kit: Kit, packed: str, project: Path, environment: Mapping[str, str]) -> None:
    kit("tag", "digits:v1", "digits:v2,v3")
    (tag,) = Path(environment["KITOPS_HOME"]).glob("store/refs/digits-*/tags/v2")
    tag.write_text("{")
    ended = kit("list")
    assert ended.code == 0
    assert [line.split()[1] for line in ended.out.splitlines()[1:]] == ["v1", "v3"]
    assert re.fullmatch(r"Warning: left out: the ref \S+/tags/v2 is damaged: .* \(remove that file, .*\)\n", ended.err)
    assert kit("du").code == 0
    assert kit("pack", str(project), "-t", "digits:v2").code == 0
    ended = kit("list", "--format", '{{join .Tags ","}}')
    assert (ended.out, ended.err) == ("v1,v2,v3\n", "")


def test_list_of_what_there_is(kit: Kit, packed: str, project: Path) -> None:
    (project / "Kitfile").write_text("manifestVersion: 1.0.0\nmodel: {path: model.bin}\n")
    bare = kit("pack", str(project)).out.split()[-1]
    kit("tag", "digits:v1", "digits:latest")
    assert kit("list").out.splitlines() == [
        "REPOSITORY   TAG      MAINTAINER   NAME     SIZE       DIGEST",
        f"<none>       <none>   <none>       <none>   11.5 KiB   {bare}",
        f"digits       latest   Ada          digits   16.0 KiB   {packed}",
        f"digits       v1       Ada          digits   16.0 KiB   {packed}",
    ]
    assert kit("list", "--format", "json").json == [
        {"repo": "", "digest": bare, "tags": [], "modelName": "", "size": "11.5 KiB", "author": "", "bytes": 11776},
        {
            "repo": "digits",
            "digest": packed,
            "tags": ["latest", "v1"],
            "modelName": "digits",
            "size": "16.0 KiB",
            "author": "Ada",
            "bytes": 16384,
        },
    ]
    assert kit("list", "--format", "{{.Repo}} {{.Size}}").out == " 11.5 KiB\ndigits 16.0 KiB\n"
    assert kit("list", "--format", "{{.Bytes}}").out == "11776\n16384\n"
    wrong = kit("list", "--format", "{{.Nope}}")
    assert (wrong.code, "column 3" in wrong.err) == (2, True)


def put_unreadable(address: str, repository: str) -> str:
    """Push a ModelKit whose config is no Kitfile, as ``v1``."""
    config = b"no JSON"
    desc = Descriptor.of(config, KITOPS_CONFIG)
    manifest = Manifest.build(config=desc, layers=[], artifact_type=KITOPS_ARTIFACT)
    ref = Reference.parse(f"{address}/{repository}:v1")
    with open_repository(ref, Network(plain_http=True), FixedCredential(), Run()) as sink:
        sink.put(desc, BytesReader(config), lambda size: None)
        sink.put(manifest.descriptor, BytesReader(manifest.raw), lambda size: None)
        sink.tag(manifest.descriptor, "v1")
    return str(manifest.descriptor.digest)


def test_a_remote_list_tells_what_cannot_be_read(kit: Kit, packed: str, registry: str) -> None:
    digest = put_unreadable(registry, "team/broken")
    kit("push", "digits:v1", f"{registry}/team/broken:v2", "--plain-http")
    words = ("list", f"{registry}/team/broken", "--plain-http")
    ended = kit(*words, "--format", "json")
    rows = {row["digest"]: row for row in ended.json}
    assert rows[digest] == {
        "repo": "team/broken",
        "digest": digest,
        "tags": ["v1"],
        "modelName": None,
        "size": None,
        "author": None,
        "bytes": None,
    }
    assert rows[packed]["modelName"] == "digits"
    (line,) = ended.err.splitlines()
    assert line.startswith("Warning: team/broken:v1 cannot be read: config of sha256:")
    assert f"team/broken   v1    <none>       <none>   <none>     {digest}" in kit(*words).out
    assert f"<none> {digest}\n" in kit(*words, "--format", "{{.Size}} {{.Digest}}").out
    for wanted in ("name=*", "author=*", "model"):
        ended = kit(*words, "-f", wanted, "--format", "{{.Digest}}")
        assert (ended.out, "cannot be read" in ended.err) == (f"{packed}\n", True)
    ended = kit("list", registry, "--plain-http", "--format", "{{.Digest}}")
    assert sorted(ended.out.split()) == sorted([digest, packed])


def test_a_damaged_config_ends_no_list(kit: Kit, tmp_path: Path) -> None:
    with RegistryServer(tmp_path / "registry") as server:
        digest = put_unreadable(server.address, "team/broken")
        config = Descriptor.of(b"no JSON", KITOPS_CONFIG).digest.encoded
        blob = tmp_path / "registry" / "blobs" / "sha256" / config
        blob.chmod(0o644)
        blob.write_bytes(b"garbled")
        ended = kit("list", f"{server.address}/team/broken", "--plain-http", "--format", "{{.Digest}}")
    assert (ended.code, ended.out) == (0, f"{digest}\n")
    assert "team/broken:v1 cannot be read: " in ended.err


# info, inspect


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (".package.name", "digits\n"),
        (".dataSets[0].path", "train.csv\n"),
        ("datasets[0].name", "train\n"),
        (".model.parameters.depth", "3\n"),
        (".model.parameters", "depth: 3\ntags:\n  - a\n  - b\n"),
        (".code", "- path: src\n"),
    ],
)
def test_info_of_a_field(kit: Kit, packed: str, field: str, text: str) -> None:
    assert kit("info", "digits:v1", "-f", field).out == text


def test_info(kit: Kit, packed: str) -> None:
    assert kit("info", "digits:v1").out.startswith("manifestVersion: 1.0.0\npackage:\n  name: digits\n")
    assert kit("info", "digits:v1", "--format", "json").json["package"]["name"] == "digits"
    assert kit("info", "digits:v1", "--format", "json", "-f", ".code").json == [{"path": "src"}]
    missing = kit("info", "digits:v1", "-f", ".modle")
    assert (missing.code, "did you mean 'model'" in missing.err) == (4, True)
    assert kit("info", "digits").code == 2
    assert kit("info", "digits:v9").code == 4


def test_inspect(kit: Kit, packed: str) -> None:
    found = kit("inspect", f"digits@{packed}").json
    assert list(found) == ["digest", "cliVersion", "kitfile", "manifest"]
    assert (found["digest"], found["cliVersion"]) == (packed, "unknown")
    assert found["manifest"]["schemaVersion"] == 2


# tag, remove, prune


def test_tag(kit: Kit, packed: str) -> None:
    ended = kit("tag", "digits:v1", "reg.example.com/x:1,2")
    assert (ended.code, ended.out) == (0, "")
    assert "Tagged digits:v1 as reg.example.com/x:1, reg.example.com/x:2" in ended.err
    assert kit("tag", "digits:v1", "y:1", "--format", "json").json == {"digest": packed, "references": ["y:1"]}
    assert kit("tag", "digits", "y:1").code == 2


def test_remove(kit: Kit, packed: str) -> None:
    kit("tag", "digits:v1", "digits:v2,v3")
    assert kit("remove", "digits:v3").out == "Removed digits:v3\n"
    assert kit("remove", "--force", "digits:v2", "--format", "json").json["deleted"] == [f"digits@{packed}"]
    assert kit("list", "--format", "json").json == []
    assert kit("remove", "digits:v1").code == 4


def test_several_are_removed_or_none(kit: Kit, packed: str) -> None:
    kit("tag", "digits:v1", "other/x:a,b,c")
    missing = kit("remove", "digits:v1", "other/x:d")
    assert (missing.code, missing.out) == (4, "")
    gone = kit("remove", "digits:v1", "other/x:a,b", "digits:v1")
    assert gone.out.splitlines()[:3] == ["Removed digits:v1", "Removed other/x:a", "Removed other/x:b"]
    assert [row["tags"] for row in kit("list", "--format", "json").json] == [["c"]]


def test_remove_wants_something(kit: Kit) -> None:
    for wrong in ((), ("x:1", "--all"), ("--all", "--remote")):
        assert kit("remove", *wrong).code == 2


def test_remove_all(kit: Kit, packed: str, project: Path) -> None:
    untagged = kit("pack", str(project), "--annotation", "a=b").out.split()[-1]
    assert kit("remove", "--all").out == f"Removed {untagged}\n"
    ended = kit("remove", "--all", "--force")
    assert f"Removed digits@{packed}\n" in ended.out
    assert "Freed 1" in ended.err


def test_prune(kit: Kit, packed: str) -> None:
    assert kit("prune", "--dry-run").out == "Would free 0 B (0 files)\n"
    assert kit("prune", "--format", "json").json == {"dryRun": False, "freed": 0, "blobs": [], "partials": []}


def test_prune_lists_what_it_would_free(kit: Kit, packed: str, tmp_path: Path) -> None:
    orphan = tmp_path / "home" / "store" / "blobs" / "sha256" / ("ab" * 32)
    orphan.write_bytes(b"1234")
    os.utime(orphan, (0, 0))
    ended = kit("prune", "--dry-run")
    assert ended.out == "Would free 4 B (1 file)\n"
    assert f"Would free sha256:{'ab' * 32} (4 B)" in ended.err
    assert kit("prune").out == "Freed 4 B (1 file)\n"


def test_prune_tells_what_is_too_young(kit: Kit, packed: str, tmp_path: Path) -> None:
    young = tmp_path / "home" / "store" / "ingest" / "young"
    young.write_bytes(bytes(2048))
    for words in (("prune", "--dry-run"), ("prune",)):
        ended = kit(*words)
        assert ended.out.endswith(" 0 B (0 files)\n")
        assert "2.0 KiB of unfinished downloads stay: younger than an hour, or still coming; `kit cache" in ended.err
    os.utime(young, (0, 0))
    assert "stay" not in kit("prune", "--dry-run").err
    assert "stay" not in kit("prune").err


# diff


def test_diff_explains(kit: Kit, packed: str, changed: str) -> None:
    ended = kit("diff", "digits:v1", "digits:v2")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == [
        f"--- digits:v1   {packed}",
        f"+++ digits:v2   {changed}",
        "Kitfile",
        '  ~ package.version: "1.0.0" -> "2.0.0"',
        "Layers",
        "  = model.bin   11.5 KiB",
        "  = train.csv   2.0 KiB",
        "  ~ src   2.5 KiB -> 3.0 KiB",
        "      + src/new.py   0 B",
        "      ~ src/train.py   15 B -> 20 B",
    ]
    assert kit("diff", "digits:v1", "digits:v2", "--exit-code").code == 1


def test_diff_of_equals(kit: Kit, packed: str) -> None:
    kit("tag", "digits:v1", "x:1")
    ended = kit("diff", "digits:v1", "x:1", "--exit-code")
    assert (ended.code, "Kitfile and layers are equal" in ended.out) == (0, True)


def test_diff_as_json(kit: Kit, changed: str) -> None:
    found = kit("diff", "digits:v1", "digits:v2", "--format", "json").json
    assert found["equal"] is False
    assert found["kitfile"] == [{"field": ".package.version", "change": "changed", "before": "1.0.0", "after": "2.0.0"}]


def test_diff_of_packings_modes_and_lengths(kit: Kit, project: Path, packed: str) -> None:
    (project / "src" / "train.py").chmod(0o755)
    kit("pack", str(project), "-t", "digits:mode")
    assert "      ~ src/train.py   permissions only\n" in kit("diff", "digits:v1", "digits:mode").out
    kit("pack", str(project), "-t", "digits:zip", "--compression", "gzip", "--annotation", "a=b")
    out = kit("diff", "digits:mode", "digits:zip").out
    assert "the same files, packed otherwise\n" in out
    assert 'Annotations\n  + a: "b"\n' in out
    with (project / "model.bin").open("ab") as file:
        file.write(b"x")
    kit("pack", str(project), "-t", "digits:more")
    assert "~ model.bin   10240 B -> 10241 B\n" in kit("diff", "digits:mode", "digits:more").out


def test_diff_of_a_layer_without_files(kit: Kit, packed: str, project: Path) -> None:
    (project / "empty").mkdir()
    (project / "Kitfile").write_text(KITFILE + "docs: [{path: empty}]\n")
    assert kit("pack", str(project), "-t", "digits:more").code == 0
    for words, sign in ((("digits:v1", "digits:more"), "+"), (("digits:more", "digits:v1"), "-")):
        lines = kit("diff", *words).out.splitlines()
        assert lines[-2].startswith(f"  {sign} empty   ")
        assert lines[-1] == "      no files"


# login, logout


def test_login_and_logout(kit: Kit, packed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RegistryServer(tmp_path / "registry", ServerOptions(access=BasicAccess({"ada": "secret"}))) as server:
        registry = server.address
        refused = kit("push", "digits:v1", f"{registry}/x:1", "--plain-http")
        assert refused.code == 6
        stdin(monkeypatch, "wrong\n")
        assert kit("login", registry, "-u", "ada", "--password-stdin", "--plain-http").code == 6
        stdin(monkeypatch, "secret\n")
        ended = kit("login", registry, "-u", "ada", "--password-stdin", "--plain-http")
        assert (ended.code, ended.out) == (0, "Login Succeeded\n")
        assert (tmp_path / "home" / "credentials.json").stat().st_mode & 0o777 == 0o600
        assert kit("push", "digits:v1", f"{registry}/x:1", "--plain-http").code == 0
        warned = kit("login", registry, "-u", "ada", "-p", "secret", "--plain-http", "--format", "json")
        assert warned.json == {"registry": registry, "username": "ada"}
        assert "Warning: a password on the command line" in warned.err
        assert kit("logout", registry).out == f"Logged out of {registry}\n"
        assert kit("logout", registry).code == 4


def test_login_without_a_way_to_ask(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, "")
    ended = kit("login", "reg.example.com")
    assert (ended.code, "--password-stdin" in ended.err) == (2, True)
    assert kit("login", "reg.example.com", "--password-stdin").code == 2
    assert kit("login", "https://reg.example.com", "-p", "x").code == 2
    assert kit("login", "reg.example.com", "--password-stdin", "-p", "x").code == 2


def test_the_password_is_utf_8(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe")))
    ended = kit("login", "127.0.0.1:1", "-u", "ada", "--password-stdin")
    assert (ended.code, ended.err) == (2, "Error: the password is not UTF-8\n")


def test_stdin_that_is_closed(kit: Kit, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    ended = kit("pack", str(project), "-f", "-")
    assert (ended.code, "standard input: it is closed" in ended.err) == (14, True)


# kitfile, cache


def test_lint(kit: Kit, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kit("kitfile", "lint", str(project)).out == f"{project / 'Kitfile'}: no problems\n"
    stdin(monkeypatch, "manifestVersion: 9.0.0\nmodel: {path: x}\n")
    ended = kit("kitfile", "lint", "-")
    assert ended.code == 0
    assert ended.out.startswith("-:1:18: warning: manifestVersion: ")
    (project / "Kitfile").write_text("manifestVersion: 1.0.0\nmodle: {}\n")
    found = kit("kitfile", "lint", str(project), "--format", "json")
    assert found.code == 2
    assert [(row["level"], row["line"], row["field"]) for row in found.json["problems"]] == [("error", 2, "modle")]


def test_lint_shows_warnings_beside_problems(kit: Kit, project: Path) -> None:
    (project / "Kitfile").write_text("manifestVersion: v9\ncode: [{path: /x}]\n")
    where = project / "Kitfile"
    found = kit("kitfile", "lint", str(project))
    assert (found.code, found.out.splitlines()) == (
        2,
        [
            f"{where}:1:18: warning: manifestVersion: 'v9' is not known, read as 1.0.0 (write 1.0.0)",
            f"{where}:2:15: error: code[0].path: /x is an absolute path (write it relative to the Kitfile's directory)",
        ],
    )
    found = kit("kitfile", "lint", str(project), "--format", "json")
    assert [(row["level"], row["field"]) for row in found.json["problems"]] == [
        ("warning", "manifestVersion"),
        ("error", "code[0].path"),
    ]
    (project / "Kitfile").write_text("")
    assert kit("kitfile", "lint", str(project)).out.startswith(f"{where}:1:1: error: is empty (")
    (project / "Kitfile").write_text("docs:\n" + "- {path: /x}\n" * 200)
    assert kit("kitfile", "lint", str(project)).out.splitlines()[-1] == "only the first 100 problems are shown"


def test_lint_of_what_has_no_place(kit: Kit, project: Path) -> None:
    (project / "Kitfile").write_text("#" * 2_000_000)
    ended = kit("kitfile", "lint", str(project))
    assert (ended.code, ended.out.startswith(f"{project / 'Kitfile'}: error: is larger than ")) == (2, True)
    (project / "Kitfile").unlink()
    ended = kit("kitfile", "lint", str(project))
    assert (ended.code, ended.err.splitlines()) == (
        4,
        [f"Error: no Kitfile in {project}", f"Hint: write one with `kit init {project}`, or name the file itself"],
    )
    assert "--file" in kit("pack", str(project)).err


def test_files_that_are_not_there(kit: Kit, project: Path) -> None:
    for words in (("pack", str(project), "-f", "missing"), ("kitfile", "lint", "missing"), ("load", "-i", "missing")):
        ended = kit(*words)
        assert (ended.code, "Hint: check how it is spelled" in ended.err) == (14, True), words


def test_schema(kit: Kit) -> None:
    assert kit("kitfile", "schema").json["title"] == "Kitfile"


def test_cache(kit: Kit, packed: str, tmp_path: Path) -> None:
    found = kit("cache", "info", "--format", "json").json
    assert found["store"] == str(tmp_path / "home" / "store")
    assert found["blobs"] == 5
    assert "ModelKits: 1" in kit("cache", "info").out
    (tmp_path / "home/store/packed/stray").mkdir()
    cleared = kit("cache", "clear", "--format", "json").json
    assert cleared["files"] == found["digestCacheEntries"]
    assert kit("cache", "info", "--format", "json").json["digestCacheEntries"] == 0
    assert kit("list", "--format", "{{.Tags}}").out == "[v1]\n"


def test_what_was_uploaded_and_never_finished(kit: Kit, packed: str, tmp_path: Path) -> None:
    incoming = tmp_path / "home/store/incoming"
    incoming.mkdir()
    for words in (("prune",), ("cache", "clear")):
        (incoming / "abandoned").write_bytes(bytes(3000))
        os.utime(incoming / "abandoned", (1, 1))
        found = kit("cache", "info", "--format", "json").json
        assert (found["incomingSize"], found["partialSize"]) == (3000, 0)
        assert "Unfinished uploads to this store: 2.9 KiB" in kit("cache", "info").out
        assert kit(*words, "--format", "json").json["freed"] >= 3000
        assert list(incoming.iterdir()) == []


def test_cache_of_nothing(kit: Kit) -> None:
    assert kit("cache", "clear").out == "Freed 0 B (0 files)\n"


def test_adopting_the_go_tools_storage(kit: Kit, tmp_path: Path) -> None:
    golden = Path(__file__).parents[2] / "golden" / "stores" / "2026"
    shutil.copytree(golden / "storage", tmp_path / "go" / "storage")
    for directory, tags in ((tmp_path / "go", 5), (tmp_path / "go" / "storage", 0)):  # the second brings nothing new
        found = kit("cache", "adopt", str(directory), "--format", "json").json
        assert (found["modelKits"], found["tags"]) == (5, tags)
    rows = sorted((golden / "list.txt").read_text().replace("localhost/twice", "twice          ").splitlines()[1:])
    assert [" ".join(row.split()) for row in sorted(kit("list").out.splitlines()[1:])] == sorted(
        " ".join(row.split()) for row in rows
    )


def test_adopting_is_told_once(kit: Kit, tmp_path: Path) -> None:
    golden = Path(__file__).parents[2] / "golden" / "stores" / "2026" / "storage"
    home = tmp_path / "home"
    shutil.copytree(golden, home / "storage")
    for words in (("cache", "adopt"), ("cache", "adopt", str(home / "storage" / ".")), ("cache", "adopt", str(home))):
        shutil.rmtree(home / "store", ignore_errors=True)
        ended = kit(*words)
        assert (ended.code, ended.out, ended.err) == (0, "Adopted 5 ModelKits with 5 tags\n", "")
    shutil.rmtree(home / "store")
    assert f"Adopted 5 ModelKits with 5 tags from {home / 'storage'}\n" in kit("list").err


def test_adopting_what_is_not_there(kit: Kit, tmp_path: Path) -> None:
    assert kit("cache", "adopt").code == 4
    assert kit("cache", "adopt", str(tmp_path / "none")).code == 4
    (tmp_path / "other").mkdir()
    ended = kit("cache", "adopt", str(tmp_path / "other"))
    assert (ended.code, ended.err.splitlines()[0]) == (4, f"Error: {tmp_path / 'other'} is no storage of the Go tool")
    assert "*-index.json" in ended.err


def test_a_user_whom_nobody_knows(kit: Kit, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container a process may have any user id, and no home directory."""
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("USERPROFILE", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 2)
    assert kit("pack", str(project), "-t", "x:v1").code == 0
    assert kit("logout", "reg.example.com").code == 4
    ended = kit("unpack", "x:v1", "--as-skill=universal")
    assert (ended.code, ended.err.splitlines()[-1]) == (14, "Hint: set HOME")
    assert kit("skill", "-d", str(tmp_path)).code == 14, "which are installed nobody knows"
    assert kit("skill", "-d", str(tmp_path), "--agents", "universal").code == 0
    assert (tmp_path / ".agents/skills/kitops/SKILL.md").is_file()
    monkeypatch.delenv("KITOPS_HOME")
    ended = kit("list")
    assert ended.code == 14
    assert ended.err.splitlines() == [
        "Error: the home directory of this user is not known",
        "Hint: set HOME, or KITOPS_HOME to where ModelKits are kept",
    ]
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert kit("pack", str(project)).code == 0
    assert (tmp_path / "share" / "kitops" / "store").is_dir()
