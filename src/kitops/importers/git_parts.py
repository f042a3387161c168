"""The submodules of a clone: where they are from, and at which commit each of them is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kitops.importers.tree import Pinned

if TYPE_CHECKING:
    from kitops.importers.git_command import Git

_TELL: Final = r'printf "%s\0%s\0%s\0" "$(git rev-parse HEAD)" "$(git config remote.origin.url)" "$displaypath"'
_SECRET: Final = re.compile(r"(?<=://)[^/@\s]+@")


def list_parts(git: Git) -> tuple[Pinned, ...]:
    """The submodules that are checked out, those within them too.

    Raises:
        SourceError: git failed.
    """
    words = git.run("submodule", "--quiet", "foreach", "--quiet", "--recursive", _TELL).split("\0")
    rows = zip(words[::3], words[1::3], words[2::3], strict=False)
    return tuple(Pinned(_SECRET.sub("", url), commit, path) for commit, url, path in rows)
