"""YAML as yaml.v3 writes it."""

import math

import pytest

from kitops.kitfile.dump import dump
from kitops.kitfile.emit import Flow, emit, sort_naturally
from kitops.kitfile.parse import parse
from kitops.kitfile.scalars import resolve
from kitops.kitfile.schema import Kitfile, Model, Package, Part


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain text", "plain text"),
        ("a:b#c, [d] {e} - ?", "a:b#c, [d] {e} - ?"),
        ("", '""'),
        ("yes", '"yes"'),
        ("y", '"y"'),
        ("true", '"true"'),
        ("null", '"null"'),
        ("~", '"~"'),
        ("<<", '"<<"'),
        ("=", '"="'),
        ("1.10", '"1.10"'),
        ("017", '"017"'),
        ("1_000", '"1_000"'),
        ("1:30", '"1:30"'),
        ("2026-01-02", '"2026-01-02"'),
        (".inf", '".inf"'),
        ("1.2.3", "1.2.3"),
        ("a: b", "'a: b'"),
        ("a:", "'a:'"),
        ("a #b", "'a #b'"),
        ("#a", "'#a'"),
        ("- a", "'- a'"),
        ("-", "'-'"),
        ("-a", "-a"),
        ("? a", "'? a'"),
        ("?a", "?a"),
        (":a", ":a"),
        ("it's", "it's"),
        ("'it's", "'''it''s'"),
        ('"a"', "'\"a\"'"),
        ("@a", "'@a'"),
        ("---a", "'---a'"),
        ("...", "'...'"),
        (" a", "' a'"),
        ("a ", "'a '"),
        ("\ta", '"\\ta"'),
        ("a\x07\x1b\x85\u2028\u2029\x7f\ufeff\x00", '"a\\a\\e\\N\\L\\P\\x7F\\uFEFF\\0"'),
        ("日本語", "日本語"),
        ("\U0001f600", '"\\U0001F600"'),
        ("\ud800", "\ufffd"),
        ("x" * 300, "x" * 300),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (12345678901234567890, "12345678901234567890"),
        (0.5, "0.5"),
        (3.0, "3"),
        (-2.5, "-2.5"),
        (123456.0, "123456"),
        (1234567.0, "1.234567e+06"),
        (1e6, "1e+06"),
        (1e21, "1e+21"),
        (0.0001, "0.0001"),
        (0.00001234, "1.234e-05"),
        (1.5e-9, "1.5e-09"),
        (5e-324, "5e-324"),
        (-0.0, "-0.0"),
        (0.0, "0"),
        ([], "[]"),
        ({}, "{}"),
        (Flow(("a", "b c")), "[a, b c]"),
        (Flow(("a, b", "[x]", "k: v", "1", "a\nb", "", "x?")), "['a, b', '[x]', 'k: v', \"1\", \"a\\nb\", \"\", 'x?']"),
    ],
)
def test_one_line(value, written):
    assert emit({"key": value}) == f"key: {written}\n"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a\nb\n", "|\n  a\n  b\n"),
        ("a\nb", "|-\n  a\n  b\n"),
        ("a\n\n\n", "|+\n  a\n\n\n"),
        ("\n", "|2+\n\n"),
        (" a\nb\n", "|2\n   a\n  b\n"),
        ("\na\n", "|2\n\n  a\n"),
        ("a\tb\n c\n", "|\n  a\tb\n   c\n"),
        ("a \nb", '"a \\nb"\n'),
        ("a\nb ", '"a\\nb "\n'),
        ("a\rb\nc", '"a\\rb\\nc"\n'),
        ("a\u2028b\nc", '"a\\Lb\\nc"\n'),
    ],
)
def test_several_lines(value, written):
    assert emit({"key": value}) == f"key: {written}"


def test_collections():
    value = {"b": [1, [2, [3], {"x": 1, "y": [4]}], {"z": "a\nb\n"}, []], "a": {"c": {"d": None}}}
    assert emit({"key": value}) == (
        "key:\n"
        "  b:\n"
        "    - 1\n"
        "    - - 2\n"
        "      - - 3\n"
        "      - x: 1\n"
        '        "y":\n'
        "          - 4\n"
        "    - z: |\n"
        "        a\n"
        "        b\n"
        "    - []\n"
        "  a:\n"
        "    c:\n"
        "      d: null\n"
    )


