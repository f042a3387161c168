"""The text that teaches AI agents this command: made from the commands themselves, so that it fits this release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.cli._options import KitCommand
from kitops.ops.skill import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from kitops.cli._lazy import LazyGroup

_DAILY = ("init", "pack", "push", "pull", "unpack", "list", "info", "diff", "tag", "import")
_HEAD = f"""\
---
name: {NAME}
description: >-
  Package, version, share and unpack AI and ML projects (model weights, datasets, code, prompts, docs) as ModelKits in
  OCI registries with the command kit. Use it when a Kitfile, a ModelKit, KitOps or ModelPack is mentioned, or when a
  model or dataset is to be packed, pushed, pulled, compared or unpacked.
license: Apache-2.0
---

# kit

A **ModelKit** is a versioned, content-addressed artifact in an OCI registry that holds an AI project. A **Kitfile**
(YAML, in the project's directory) says what goes in. `kit` packs, pushes, pulls and unpacks ModelKits.

## Ways of working

- Something to share: `kit init DIR` writes a Kitfile, `kit kitfile lint DIR` checks it, `kit pack DIR -t REF` packs
  what it names into the local store, `kit push REF` uploads it.
- Something to use: `kit info -r REF` shows the Kitfile without downloading anything, `kit unpack REF -d DIR` takes it
  apart; `--filter model` or `--filter datasets:NAME` takes only that. It need not be pulled first.
- A reference (REF) is `registry.example.com/team/model:tag`, with `@sha256:…` for exactly one content. Without a
  registry it is in the local store only.
- Results are on stdout, talk is on stderr. `--format json` makes results and errors JSON, `--progress none` shows no
  progress.
- Nothing that exists is overwritten unless that is asked for (`--overwrite`, `--force`). Look before you add it.
- Credentials of docker and podman are used. Else `kit login REGISTRY -u NAME --password-stdin`: no password belongs on
  the command line. `--plain-http` and `--tls-verify=false` are for test registries only.
- An error has a hint: what to type next. `kit COMMAND --help` has every option.

## A Kitfile

```yaml
manifestVersion: 1.0.0
package:
  name: digits
  version: 1.0.0
model:
  name: digits
  path: model/digits.safetensors
datasets:
  - name: train
    path: data/train.csv
code:
  - path: src
docs:
  - path: README.md
prompts:
  - path: skills/review
```

Paths are relative to the Kitfile's directory, and directories are taken whole, but for what `.kitignore` names.
"""


def skill_text(root: LazyGroup, ctx: click.Context, exit_codes: tuple[tuple[int, str], ...]) -> str:
    """SKILL.md: how to work with the command, every command in a line, the daily ones with examples, exit codes."""
    return "\n".join(
        (_HEAD, *_commands(root, ctx), "## Exit codes\n", *(f"- {code}: {it}" for code, it in exit_codes), "")
    )


def _commands(root: LazyGroup, ctx: click.Context) -> Iterator[str]:
    yield "## Commands\n"
    for name, entry in root.entries.items():
        yield f"- `kit {name}`: {entry.summary}"
    yield "\n## Examples\n\n```sh"
    for name in _DAILY:
        command = root.get_command(ctx, name)
        if isinstance(command, KitCommand):
            yield from (f"{line}   # {purpose}" for line, purpose in command.examples)
    yield "```\n"
