"""The main job in a minute: pack a small model, push it, pull it elsewhere, unpack it, compare.

Run it with ``make quickstart``. Everything that it makes is below ``quickstart-work/``; it opens one port on loopback
for as long as it runs, and needs nothing but the run-time dependencies.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from kitops.server import RegistryServer

PROJECT = Path(__file__).resolve().parent.parent
EXAMPLE = Path("examples/digits")
WORK = Path("quickstart-work")
KIT = Path(sys.executable).with_name("kit")


def say(text: str) -> None:
    """One line of talk between the commands."""
    print(f"\n# {text}", flush=True)


def kit(home: str, *arguments: str) -> None:
    """Show and run one ``kit`` command with its store below ``WORK/home``; end the script when it fails."""
    print(f"+ KITOPS_HOME={WORK / home} kit {shlex.join(arguments)}", flush=True)
    places = {"KITOPS_HOME": str(PROJECT / WORK / home), "DOCKER_CONFIG": str(PROJECT / WORK / "none")}
    code = subprocess.run([KIT, *arguments], env=os.environ | places, cwd=PROJECT, check=False, timeout=120).returncode
    if code:
        sys.exit(f"kitops: the command above ended with exit code {code}")


def read_tree(root: Path, left_out: tuple[str, ...] = ()) -> dict[str, tuple[str, str]]:
    """Every file and directory below ``root``: its permission bits and, for a file, the SHA-256 of its bytes.

    Less the umask, as unpacked files are: the checkout may have been made with another one.
    """
    umask = os.umask(0)
    os.umask(umask)
    found = {}
    for path in sorted(root.rglob("*")):
        if path.name in left_out:
            continue
        mode = f"{path.stat().st_mode & 0o777 & ~umask:04o}"
        found[str(path.relative_to(root))] = (
            mode,
            "directory" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest(),
        )
    return found


def compare(original: Path, copy: Path) -> None:
    """End the script unless both trees hold the same names, bytes and permission bits."""
    expected = read_tree(original, left_out=(".kitignore", "__pycache__", ".ipynb_checkpoints"))
    actual = read_tree(copy, left_out=(".kitops-unpacked.json",))  # what `kit status` compares with
    for name in sorted(expected.keys() | actual.keys()):
        if expected.get(name) != actual.get(name):
            sys.exit(f"kitops: {name} differs: packed {expected.get(name)}, unpacked {actual.get(name)}")
    for name, (mode, digest) in actual.items():
        print(f"  {mode} {digest[:12]:12} {name}")
    print(f"  {len(actual)} names: the same bytes and the same permission bits")


def main() -> None:
    """The whole tour."""
    os.chdir(PROJECT)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    started = time.monotonic()
    with RegistryServer(WORK / "registry") as registry:
        remote = f"{registry.address}/team/digits:v1"
        say(f"A throw-away registry listens on {registry.address}. {EXAMPLE} has a model, data, code and a Kitfile:")
        print((EXAMPLE / "Kitfile").read_text(encoding="utf-8"))
        say("Pack it into the local store of one machine, and look at what is there.")
        kit("laptop", "pack", str(EXAMPLE), "-t", "digits:v1")
        kit("laptop", "list")
        kit("laptop", "info", "digits:v1", "--filter", ".model.path")
        say("Push it to the registry under another name.")
        kit("laptop", "push", "digits:v1", remote, "--plain-http")
        say("On another machine, with an empty store: pull it and unpack it.")
        kit("server", "pull", remote, "--plain-http")
        kit("server", "unpack", remote, "-d", str(WORK / "unpacked"))
        say("The same tree came out:")
        compare(EXAMPLE, WORK / "unpacked")
        say("Only the model, straight from the registry, without a store:")
        kit("third", "unpack", remote, "--plain-http", "--filter", "model", "-d", str(WORK / "only-model"))
    say(f"Done in {time.monotonic() - started:.1f} s. What was made is in {WORK}/; README.md goes on from here.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
