"""Laws of Kitfiles: what is written is read back; whatever is read, only a KitfileError says no."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kitops.errors import InvalidValueError, KitfileError
from kitops.kitfile import nodes
from kitops.kitfile.dump import dump, from_json, to_json
from kitops.kitfile.generate import Listed, generate
from kitops.kitfile.licence import recognise
from kitops.kitfile.parse import parse
from kitops.kitfile.schema import Code, Dataset, Docs, Kitfile, McpServer, Model, Package, Part, Prompt
from kitops.kitfile.skill import parse_front_matter
from kitops.oci import gojson

LETTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]), st.sampled_from(list(" \t\n\r:#-?'\"[]{},&*!|>%@`~<=.0\x85\u2028\ufeff"))
)
TEXTS = st.one_of(
    st.text(LETTERS, max_size=12),
    st.sampled_from(
        ["yes", "1.10", "2026-01-02", "null", "~", "<<", "0x1F", "a: b", "a #b", "- x", "|", "---", "x" * 200]
    ),
    st.text(st.sampled_from("ab \n\t#:-"), max_size=8),
)
NUMBERS = st.one_of(
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: repr(value) != "-0.0"),
    st.booleans(),
    st.none(),
)
JSON = st.recursive(
    NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NAMES = st.text(st.sampled_from("abc xyz._-é日:@#'"), min_size=1, max_size=10)


@st.composite
def kitfiles(draw):
    """Kitfiles that are right: every path once."""
    free = iter(draw(st.lists(NAMES, min_size=12, max_size=12, unique=True)))
    path = lambda: f"d/{next(free)}"  # noqa: E731
    lists = st.integers(0, 2)
    servers = [draw(NAMES) + str(index) for index in range(draw(lists))]
    model = None
    if draw(st.booleans()):
        parts = tuple(
            Part(draw(TEXTS), path(), draw(TEXTS), draw(st.sampled_from(["", "lora", "x.y-z"])))
            for _ in range(draw(lists))
        )
        model = Model(
            draw(TEXTS), path(), draw(TEXTS), draw(TEXTS), draw(TEXTS), draw(TEXTS), draw(TEXTS), parts, draw(JSON)
        )
    return Kitfile(
        package=Package(draw(TEXTS), draw(TEXTS), draw(TEXTS), draw(TEXTS), tuple(draw(st.lists(TEXTS, max_size=3)))),
        model=model,
        code=tuple(Code(path(), draw(TEXTS)) for _ in range(draw(lists))),
        datasets=tuple(Dataset(draw(TEXTS), path(), parameters=draw(JSON)) for _ in range(draw(lists))),
        docs=tuple(Docs(path(), draw(TEXTS)) for _ in range(draw(st.integers(0, 1)))),
        prompts=tuple(Prompt(draw(TEXTS), draw(TEXTS.filter(is_fine_path))) for _ in range(draw(lists))),
        mcp_servers=tuple(McpServer(name, path(), draw(TEXTS)) for name in servers),
    )  # fmt: skip


def is_fine_path(text):
    return not text.startswith("/") and "\\" not in text and "\0" not in text and ".." not in text


@given(kitfiles())
@settings(deadline=None)
def test_yaml_comes_back(kitfile):
    written = dump(kitfile)
    assert parse(written) == kitfile
    assert parse(written.encode()) == kitfile


@given(kitfiles())
@settings(deadline=None)
def test_json_comes_back(kitfile):
    blob = gojson.dumps(to_json(kitfile))
    found = from_json(gojson.loads(blob, "config"), "config")
    # Not the value: 5e16 is written as an integer, as Go does.
    assert gojson.dumps(to_json(found)) == blob
    assert gojson.dumps(to_json(parse(dump(found)))) == blob


@given(kitfiles())
@settings(deadline=None)
def test_other_parsers_read_the_same_structure(kitfile):
    """They resolve some scalars otherwise, but see the same keys."""
    assert list(yaml.load(dump(kitfile), Loader=yaml.BaseLoader)) == [
        key for key, value in to_json(kitfile).items() if value != {} or key == "model"
    ]


YAML_PIECES = st.sampled_from([
    "manifestVersion: 1.0.0\n", "model:\n", "  path: ", "  parts:\n", "  - ", "code: ", "mcpServers:\n", "parameters: ",
    "[", "]", "{", "}", "&a ", "*a", "<<: ", "\n", " ", "\t", "'", '"', "|", ">", "#", "!", "!!int ", "!!binary ",
    "---\n", "%YAML 1.1\n", "...\n", "? ", ": ", "- ", "1e999", ".nan", "2026-01-02", "\\", "\\U", "\r", "\x85",
    "\u2028", "\ufeff", "\x00", "é",
])  # fmt: skip


@pytest.mark.parametrize("loader", [getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader], ids=["C", "pure"])
@given(
    text=st.lists(YAML_PIECES | st.text(max_size=3), max_size=30).map("".join)
    | st.binary(max_size=60)
    | st.text(max_size=60)
)
@settings(deadline=None)
def test_only_a_kitfile_error_says_no(loader, text):
    kept = nodes._LOADER
    nodes._LOADER = loader
    try:
        kitfile = parse(text)
    except KitfileError as error:
        assert error.problems
        assert all(problem.message for problem in error.problems)
    else:
        assert parse(dump(kitfile)) == kitfile
    finally:
        nodes._LOADER = kept


@given(
    st.recursive(
        NUMBERS | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["model", "parts", "path", "parameters", "package", "authors", "code", "name", "digest"]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
@settings(deadline=None)
def test_only_an_invalid_value_error_refuses_a_config(value):
    try:
        found = from_json(value, "config")
    except InvalidValueError as error:
        assert error.message.startswith("config")
    else:
        assert json.loads(gojson.dumps(to_json(found)))["package"] == to_json(found)["package"]


FILE_NAMES = NAMES.filter(lambda name: name not in (".", "..")) | st.sampled_from([
    "SKILL.md", "a.onnx", "b.onnx", "x.mcpb", "LICENSE", "README", "c.csv", "t.json", ".git", "docs", "src", "a:b.gguf",
    "m-00001-of-00002.gguf",
])  # fmt: skip
FILES = st.builds(
    Listed, st.lists(FILE_NAMES, min_size=1, max_size=3).map("/".join), st.integers(min_value=0, max_value=1 << 50)
)


@given(st.lists(FILES, max_size=12), st.integers(-1, 2), st.binary(max_size=30))
@settings(deadline=None)
def test_what_is_generated_is_a_right_kitfile(listing, depth, head):
    """Whatever files there are; paths that are a file here and a directory there do not exist on a disk."""
    names = {listed.path for listed in listing}
    files = {listed.path: listed for listed in listing if not any(name.startswith(f"{listed.path}/") for name in names)}
    kitfile = generate(list(files.values()), read=lambda _path, size: head[:size], depth=depth)
    assert parse(dump(kitfile)) == kitfile
    assert generate(list(files.values())[::-1], read=lambda _path, size: head[:size], depth=depth) == kitfile


@given(st.text() | st.text(st.sampled_from("gnu lesser 2.1MIT\n")))
def test_any_text_has_a_licence_or_none(text):
    assert recognise(text) == recognise(text)


@given(st.binary() | st.text().map(lambda text: f"---\n{text}\n---\n".encode("utf-8", "replace")))
def test_any_front_matter_is_read_or_empty(text):
    front = parse_front_matter(text)
    assert all(isinstance(value, str) for value in (front.name, front.description, front.license))