def test_keys():
    found = {
        "n": 1,
        "1": 2,
        "a b": 3,
        "<<": 4,
        "": 5,
        "a\nb": 6,
        "k" * 129: {"x": [1]},
        "l" * 129: "a\nb\n",
        "m" * 128: 7,
    }
    assert emit(found) == (
        '"n": 1\n"1": 2\na b: 3\n"<<": 4\n"": 5\n"a\\nb": 6\n'
        f"? {'k' * 129}\n: x:\n    - 1\n? {'l' * 129}\n: |\n  a\n  b\n{'m' * 128}: 7\n"
    )


def test_numbers_in_keys_sort_by_their_value():
    found = sort_naturally({"layer_": 2, "layer10": {"b": 1, "a": [{"d": 1, "c": 2}]}, "layer2": 1, "Layer": 3, "": 5})
    assert list(found) == ["", "Layer", "layer2", "layer10", "layer_"]
    assert emit(found["layer10"]) == "a:\n  - c: 2\n    d: 1\nb: 1\n"


def test_empty_things_are_left_out():
    assert dump(Kitfile()) == "manifestVersion: 1.0.0\n"
    assert dump(Kitfile(model=Model(parts=(Part(),)))) == "manifestVersion: 1.0.0\nmodel:\n  parts:\n    - {}\n"
    assert dump(Kitfile(manifest_version="", package=Package(version="1.10"), model=Model())) == (
        'manifestVersion: ""\npackage:\n  version: "1.10"\nmodel: {}\n'
    )


@pytest.mark.parametrize(
    "text", ["\n", "\n\n", "a\n\n", "\ta\nb", " \ta\nb\n", "\n\ta", "a\n b\n\n  c", "#\n---\n...\n- x"]
)
def test_text_comes_back(text):
    kitfile = Kitfile(package=Package(description=text), model=Model(parameters=[text, {text: [[text]]}]))
    assert parse(dump(kitfile)) == kitfile


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-0", 0),
        ("017", 15),
        ("0o17", 15),
        ("-0o17", -15),
        ("08", 8.0),
        ("0x1F", 31),
        ("+0X_1f", 31),
        ("0b101", 5),
        ("0b102", "0b102"),
        ("1_000", 1000),
        ("1__0", 10),
        ("_1", "_1"),
        ("18446744073709551615", 18446744073709551615),
        ("18446744073709551616", 18446744073709551616.0),
        ("+9223372036854775807", 9223372036854775807),
        ("+9223372036854775808", 9223372036854775808.0),
        ("-9223372036854775808", -9223372036854775808),
        ("-9223372036854775809", -9223372036854775809.0),
        ("0x10000000000000000", "0x10000000000000000"),
        ("1e999", "1e999"),
        ("9" * 400, "9" * 400),
        ("1.", 1.0),
        (".5", 0.5),
        (".5e1", 5.0),
        (".", "."),
        ("..5", "..5"),
        ("+.5", 0.5),
        ("1e3", 1000.0),
        ("-", "-"),
        ("+", "+"),
        ("1:30", "1:30"),
        ("yes", "yes"),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("2026-1-2", "2026-01-02T00:00:00Z"),
        ("2026-01-02 3:4:5", "2026-01-02T03:04:05Z"),
        ("2026-01-02 03:04:05.120", "2026-01-02T03:04:05.12Z"),
        ("2026-01-02t03:04:05+00:00", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.1234567899-07:30", "2026-01-02T03:04:05.123456789-07:30"),
        ("2024-02-29", "2024-02-29T00:00:00Z"),
        ("2026-02-29", "2026-02-29"),
        ("2026-13-01", "2026-13-01"),
        ("2026-01-00", "2026-01-00"),
        ("2026-01-02T24:00:00Z", "2026-01-02T24:00:00Z"),
        ("2026-01-02T03:04:05+24:00", "2026-01-02T03:04:05+24:00"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05"),
    ],
)
def test_resolve(text, value):
    found = resolve(text)
    assert found == value
    assert isinstance(found, type(value))


def test_resolve_what_json_does_not_know():
    assert math.isnan(resolve(".nan"))
    assert resolve("-.INF") == -math.inf
    assert resolve("") is resolve("~") is resolve("Null") is None
