"""Kitfiles with what is read from them, and with what is wrong with them: ``tests/cases/kitfile-*.yaml``."""

from pathlib import Path

import pytest
import yaml

from kitops.errors import KitfileError, NotFoundError, Problem
from kitops.kitfile import nodes, values
from kitops.kitfile.check import check
from kitops.kitfile.dump import dump, to_json
from kitops.kitfile.parse import find, parse
from kitops.kitfile.schema import Code, Kitfile, Model
from kitops.oci import gojson

CASES = Path(__file__).parents[2] / "cases"
LOADERS = [getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader]


def load(name):
    return [pytest.param(case, id=case["name"]) for case in yaml.safe_load((CASES / name).read_text())]


@pytest.mark.parametrize("case", load("kitfile-problems.yaml"))
def test_problems(case):
    warnings = []
    with pytest.raises(KitfileError) as caught:
        parse(case["kitfile"], warn=warnings.append)
    assert list(caught.value.problems) == [Problem(*problem) for problem in case["problems"]]
    if "warnings" in case:
        assert warnings == [Problem(*warning) for warning in case["warnings"]]


@pytest.mark.parametrize("loader", LOADERS, ids=["C", "pure"])
@pytest.mark.parametrize("case", load("kitfile-reads.yaml"))
def test_reads(case, loader, monkeypatch):
    monkeypatch.setattr(nodes, "_LOADER", loader)
    warnings = []
    found = to_json(parse(case["kitfile"].encode(), warn=warnings.append))
    assert gojson.dumps(found) == gojson.dumps(case["json"])
    assert warnings == [Problem(*warning) for warning in case.get("warnings", [])]


INDENTATION = "check the indentation of this line and of the one above, and the quotes"


@pytest.mark.parametrize("loader", LOADERS, ids=["C", "pure"])
@pytest.mark.parametrize(
    ("text", "line", "column", "hint"),
    [
        ("model:\n\tpath: x", 2, 1, "indent with spaces, not with tabs"),
        ("package:\n  description: a: b", 2, 17, "quote a text that contains ': ', and check the indentation"),
        ("package:\n  name: @x", 2, 9, "quote a text that starts with this character"),
        ('package:\n  name: "x', 2, 11, "close the quote that was opened"),
        ("code: [a}", 1, 9, "close the bracket that was opened, and put commas between what is in it"),
        ("code:\n- path: a\n description: x", 3, 2, INDENTATION),
        ("package:\n  name: 'it's'", 2, 13, INDENTATION),
        ("code:\n  - path: a\n  docs: x", 3, 3, INDENTATION),
        ("package: {}\n...\ncode: []", 3, 1, None),
    ],
)
def test_syntax(text, line, column, hint, loader, monkeypatch):
    monkeypatch.setattr(nodes, "_LOADER", loader)
    with pytest.raises(KitfileError) as caught:
        parse(text)
    (problem,) = caught.value.problems
    assert (problem.line, problem.hint) == (line, hint)
    # At the end of the text the two parsers say the next line or the last column.
    assert problem.column in (column, 1)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        (b"package:\n  name: caf\xe9\n", 2, 12, "is not UTF-8: byte 0xe9"),
        ("é\r\nö: ".encode() + b"\xff", 2, 4, "is not UTF-8: byte 0xff"),
        (b"\xff\xfea\x00\x00", 1, 2, "is not UTF-16: byte 0x00"),
        (b"a: \x00", 1, 4, "holds the character U+0000"),
        ("package: {name: \ud800}", 1, 17, "holds the character U+D800"),
    ],
)
def test_encoding(text, line, column, message):
    with pytest.raises(KitfileError) as caught:
        parse(text)
    assert (caught.value.line, caught.value.column, caught.value.problems[0].message) == (line, column, message)


def test_utf_16_of_powershell():
    assert parse("manifestVersion: 1.0.0\r\nmodel: {path: é}\r\n".encode("utf-16")) == Kitfile(model=Model(path="é"))


@pytest.mark.parametrize("text", [r'a: "\UFFFFFFFF"', r'a: "\U00110000"', r'package: {name: "\ud800"}'])
@pytest.mark.parametrize("loader", LOADERS, ids=["C", "pure"])
def test_escapes_of_no_character(text, loader, monkeypatch):
    monkeypatch.setattr(nodes, "_LOADER", loader)
    with pytest.raises(KitfileError):
        parse(text)


