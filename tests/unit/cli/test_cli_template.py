"""Go templates for ``--format``, as far as they go."""

from __future__ import annotations

import pytest

from kitops.cli._template import Template, read_template
from kitops.errors import InvalidValueError

FIELDS = ("Repo", "Tags", "Size")
ROW = {"Repo": "team/x", "Tags": ["v1", "latest"], "Size": "1 B"}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{.Repo}}", "team/x"),
        ("{{ .Repo }}:{{index .Tags 0}}", "team/x:v1"),
        (r"{{.Repo}}\t{{.Size}}\n", "team/x\t1 B\n"),
        ("{{.Tags}}", "[v1 latest]"),
        ('{{join .Tags ","}}', "v1,latest"),
        ("{{join .Tags `, `}}", "v1, latest"),
        (r'{{join .Tags "\n"}}', "v1\nlatest"),
        ('{{"," | join .Tags}}', "v1,latest"),
        ("{{json .Tags}}", '["v1","latest"]'),
        ("{{.Tags | json}}", '["v1","latest"]'),
        ("{{index .Tags 1 | json}}", '"latest"'),
        ("{{0 | index .Tags}}", "v1"),
        ("{{json .}}", '{"repo":"team/x","tags":["v1","latest"],"size":"1 B"}'),
        ("{{.}}", "{team/x [v1 latest] 1 B}"),
        ('{{"a b"}}', "a b"),
        ("{{7}}", "7"),
        ("a  {{- .Size -}}  b", "a1 Bb"),
        ("{{.Repo -}}\n{{- .Size}}", "team/x1 B"),
        ("}}", "}}"),
    ],
)
def test_templates(template: str, text: str) -> None:
    assert Template(template, FIELDS).render(ROW) == text


@pytest.mark.parametrize(
    ("template", "column", "message"),
    [
        ("{{.Repo", 1, "'{{' is not closed"),
        ("x{{.Name}}", 4, "there is no field .Name; there are .Repo .Tags .Size"),
        ("{{.repo}}", 3, "there is no field .repo"),
        ("{{range .Tags}}", 3, "'range' is not supported"),
        ("{{end}}", 3, "'end' is not supported"),
        ("{{}}", 3, "a value is missing"),
        ("{{.Repo |}}", 3, "a value is missing"),
        ("{{.Repo.Tags}}", 3, "a function is wanted in front of values"),
        ("{{.Repo .Tags}}", 3, "a function is wanted in front of values"),
        ("{{.Repo | .Tags}}", 11, "a function is wanted in front of values"),
        ("{{join .Tags}}", 3, "join takes 2 values, not 1"),
        ("{{json .Tags 1}}", 3, "json takes 1 values, not 2"),
        ("{{json json}}", 8, "'json' is not a value"),
        ("{{ $x := 1 }}", 4, "'$x := 1' is not supported"),
        ("{{(json .)}}", 3, "'(json .)' is not supported"),
        (r'{{"\x"}}', 3, "has an escape that is not supported"),
    ],
)
def test_what_is_not_supported_is_one_error_with_its_column(template: str, column: int, message: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        Template(template, FIELDS)
    assert f"column {column}: " in caught.value.message
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{index .Tags 2}}", "index 2 is out of range: there are 2 entries"),
        ("{{index .Tags -1}}", "index -1 is out of range"),
        ("{{index .Repo 0}}", "index does not fit what it is given"),
        ("{{join .Repo `,`}}", "join does not fit what it is given"),
        ("{{index .Tags .Repo}}", "index does not fit what it is given"),
    ],
)
def test_what_does_not_fit_a_row_is_an_error(template: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Template(template, FIELDS).render(ROW)


def test_a_word_alone_is_no_format() -> None:
    with pytest.raises(InvalidValueError) as caught:
        read_template("yaml", FIELDS)
    assert caught.value.message == "format 'yaml' is not known"
    assert (caught.value.hint or "").startswith("say table or json; a template looks like")
    assert read_template("{{.Repo}} there", FIELDS).render(ROW).endswith(" there")
