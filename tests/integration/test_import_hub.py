"""Imports from a hub on loopback, through Hugging Face's real client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from hub_server import Hub, HubRepo, model_repo
from integration.hub_imports import MIB, check_unpacked, failure, kill_when, kit, make_file, run_import, tree_of
from kitops.content.events import Event
from kitops.content.protocols import Run
from kitops.errors import IntegrityError, InvalidValueError, NetworkError, NotFoundError, PackError, SourceError
from kitops.importers.location import parse_location
from kitops.oci.reference import Reference
from kitops.ops.import_ import ImportOptions, import_, import_to
from kitops.ops.pack import PackOptions, pack
from kitops.ops.place import Place
from kitops.ops.push import push
from kitops.ops.referrers import referrers
from kitops.ops.sources import SourceOptions, open_source
from kitops.ops.unpack import unpack
from kitops.testing import ThrowAwayRegistry
from unit.ops.ops_places import open_network_place, open_test_place

CARD = b"---\nlicense: mit\nlibrary_name: transformers\n---\n# Tiny\n"
CONFIG = json.dumps({"architectures": ["TinyForCausalLM"], "model_type": "tiny"}).encode()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_test_place(tmp_path / "home")


def weights() -> bytes:
    return save({"w": np.arange(40_000, dtype=np.float32).reshape(200, 200)})


def tiny(**more: object) -> HubRepo:
    content = {
        "README.md": CARD,
        "config.json": CONFIG,
        "model.safetensors": weights(),
        "tokenizer.json": b"{}",
        "extra/notes.txt": b"notes",
        "extra/table.csv": b"a,b\n" * 1000,
    }
    return model_repo("Org/Tiny", content, **more)  # type: ignore[arg-type]


def test_a_model_comes_whole_with_what_is_known_of_it(hub: Hub, place: Place, tmp_path: Path) -> None:
    hub.page = 2  # several pages
    repo = tiny()
    hub.add(repo)
    imported = run_import(place, hub, "Org/Tiny")

    assert [str(ref) for ref in imported.references] == ["org/tiny:latest"]
    unpack(place, Reference.parse("org/tiny"), tmp_path / "out")
    found = tree_of(tmp_path / "out")
    assert found.pop("Kitfile").startswith(b"manifestVersion")
    assert found == repo.commits[repo.refs["main"]]
    model = imported.kitfile.model
    assert model is not None
    assert (model.name, model.license, model.framework, model.format) == ("Tiny", "MIT", "transformers", "safetensors")
    assert model.parameters == {
        "architecture": "TinyForCausalLM",
        "family": "tiny",
        "parameterCount": 40_000,
        "parameterSize": "40.0K",
        "precision": "float32",
    }
    assert imported.kitfile.package.authors == ("Org",)


def test_provenance_refers_to_the_modelkit(hub: Hub, place: Place) -> None:
    hub.add(tiny())
    imported = run_import(place, hub, "Org/Tiny", ImportOptions(version="2.0", exclude=("extra/",)))
    (referrer,) = referrers(place, Reference.parse("org/tiny:latest"))
    assert referrer.subject == imported.desc.digest
    assert referrer.desc.annotations["in-toto.io/predicate-type"] == "https://slsa.dev/provenance/v1"
    definition = imported.predicate["buildDefinition"]
    names = [one.get("name") for one in definition["resolvedDependencies"]]  # type: ignore[index,call-overload,union-attr]
    assert names == [None, "README.md", "config.json", "model.safetensors", "tokenizer.json"]


def test_again_at_the_same_commit_moves_nothing_and_at_a_new_one_only_what_changed(hub: Hub, place: Place) -> None:
    repo = tiny()
    hub.add(repo)
    first = run_import(place, hub, "Org/Tiny")
    before = hub.sent
    again = run_import(place, hub, "Org/Tiny")
    assert again.desc == first.desc
    assert again.fetched_size == 0
    assert hub.sent - before < 1024  # the card and the configuration, to make the Kitfile
    assert len(referrers(place, Reference.parse("org/tiny:latest"))) == 1

    changed = dict(repo.commits[repo.refs["main"]]) | {"tokenizer.json": b'{"changed": true}'}
    repo.commits["d" * 40] = changed
    repo.refs["main"] = "d" * 40
    newer = run_import(place, hub, "Org/Tiny")
    assert newer.desc != first.desc
    assert newer.fetched_size == len(changed["tokenizer.json"])  # type: ignore[arg-type]
    assert newer.origin.revision == "d" * 40


def test_a_whole_import_reads_the_commit_that_the_branch_was_at_its_beginning(hub: Hub, place: Place) -> None:
    repo = tiny()
    hub.add(repo)
    with open_source(place, parse_location("Org/Tiny"), SourceOptions(endpoint=hub.endpoint)) as tree:
        repo.commits["e" * 40] = {"model.safetensors": b"other" * 1000}
        repo.refs["main"] = "e" * 40
        imported = import_(place, tree)
    assert imported.origin.revision != "e" * 40
    assert imported.kitfile.model is not None
    assert len(imported.kitfile.docs) == 1


def test_a_folder_of_a_dataset(hub: Hub, place: Place, tmp_path: Path) -> None:
    repo = model_repo("org/data", {"README.md": CARD, "train/en/a.csv": b"1", "train/de/b.csv": b"2"}, is_dataset=True)
    hub.add(repo)
    imported = run_import(place, hub, f"datasets/org/data/tree/{repo.refs['main']}/train")
    unpack(place, imported.references[0], tmp_path / "out")
    assert set(tree_of(tmp_path / "out")) == {"Kitfile", "train/en/a.csv", "train/de/b.csv"}


def test_what_cannot_be_had_is_told_apart(hub: Hub, place: Place) -> None:
    hub.known_tokens = frozenset({"mine", "other"})
    hub.add(tiny(gated=True, tokens=frozenset({"mine"})))
    hub.add(model_repo("Org/Secret", {"a": b"1"}, tokens=frozenset({"mine"})))
    cases = {
        "gated: only who has accepted": failure(place, hub),
        "account of your token has no access": failure(place, hub, token="other"),
        "no public repository Org/Secret": failure(place, hub, "Org/Secret"),
        "may not see it": failure(place, hub, "Org/Secret", token="other"),
        "no public repository Org/None": failure(place, hub, "Org/None"),
        "has no revision 'v9'": failure(place, hub, token="mine", ref="v9"),
        "refuses the token": failure(place, hub, token="stale"),
    }
    for words, error in cases.items():
        assert isinstance(error, SourceError), words
        assert words in error.message
        assert error.hint
        assert error.exit_code == 11
    assert run_import(place, hub, "Org/Tiny", token="mine").fetched_size > 0


def test_a_rate_limit_is_no_reason_to_hammer(hub: Hub, place: Place) -> None:
    hub.add(tiny())
    hub.refusals = [429] * 50
    error = failure(place, hub)
    assert isinstance(error, NetworkError)
    assert error.permanent
    assert "try again in 1 s" in (error.hint or "")
    assert len(hub.refusals) > 40


def test_a_hub_that_is_not_there(place: Place) -> None:
    with pytest.raises(NetworkError, match="org/x"):
        run_import(place, Hub(endpoint="http://127.0.0.1:9"), "org/x")


def test_cut_connections_cost_only_what_was_lost(hub: Hub, place: Place, tmp_path: Path) -> None:
    content = os.urandom(6 * MIB)
    hub.add(model_repo("Org/Big", {"model.bin": content}))
    hub.cut_after, hub.cuts = MIB, 5
    imported = run_import(place, hub, "Org/Big")
    assert imported.fetched_size == len(content)
    assert hub.sent <= 1.05 * len(content)
    unpack(place, imported.references[0], tmp_path / "out")
    assert (tmp_path / "out/model.bin").read_bytes() == content


def test_a_server_without_ranges_still_serves(hub: Hub, place: Place) -> None:
    content = os.urandom(2 * MIB)
    hub.add(model_repo("Org/Big", {"model.bin": content}))
    hub.has_ranges, hub.cut_after, hub.cuts = False, MIB, 1
    assert run_import(place, hub, "Org/Big").size == len(content)


def test_wrong_bytes_are_fetched_once_more_and_then_refused(
    hub: Hub, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(model_repo("Org/Big", {"model.bin": b"x" * 5000}))
    monkeypatch.setattr(Hub, "digest", lambda *_: "0" * 64)  # the hub lists another digest than the bytes have
    error = failure(place, hub, "Org/Big")
    assert isinstance(error, IntegrityError)
    assert "model.bin" in error.message
    assert hub.sent == 10_000
    assert place.store.refs.list() == []


def test_no_token_goes_to_storage(hub: Hub, place: Place) -> None:
    hub.add(tiny(tokens=frozenset({"mine"})))
    events: list[Event] = []
    loud = Place(place.home, place.store, place.connection, Run(events.append))
    imported = run_import(loud, hub, "Org/Tiny", token="mine")
    assert hub.storage_headers
    assert not any("authorization" in headers for headers in hub.storage_headers)
    assert "mine" not in repr(events) + repr(imported)
    assert "secret-of-storage" not in repr(events) + repr(imported)


def test_filters_and_a_kitfile_of_ones_own(hub: Hub, place: Place) -> None:
    hub.add(tiny())
    text = b"manifestVersion: 1.0.0\nmodel:\n  path: model.safetensors\ndatasets:\n  - path: extra\n"
    imported = run_import(place, hub, "Org/Tiny", ImportOptions(kitfile_text=text, exclude=("*.txt",)))
    assert imported.fetched_size == len(weights()) + 4000
    with pytest.raises(PackError, match=r"model\.safetensors"):
        run_import(place, hub, "Org/Tiny", ImportOptions(kitfile_text=text, include=("extra/*",)))
    with pytest.raises(InvalidValueError, match="Kitfile"):
        run_import(place, hub, "Org/Tiny", ImportOptions(kitfile_text=b"modle: {}\n"))


def test_a_kitfile_that_takes_its_model_from_another_modelkit(hub: Hub, place: Place, tmp_path: Path) -> None:
    hub.add(tiny())
    base = b"manifestVersion: 1.0.0\nmodel: {path: model.safetensors}\ndatasets: [{path: extra/table.csv}]\n"
    text = b'manifestVersion: 1.0.0\nmodel: {path: "base:1"}\ndocs: [{path: extra}]\n'
    with pytest.raises(NotFoundError, match="base:1"):
        run_import(place, hub, "Org/Tiny", ImportOptions(kitfile_text=text))
    run_import(place, hub, "Org/Tiny", ImportOptions(kitfile_text=base, references=(Reference.parse("base:1"),)))
    imported = run_import(place, hub, "Org/Tiny", ImportOptions(kitfile_text=text))
    (tmp_path / "extra").mkdir(mode=0o755)
    (tmp_path / "extra/table.csv").write_bytes(b"the parent has it")
    (tmp_path / "extra/notes.txt").write_bytes(b"notes")
    assert imported.desc == pack(place, tmp_path, PackOptions(kitfile_text=text)).desc


def test_a_directory_is_no_mcp_bundle(hub: Hub, place: Place) -> None:
    hub.add(tiny())
    text = b"manifestVersion: 1.0.0\nmcpServers: [{name: x, path: extra}]\n"
    with pytest.raises(PackError, match="extra is a directory, and not an MCP bundle"):
        run_import(place, hub, "Org/Tiny", ImportOptions(kitfile_text=text))


def test_the_kitfile_can_be_edited_before_anything_is_fetched(hub: Hub, place: Place) -> None:
    hub.add(tiny())

    def edit(text: str) -> str:
        assert not [headers for headers in hub.storage_headers if "range" not in headers]
        return text.replace("name: Tiny", "name: Mine")

    imported = run_import(place, hub, "Org/Tiny", ImportOptions(edit=edit))
    assert imported.kitfile.package.name == "Mine"


def test_unsafe_names_are_refused(hub: Hub, place: Place) -> None:
    hub.add(model_repo("Org/Evil", {"../../etc/evil": b"1"}))
    assert "unsafe name" in failure(place, hub, "Org/Evil").message


def test_killed_imports_go_on(hub: Hub, tmp_path: Path) -> None:
    rounds = 20 if os.environ.get("KITOPS_CHAOS") == "long" else 4
    size = (256 if rounds == 20 else 96) * MIB
    path = tmp_path / "weights.bin"
    make_file(path, size)
    hub.add(model_repo("Org/Big", {"model.bin": path, "config.json": b"{}"}))
    kills = 0
    for step in range(1, rounds + 1):
        goal = step * size // (rounds + 2)
        kills += kill_when(kit(hub, tmp_path / "home", "import", "Org/Big"), lambda goal=goal: hub.sent >= goal)  # type: ignore[misc]
    process = kit(hub, tmp_path / "home", "import", "Org/Big", "--format", "json")
    output, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    assert kills > 0
    assert json.loads(output)["fetchedSize"] < size
    piece = 8 * MIB + 4 * MIB  # what was not durable yet, and what the socket held
    assert hub.sent <= 1.01 * size + kills * piece
    check_unpacked(hub, tmp_path, path)
    left = [*(tmp_path / "home/store/partial").iterdir(), *(tmp_path / "home/store/ingest").iterdir()]
    assert left == []


def test_the_command_prints_predicate_and_kitfile(hub: Hub, tmp_path: Path) -> None:
    hub.add(tiny())
    process = kit(hub, tmp_path / "home", "import", "Org/Tiny", "--attestation-output", "-", "-t", "mine:v1")
    output, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    assert json.loads(output)["runDetails"]["builder"]["id"] == "https://kitops.org/kit"
    process = kit(hub, tmp_path / "home", "init", "--remote", "Org/Tiny")
    output, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    assert "parameterCount: 40000" in output
    process = kit(hub, tmp_path / "home", "import", "Org/Tiny", "--prefer", "gguf")
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "no weights in this format" in complaint


def test_a_remote_kitfile_is_written_as_it_is_asked_for(hub: Hub, tmp_path: Path) -> None:
    hub.add(tiny())
    hub.add(model_repo("Org/Evil", {"../../etc/evil": b"1"}))
    kitfile = tmp_path / "Kitfile"
    words = ("init", "--remote", "Org/Tiny", "-o", str(kitfile), "--name", "mine", "--desc", "of mine")
    process = kit(hub, tmp_path / "home", *words, "--author", "Ada")
    assert process.communicate(timeout=60)[0] == f"Kitfile saved: {kitfile}\n"
    assert "package:\n  name: mine\n  description: of mine\n  authors: [Ada]\n" in kitfile.read_text()
    kitfile.write_text("precious")
    process = kit(hub, tmp_path / "home", *words)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--force" in complaint
    assert kitfile.read_text() == "precious"
    process = kit(hub, tmp_path / "home", *words, "--force")
    assert process.communicate(timeout=60)[1] is not None
    assert "name: mine" in kitfile.read_text()
    process = kit(hub, tmp_path / "home", "init", "--remote", "Org/Evil")
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 11
    assert "unsafe name" in complaint


def test_the_library_takes_what_the_command_takes(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = tiny()
    repo.refs["refs/pr/1"] = "d" * 40
    repo.commits["d" * 40] = {**repo.commits[repo.refs["main"]], "deep/er/a.csv": b"1", "deep/er/b.md": b"2"}
    hub.add(repo)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    script = (
        "import sys, kitops; imported = kitops.import_(sys.argv[1], depth=-1);"
        "print(imported.origin.asked, *(one.path for one in imported.kitfile.datasets))"
    )
    environment = {**os.environ, "KITOPS_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", script, f"{hub.endpoint}/Org/Tiny/tree/refs%2Fpr%2F1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "refs/pr/1 deep/er/a.csv extra/table.csv\n", done.stderr


def test_from_hub_to_registry_nothing_large_lands_here(hub: Hub, tmp_path: Path) -> None:
    content = os.urandom(8 * MIB)
    repo = model_repo("Org/Big", {"model.bin": content, "config.json": b"{}", "README.md": CARD})
    hub.add(repo)
    place = open_network_place(tmp_path / "home")
    with ThrowAwayRegistry() as registry:
        target = Reference.parse(f"{registry.address}/team/big:v1")
        reach = SourceOptions(endpoint=hub.endpoint)
        with open_source(place, parse_location("Org/Big"), reach) as tree:
            first = import_to(place, tree, [target])
            sent = hub.sent
            again = import_to(place, tree, [target])
        assert first.fetched_size >= len(content)
        assert again.desc == first.desc
        assert hub.sent - sent < 1024
        assert sum(path.stat().st_size for path in (tmp_path / "home").rglob("*") if path.is_file()) < MIB
        assert place.store.refs.list() == []
        (said,) = referrers(place, target, remote=True)
        assert said.subject == first.desc.digest
        unpack(open_network_place(tmp_path / "other"), target, tmp_path / "out")
    assert (tmp_path / "out/model.bin").read_bytes() == content


def test_a_cut_connection_on_the_way_to_the_registry(hub: Hub, tmp_path: Path) -> None:
    content = os.urandom(8 * MIB)
    hub.add(model_repo("Org/Big", {"model.bin": content}))
    hub.cut_after, hub.cuts = 3 * MIB, 1
    place = open_network_place(tmp_path / "home")
    with ThrowAwayRegistry() as registry:
        target = Reference.parse(f"{registry.address}/team/big:v1")
        with open_source(place, parse_location("Org/Big"), SourceOptions(endpoint=hub.endpoint)) as tree:
            import_to(place, tree, [target])
        unpack(open_network_place(tmp_path / "other"), target, tmp_path / "out")
    assert (tmp_path / "out/model.bin").read_bytes() == content


def test_push_takes_the_provenance_along(hub: Hub, tmp_path: Path) -> None:
    hub.add(tiny())
    place = open_network_place(tmp_path / "home")
    with ThrowAwayRegistry() as registry:
        target = Reference.parse(f"{registry.address}/team/tiny:v1")
        imported = run_import(place, hub, "Org/Tiny", ImportOptions(references=(target,)))
        push(place, target)
        push(place, target)
        (said,) = referrers(place, target, remote=True)
    assert said.subject == imported.desc.digest
    assert said.desc.artifact_type == "application/vnd.in-toto+json"