BOMB = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 30)
)
SMALL_BOMB = "model:\n  path: m\n  parameters:\n    a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"    {name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcd", "bcde", strict=True)
)
CHAIN = "model:\n  parameters:\n    - &a0 [x]\n" + "".join(f"    - &a{n} [*a{n - 1}]\n" for n in range(1, 200))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "is larger than 65536 characters with its aliases expanded"),
        (SMALL_BOMB, "is larger than 65536 characters with its aliases expanded"),
        (CHAIN, "is nested more than 100 levels deep with its aliases expanded"),
        ("[" * 100_000, "is nested more than 100 levels deep"),
        ("{a: " * 100_000, "is nested more than 100 levels deep"),
        ("- " * 100_000, "is nested more than 100 levels deep"),
        ("x" * (nodes.SIZE_LIMIT + 1), "is larger than 1048576 bytes"),
    ],
    ids=["aliases", "few aliases", "chain of aliases", "flow lists", "flow maps", "block lists", "size"],
)
def test_bombs(text, message):
    with pytest.raises(KitfileError) as caught:
        parse(text)
    assert [problem.message for problem in caught.value.problems] == [message]


def test_aliases_within_bounds():
    text = "manifestVersion: 1.0.0\nmodel:\n  parameters: {a: &a [1, 2], b: [*a, *a]}\n"
    assert parse(text).model == Model(parameters={"a": [1, 2], "b": [[1, 2], [1, 2]]})


def test_aliases_may_make_a_long_kitfile_ten_times_longer():
    text = f"manifestVersion: 1.0.0\nmodel:\n  parameters: [&a {'x' * 10_000}{{}}]\n"
    assert len(parse(text.format(", *a" * 9)).model.parameters) == 10
    with pytest.raises(KitfileError, match=r"is larger than 10\d\d\d\d characters with its aliases expanded"):
        parse(text.format(", *a" * 10))


def test_what_cannot_be_read_again_when_it_is_written_out():
    for items, deeper in ((50_000, 1), (5_000, 95)):
        text = f"model: {{parameters: {'[' * deeper}{'x,' * items}{']' * deeper}}}"
        written = parse(text)
        assert parse(dump(written)) == written
        with pytest.raises(
            KitfileError, match=r"is \d{7} bytes long as `kit unpack` writes it, .* 1048576 are allowed"
        ):
            parse(text.replace("x,", "x,x,x,x,"))


def test_nested_as_deep_as_allowed():
    depth = nodes.DEPTH_LIMIT - 2  # the Kitfile and its model are two levels
    assert parse(f"model: {{parameters: {'[' * depth}{']' * depth}}}").model is not None


@pytest.mark.parametrize("text", ["".join(f"k{n}: 1\n" for n in range(5000)), "code: [" + "{path: /x}, " * 5000 + "]"])
def test_only_the_first_problems_are_shown(text):
    with pytest.raises(KitfileError) as caught:
        parse(text)
    assert len(caught.value.problems) == values.PROBLEM_LIMIT
    assert caught.value.hint == "only the first 100 problems are shown"


def test_a_kitfile_made_by_a_program_is_checked_too():
    check(Kitfile(model=Model(path="w")))
    with pytest.raises(KitfileError) as caught:
        check(Kitfile(code=(Code("/x"), Code("a"), Code("a"))), "mine")
    assert [str(problem) for problem in caught.value.problems] == [
        "code[0].path: /x is an absolute path (write it relative to the Kitfile's directory)",
        "code[2].path: the same path as code[1].path: a (each path belongs to one entry)",
    ]


def test_find(tmp_path):
    with pytest.raises(NotFoundError, match="no Kitfile in") as caught:
        find(tmp_path)
    assert "kit init" in caught.value.hint
    (tmp_path / ".kitfile").touch()
    assert find(tmp_path).name == ".kitfile"
    (tmp_path / "Kitfile").mkdir()
    (tmp_path / "kitfile").touch()
    assert find(tmp_path).name == "kitfile"


def test_find_where_there_is_nothing(tmp_path):
    with pytest.raises(NotFoundError, match="does not exist"):
        find(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(Exception, match="looking for a Kitfile in") as caught:
        find(tmp_path / "file")
    assert caught.value.exit_code == 14
