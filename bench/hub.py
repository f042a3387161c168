"""The hub of the tests with one model of one file, in a process of its own.

    python bench/hub.py FILE

prints its address and where the file's bytes are, as JSON, and serves until its input ends.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from hub_server import hub_server, model_repo


def main() -> None:
    """Serve."""
    path = Path(sys.argv[1])
    with hub_server() as hub:
        repo = model_repo("bench/one", {path.name: path})
        hub.add(repo)
        commit = repo.refs["main"]
        # the file is hashed now, not in the first measurement
        urllib.request.urlopen(f"{hub.endpoint}/api/models/bench/one/tree/{commit}").close()
        where = f"{hub.endpoint}/bench/one/resolve/{commit}/{path.name}"
        print(json.dumps({"endpoint": hub.endpoint, "url": where, "digest": hub.digest(path)}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
