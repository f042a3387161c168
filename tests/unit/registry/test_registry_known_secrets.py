from __future__ import annotations

import json

import pytest

from kitops.registry.auth import basic_header
from kitops.registry.credentials import Credential
from kitops.registry.headers import parse_refusal, parse_warnings
from kitops.registry.known_secrets import KnownSecrets
from kitops.registry.urls import hidden_values


def known(*credentials: Credential, proxy: str | None = None) -> KnownSecrets:
    secrets = KnownSecrets()
    for credential in credentials:
        secrets.add_credential(credential)
    secrets.add_proxy(proxy)
    return secrets


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Authorization: " + basic_header(Credential("me", "p@ss & word")), "Authorization: Basic ***"),
        (basic_header(Credential("me", "p@ss & word")).rstrip("="), "Basic ***"),
        ("me:p@ss & word", "me:***"),
        ("password=p%40ss%20%26%20word&x=1", "password=***&x=1"),
        ("password=p%40ss+%26+word", "password=***"),
        ("<b>p@ss &amp; word</b>", "<b>***</b>"),
        ("nothing of it", "nothing of it"),
    ],
)
def test_a_password_in_the_forms_in_which_it_is_said(said: str, shown: str) -> None:
    assert known(Credential("me", "p@ss & word")).hide(said).removesuffix("==").removesuffix("=") == shown


def test_identity_and_registry_tokens_and_what_basic_makes_of_them() -> None:
    secrets = known(Credential(identity_token="refresh-me"), Credential(registry_token="bearer-me"))
    said = f"refresh-me bearer-me {basic_header(Credential('<token>', 'refresh-me'))}"
    assert secrets.hide(said).rstrip("=") == "*** *** Basic ***"


def test_a_short_password_is_hidden_where_it_is_a_word() -> None:
    assert known(Credential("me", "pw")).hide("pw is no password: me:pw, 'pw'") == "*** is no password: me:***, '***'"


@pytest.mark.parametrize("proxy", [None, "", "http://proxy:3128", "http://[", "http://me@proxy"])
def test_who_has_no_secrets_hides_nothing(proxy: str | None) -> None:
    assert known(Credential("me"), proxy=proxy).hide("me: Og== bWU6 <token>") == "me: Og== bWU6 <token>"


def test_the_password_of_a_proxy() -> None:
    assert known(proxy="http://me:p%40ss@proxy:3128").hide("not p@ss, not p%40ss") == "not ***, not ***"


def test_a_secret_is_hidden_before_a_text_is_cut_and_spaces_are_folded() -> None:
    secrets = known(Credential("me", "two  words\nof mine"))
    text = "x" * 490 + "two  words\nof mine"
    for body in (text, json.dumps({"message": text}), json.dumps({"errors": [{"code": "A", "message": text}]})):
        assert "two" not in parse_refusal(body.encode(), secrets.hide).text
    assert parse_warnings(['299 - "it is \\two  words\nof mine"'], secrets.hide) == ["it is ***"]


def test_a_password_that_is_not_utf_8_is_sent_and_hidden_as_it_was_typed() -> None:
    credential = Credential("me", "p\udcffw")
    assert basic_header(credential) == "Basic bWU6cP93"
    assert known(credential).hide("bWU6cP93 p%FFw p\udcffw") == "*** *** ***"


def test_half_a_character_in_what_a_token_server_gives() -> None:
    secrets = KnownSecrets()
    secrets.add("\ud800refresh")
    assert secrets.hide("\ud800refresh %ED%A0%80refresh \\ud800refresh") == "*** *** ***"


def test_the_password_of_a_proxy_is_bytes() -> None:
    assert known(proxy="http://me:p%FFw@proxy:3128").hide("bWU6cP93 p%FFw p\udcffw") == "*** *** ***"


def test_the_signed_part_of_an_address_is_hidden_in_what_its_host_says() -> None:
    url = "https://storage.example.com/x?X-Signature=signature-of-mine&digest=sha256:abcdefghijkl&expires=900"
    assert known().hiding(*hidden_values(url))("signature-of-mine for 900 s") == "*** for 900 s"
