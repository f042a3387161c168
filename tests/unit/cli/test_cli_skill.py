"""``kit skill``: what agents are taught, and where it is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_runs import Kit

from kitops.cli._root import ENTRIES
from kitops.kitfile.parse import parse
from kitops.kitfile.skill import parse_front_matter
from kitops.ops.skill import known_agents

SKILL = "kitops/SKILL.md"


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home directory of a user who has Claude Code and Goose."""
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "user/.claude").mkdir(parents=True)
    (tmp_path / "user/.config/goose").mkdir(parents=True)
    return tmp_path / "user"


def test_the_text_teaches_what_this_release_has(kit: Kit, user: Path, tmp_path: Path) -> None:
    assert kit("skill", "-d", str(tmp_path), "--agents", "universal").code == 0
    raw = (tmp_path / ".agents/skills" / SKILL).read_bytes()
    text = raw.decode()
    front = parse_front_matter(raw)
    assert (front.name, front.license) == ("kitops", "Apache-2.0")
    assert 100 < len(front.description) <= 1024  # what agents read of a skill before they choose it
    assert all(f"- `kit {name}`: {entry.summary}" in text for name, entry in ENTRIES.items())
    (kitfile,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    warnings: list[object] = []
    assert parse(kitfile, warn=warnings.append).model is not None
    assert warnings == []
    (examples,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    verbs = [line.split()[1] for line in examples.splitlines()]
    assert set(verbs) <= set(ENTRIES)
    assert {"pack", "unpack", "push", "pull"} <= set(verbs)
    assert len(text.splitlines()) < 200


def test_installed_agents_are_found(kit: Kit, user: Path) -> None:
    ended = kit("skill", "--format", "json")
    paths = [str(user / ".claude/skills" / SKILL), str(user / ".config/goose/skills" / SKILL)]
    assert ended.json == {
        "agents": ["claude-code", "goose"],
        "skills": [{"path": path, "outcome": "written"} for path in paths],
    }
    assert all(Path(path).is_file() for path in paths)
    assert [row["outcome"] for row in kit("skill", "--format", "json").json["skills"]] == ["same", "same"]


def test_agents_share_a_directory_of_a_project(kit: Kit, user: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    ended = kit("skill", "-d", str(project), "--agents", "codex, claude-code,cursor,codex")
    assert ended.out.splitlines() == [
        f"Skill saved: {project / '.agents/skills' / SKILL}",
        f"Skill saved: {project / '.claude/skills' / SKILL}",
    ]
    assert sorted(path.name for path in project.rglob("*") if path.is_file()) == ["SKILL.md", "SKILL.md"]
    assert not (user / ".claude/skills").exists()


def test_another_skill_is_not_replaced_unasked(kit: Kit, user: Path) -> None:
    mine = user / ".config/goose/skills" / SKILL
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    ended = kit("skill")
    assert (ended.code, ended.out) == (14, "")
    assert ended.err == (
        f"Error: writing {mine}: another one is there already\n"
        "Hint: use --overwrite to replace it, or --ignore-existing to keep it\n"
    )
    assert not (user / ".claude/skills").exists()  # all or nothing
    assert f"Skill kept: {mine}\n" in kit("skill", "-i").out
    assert mine.read_text() == "mine"
    assert (user / ".claude/skills" / SKILL).is_file()
    ended = kit("skill", "-o")
    assert ended.out.splitlines() == [
        f"Skill is there: {user / '.claude/skills' / SKILL}",
        f"Skill saved: {mine}",
    ]
    assert mine.read_text() == (user / ".claude/skills" / SKILL).read_text()
    assert kit("skill", "-o", "-i").code == 2


def test_places_that_cannot_be_written(kit: Kit, user: Path, tmp_path: Path) -> None:
    (user / ".claude/skills").write_text("a file")
    ended = kit("skill")
    assert (ended.code, "Traceback" in ended.err) == (14, False)
    (user / ".claude/skills").unlink()
    (user / ".claude/skills" / SKILL).mkdir(parents=True)
    assert kit("skill", "-o").code == 14
    assert [path.name for path in (user / ".claude/skills/kitops").iterdir()] == ["SKILL.md"]


def test_words_that_name_no_agent(kit: Kit, environment: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.delenv("CODEX_HOME", raising=False)
    for wrong in ("claude", "codex,,cursor", "codex,", ""):
        ended = kit("skill", "--agents", wrong)
        assert (ended.code, "Hint: agents are claude-code, codex" in ended.err) == (2, True)
    ended = kit("skill", "--format=json")
    assert (ended.code, ended.error["hint"]) == (4, "name some: --agents=claude-code,universal")
    ended = kit("unpack", "skills:v1", "--as-skill", "--format=json")
    assert (ended.code, ended.error["hint"]) == (4, "name some: --as-skill=claude-code,universal")


def test_variables_move_the_directories_of_agents() -> None:
    environ = {"CLAUDE_CONFIG_DIR": "/c", "CODEX_HOME": "/x", "XDG_CONFIG_HOME": "/g"}
    found = {agent.name: str(agent.user) for agent in known_agents(environ, Path("/home/ada"))}
    assert (found["claude-code"], found["codex"], found["opencode"]) == ("/c/skills", "/x/skills", "/g/opencode/skills")
    assert found["cursor"] == "/home/ada/.cursor/skills"


def test_agents_are_completed(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "kit skill --agents codex,cl")
    monkeypatch.setenv("_KIT_COMPLETE", "bash_complete")
    assert kit().out == "plain\tcodex,claude-code\t\n"


def test_skills_of_a_modelkit_go_to_agents(kit: Kit, user: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "review").mkdir(parents=True)
    (project / "review/SKILL.md").write_text("---\nname: review\n---\n# Review\n")
    (project / "Kitfile").write_text("manifestVersion: 1.0.0\nprompts: [{path: review}]\n")
    assert kit("pack", str(project), "-t", "skills:v1").code == 0
    ended = kit("unpack", "skills:v1", "--as-skill")
    assert ended.out.splitlines() == [
        f"Skill saved: {user / '.claude/skills/review'}",
        f"Skill saved: {user / '.config/goose/skills/review'}",
    ]
    ended = kit(
        "unpack", "skills:v1", "--as-skill=universal,claude-code", "-d", str(tmp_path / "x"), "--format", "json"
    )
    assert ended.json["agents"] == ["universal", "claude-code"]
    assert [row["outcome"] for row in ended.json["skills"]] == ["written", "written"]
    assert (tmp_path / "x/.agents/skills/review/SKILL.md").is_file()
    assert not list((tmp_path / "x").rglob(".kitops*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--as-skill", "--repair"), "--as-skill"),
        (("--as-skill", "--no-record"), "--no-record"),
        (("--as-skill", "--include-remote"), "--include-remote"),
        (("--as-skill=codex,coddex",), "agent 'coddex' is not known"),
        (("--as-skill=nobody",), "agent 'nobody' is not known"),
        (("--as-skill=",), "agent '' is not known"),
        (("--skill-agents", ""), "agent '' is not known"),
    ],
)
def test_what_does_not_go_with_skills(kit: Kit, user: Path, words: tuple[str, ...], told: str) -> None:
    ended = kit("unpack", "skills:v1", *words)
    assert ended.code == 2
    assert told in ended.err
