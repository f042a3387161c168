from __future__ import annotations

import base64
import json
import os
import stat
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitops.content.cancel import CancelToken
from kitops.errors import Cancelled, FileSystemError, InvalidValueError
from kitops.registry.credentials import Credential, CredentialStore, FixedCredential, default_config_paths
from kitops.registry.helper import run_helper

HUB = "https://index.docker.io/v1/"


def auth(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


def write(path: Path, table: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table))
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "home" / "credentials.json"


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A real helper program ``docker-credential-test`` whose keychain is the directory that is returned."""
    keychain = tmp_path / "keychain"
    keychain.mkdir()
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, sys, urllib.parse\n"
        f"keychain = pathlib.Path({str(keychain)!r})\n"
        "text = sys.stdin.read()\n"
        "key = json.loads(text)['ServerURL'] if sys.argv[1] == 'store' else text.strip()\n"
        "file = keychain / urllib.parse.quote(key, safe='')\n"
        "if sys.argv[1] == 'store': file.write_text(text)\n"
        "elif sys.argv[1] == 'erase': file.unlink()\n"
        "elif key == 'broken.example.com': print('{'); sys.exit(0)\n"
        "elif key == 'failing.example.com': print('keychain is locked'); sys.exit(1)\n"
        "elif key == 'slow.example.com': import time; time.sleep(60)\n"
        "elif file.exists(): print(file.read_text())\n"
        "else: print('credentials not found in native keychain'); sys.exit(1)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return keychain


def test_nothing_anywhere(own: Path, tmp_path: Path) -> None:
    assert CredentialStore(own, [tmp_path / "none.json"]).find("registry.example.com") is None


def test_saved_as_docker_does_and_found_again(own: Path) -> None:
    store = CredentialStore(own)
    store.save("registry.example.com:5000", Credential("me", "pass:word"))
    assert json.loads(own.read_text()) == {"auths": {"registry.example.com:5000": auth("me:pass:word")}}
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    assert store.find("registry.example.com:5000") == Credential("me", "pass:word")
    assert store.find("registry.example.com") is None
    assert [path.name for path in own.parent.iterdir()] == ["credentials.json"]


def test_saving_keeps_what_else_is_in_the_file_and_narrows_its_mode(own: Path) -> None:
    write(own, {"auths": {"a.example": auth("a:1"), "https://b.example/v2/": auth("b:1")}, "HttpHeaders": {"x": "y"}})
    own.chmod(0o644)
    CredentialStore(own).save("b.example", Credential("b", "2"))
    assert json.loads(own.read_text()) == {
        "auths": {"a.example": auth("a:1"), "b.example": auth("b:2")},
        "HttpHeaders": {"x": "y"},
    }
    assert stat.S_IMODE(own.stat().st_mode) == 0o600


def test_logins_at_the_same_time_lose_nothing(own: Path) -> None:
    def save(number: int) -> None:
        CredentialStore(own).save(f"{number}.example", Credential("me", "x"), realm="https://tokens.example")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, range(24)))
    store = CredentialStore(own)
    assert all(store.find(f"{number}.example") for number in range(24))
    assert all(store.pinned_realm(f"{number}.example") for number in range(24))


def test_saving_through_a_link_keeps_the_link(own: Path, tmp_path: Path) -> None:
    real = write(tmp_path / "elsewhere.json", {})
    own.parent.mkdir()
    own.symlink_to(real)
    CredentialStore(own).save("a.example", Credential("a", "1"))
    assert own.is_symlink()
    assert "a.example" in real.read_text()


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
@pytest.mark.parametrize("key", [HUB, "docker.io", "index.docker.io", "https://registry-1.docker.io/v2/"])
def test_docker_hub_has_many_names(own: Path, host: str, key: str) -> None:
    write(own, {"auths": {key: auth("me:hub")}})
    assert CredentialStore(own).find(host, "library/alpine") == Credential("me", "hub")


def test_docker_hub_is_saved_under_dockers_key(own: Path) -> None:
    CredentialStore(own).save("docker.io", Credential("me", "hub"))
    assert list(json.loads(own.read_text())["auths"]) == [HUB]


@pytest.mark.parametrize("key", ["https://a.example", "http://a.example/", "a.example/v1/", "https://a.example/v2/"])
def test_keys_of_old(own: Path, key: str) -> None:
    write(own, {"auths": {key: auth("me:1")}})
    assert CredentialStore(own).find("a.example") == Credential("me", "1")


def test_the_most_specific_key_wins(own: Path) -> None:
    write(
        own,
        {"auths": {"q.io": auth("host:1"), "q.io/org": auth("org:1"), "q.io/org/repo": auth("repo:1")}},
    )
    store = CredentialStore(own)
    assert [
        (store.find("q.io", name) or Credential()).username for name in ("x", "org/x", "org/repo", "organ/x", "")
    ] == [
        "host",
        "org",
        "repo",
        "host",
        "host",
    ]


def test_a_path_key_is_not_the_hosts(own: Path) -> None:
    write(own, {"auths": {"q.io/org": auth("org:1")}})
    assert CredentialStore(own).find("q.io", "other") is None


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"username": "u", "password": "p"}, Credential("u", "p")),
        ({"auth": auth("u:p\x00\x00")["auth"]}, Credential("u", "p")),
        ({"identitytoken": "t"}, Credential(identity_token="t")),
        ({**auth("<token>:t")}, Credential(identity_token="t")),
        ({**auth("u:"), "identitytoken": "t"}, Credential("u", "", "t")),
        ({"registrytoken": "t"}, Credential(registry_token="t")),
        ({}, None),
        ({"auth": ""}, None),
        ("nonsense", None),
        ({"email": "x@example.com"}, None),
    ],
)
def test_entries(own: Path, entry: object, expected: Credential | None) -> None:
    write(own, {"auths": {"a.example": entry}})
    assert CredentialStore(own).find("a.example") == expected


@pytest.mark.parametrize(
    "credential", [Credential(identity_token="t"), Credential(registry_token="r"), Credential("u", "p", "t")]
)
def test_tokens_round_trip(own: Path, credential: Credential) -> None:
    store = CredentialStore(own)
    store.save("a.example", credential)
    assert store.find("a.example") == credential


def test_ours_before_dockers_before_podmans(own: Path, tmp_path: Path) -> None:
    docker = write(tmp_path / "docker.json", {"auths": {"a": auth("docker:1"), "b": auth("docker:1")}})
    podman = write(tmp_path / "podman.json", {"auths": {"b": auth("podman:1"), "c": auth("podman:1")}})
    write(own, {"auths": {"a": auth("own:1")}})
    store = CredentialStore(own, [docker, podman])
    assert [(store.find(host) or Credential()).username for host in "abc"] == ["own", "docker", "podman"]


def test_erase(own: Path) -> None:
    store = CredentialStore(own)
    store.save("a.example", Credential("a", "1"))
    store.save("b.example", Credential("b", "1"))
    assert store.erase("a.example") is True
    assert store.erase("a.example") is False
    assert list(json.loads(own.read_text())["auths"]) == ["b.example"]


def test_erase_where_there_is_no_file(own: Path) -> None:
    assert CredentialStore(own).erase("a.example") is False
    assert not own.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"a.example": {"auth": "not base64!"}}}'])
def test_our_file_is_damaged(own: Path, text: str) -> None:
    own.parent.mkdir()
    own.write_text(text)
    with pytest.raises(InvalidValueError, match="credentials"):
        CredentialStore(own).find("a.example")


@pytest.mark.parametrize(
    "entry",
    [
        {"registrytoken": "secret-token\n"},
        {"registrytoken": "secret token"},
        {"registrytoken": "secret\u20actoken"},
        {"identitytoken": "secret\ud800"},
        {"username": "me\ud800", "password": "secret"},
    ],
)
def test_an_entry_that_no_request_can_carry(own: Path, entry: dict[str, str]) -> None:
    write(own, {"auths": {"a.example": entry}})
    with pytest.raises(InvalidValueError, match=r"credentials\.json: ") as caught:
        CredentialStore(own).find("a.example")
    assert "secret" not in str(caught.value)


def test_others_files_that_are_damaged_are_left_out_and_told(own: Path, tmp_path: Path) -> None:
    bad = tmp_path / "config.json"
    bad.write_text("{")
    told: list[str] = []
    assert CredentialStore(own, [bad], warn=told.append).find("a.example") is None
    assert len(told) == 1
    assert told[0].count("config.json") == 1
    assert told[0].endswith("; it is left out")


def test_others_helpers_that_are_missing_do_not_keep_a_public_registry_away(own: Path, tmp_path: Path) -> None:
    docker = write(tmp_path / "config.json", {"credsStore": "surely-not-installed"})
    told: list[str] = []
    assert CredentialStore(own, [docker], warn=told.append).find("a.example") is None
    assert "surely-not-installed" in told[0]
    assert told[0].endswith(f"; {docker} is left out")


def test_our_file_cannot_be_read_or_written(tmp_path: Path) -> None:
    directory = tmp_path / "credentials.json"
    directory.mkdir()
    with pytest.raises(FileSystemError):
        CredentialStore(directory).find("a.example")
    blocked = tmp_path / "file" / "credentials.json"
    blocked.parent.write_text("not a directory")
    assert CredentialStore(blocked).find("a.example") is None
    with pytest.raises(FileSystemError):
        CredentialStore(blocked).save("a.example", Credential("a", "1"))


@pytest.mark.parametrize("table", [{"credsStore": "test"}, {"credHelpers": {"a.example": "test"}}])
def test_a_helper_keeps_finds_and_forgets(own: Path, helper: Path, table: dict[str, object]) -> None:
    write(own, table)
    store = CredentialStore(own)
    assert store.find("a.example") is None
    store.save("a.example", Credential("me", "pass"))
    assert json.loads(own.read_text()) == table
    assert json.loads((helper / "a.example").read_text()) == {
        "ServerURL": "a.example",
        "Username": "me",
        "Secret": "pass",
    }
    assert store.find("a.example") == Credential("me", "pass")
    assert store.erase("a.example") is True
    assert store.erase("a.example") is False


def test_a_helper_keeps_identity_tokens(own: Path, helper: Path) -> None:
    write(own, {"credsStore": "test"})
    store = CredentialStore(own)
    store.save("docker.io", Credential(identity_token="t"))
    assert [path.name for path in helper.iterdir()] == ["https%3A%2F%2Findex.docker.io%2Fv1%2F"]
    assert store.find("docker.io") == Credential(identity_token="t")


def test_the_hosts_helper_before_the_store_before_the_entry(own: Path, helper: Path) -> None:
    write(own, {"credsStore": "test", "credHelpers": {"a.example": ""}, "auths": {"a.example": auth("file:1")}})
    assert CredentialStore(own).find("a.example") == Credential("file", "1")
    CredentialStore(own).find("b.example")
    write(own, {"credsStore": "missing", "credHelpers": {"a.example": "test"}, "auths": {}})
    assert CredentialStore(own).find("a.example") is None


@pytest.mark.parametrize("host", ["broken.example.com", "failing.example.com"])
def test_a_helper_that_fails(own: Path, helper: Path, host: str) -> None:
    write(own, {"credsStore": "test"})
    with pytest.raises(InvalidValueError, match=r"credential helper (docker-credential-)?test"):
        CredentialStore(own).find(host)


def test_a_helper_that_is_not_there_or_has_no_name() -> None:
    with pytest.raises(InvalidValueError, match="cannot be run") as caught:
        run_helper("surely-not-installed", "get", "a.example")
    assert caught.value.hint
    with pytest.raises(InvalidValueError, match="does not name"):
        run_helper("../evil", "get", "a.example")


def test_a_helper_that_hangs_ends_with_the_run(own: Path, helper: Path) -> None:
    write(own, {"credsStore": "test"})
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        CredentialStore(own).find("slow.example.com", cancel=cancel)


def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    program = tmp_path / "scripts" / "docker-credential-script"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_helper_that_takes_too_long_is_ended_even_when_its_children_live_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, monkeypatch, "sleep 20")  # a child of the shell, which holds its standard output
    started = time.monotonic()
    with pytest.raises(InvalidValueError, match=r"did not answer in 0\.2 s") as caught:
        run_helper("script", "get", "a.example", seconds=0.2)
    assert caught.value.hint
    assert time.monotonic() - started < 15


def test_a_helper_that_repeats_what_it_was_given_does_not_tell_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: Path
) -> None:
    script(tmp_path, monkeypatch, "cat; exit 1")
    write(own, {"credsStore": "script"})
    with pytest.raises(InvalidValueError, match="store failed") as caught:
        CredentialStore(own).save("a.example", Credential("me", "hunter2"))
    assert "hunter2" not in str(caught.value)


def test_a_helper_that_fails_after_its_answer_does_not_tell_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: Path
) -> None:
    script(tmp_path, monkeypatch, """echo '{"Username": "me", "Secret": "hunter2"}'; echo locked >&2; exit 1""")
    write(own, {"credsStore": "script"})
    with pytest.raises(InvalidValueError, match="get failed: it gave an answer nevertheless; locked") as caught:
        CredentialStore(own).find("a.example")
    assert "hunter2" not in str(caught.value)


def test_a_helper_that_is_not_text_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: Path) -> None:
    script(tmp_path, monkeypatch, r"printf '\377\376'")
    write(own, {"credHelpers": {"a.example": "script"}})
    with pytest.raises(InvalidValueError, match="not JSON"):
        CredentialStore(own).find("a.example")


def test_a_helper_that_refuses_to_store_is_an_error(own: Path) -> None:
    def refuse(suffix: str, verb: str, text: str, cancel: CancelToken | None, /) -> str | None:
        raise InvalidValueError(f"{suffix} {verb}")

    write(own, {"credsStore": "test"})
    with pytest.raises(InvalidValueError, match="test store"):
        CredentialStore(own, helper_runner=refuse).save("a.example", Credential("a", "1"))


def test_helper_answers_that_hold_nothing(own: Path) -> None:
    answers = iter(
        [
            '{"Username": "u", "Secret": ""}',
            '{"Username": 1, "Secret": "x"}',
            '{"Secret": "x"}',
            "[" * 100_000,
            '{"Username": "u", "Secret": "\\ud800"}',
        ]
    )
    write(own, {"credsStore": "test"})
    store = CredentialStore(own, helper_runner=lambda *_: next(answers))
    assert store.find("a.example") is None
    assert store.find("a.example") is None
    for _ in range(2):
        with pytest.raises(InvalidValueError, match="not JSON"):
            store.find("a.example")
    with pytest.raises(InvalidValueError, match="credential helper test: half a character"):
        store.find("a.example")


def test_default_paths() -> None:
    home = Path("/home/me")
    assert default_config_paths({}, home) == (
        home / ".docker/config.json",
        home / ".config/containers/auth.json",
    )
    environ = {
        "REGISTRY_AUTH_FILE": "/auth.json",
        "DOCKER_CONFIG": "/docker",
        "XDG_RUNTIME_DIR": "/run/me",
        "XDG_CONFIG_HOME": "/config",
    }
    assert default_config_paths(environ, home) == (
        Path("/auth.json"),
        Path("/docker/config.json"),
        Path("/run/me/containers/auth.json"),
        Path("/config/containers/auth.json"),
    )
    assert default_config_paths({}, None) == ()


def test_what_a_person_types() -> None:
    assert Credential.of_login("me", "pass") == Credential("me", "pass")
    assert Credential.of_login("", "token") == Credential(identity_token="token")
    assert FixedCredential().find("a.example") is None


def test_a_recorded_token_server_is_kept_with_the_login_and_forgotten_with_it(own: Path) -> None:
    store = CredentialStore(own)
    store.save("a.example", Credential("me", "1"), realm="https://auth.example")
    assert store.pinned_realm("a.example") == "https://auth.example"
    assert set(json.loads(own.read_text())) == {"auths"}  # the Go tool reads this file: nothing of ours is in it
    store.save("a.example", Credential("me", "2"))
    assert store.pinned_realm("a.example") is None
    store.save("a.example", Credential("me", "1"), realm="https://auth.example")
    store.erase("a.example")
    assert store.pinned_realm("a.example") is None
    store.save("registry-1.docker.io", Credential("me", "1"), realm="https://auth.example")
    assert store.pinned_realm("docker.io") == "https://auth.example"
