"""The command ``kit``: runs it and turns every way to end into an exit code and at most two lines on stderr."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
PIPE_CLOSED = 141
BUG = 70
_GARBAGE = 50_000
"""New objects after which cycles are looked for: with the default, a tenth of the start goes into looking in vain."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``kit`` with ``argv`` (default: the arguments of this process) and return its exit code."""
    try:
        gc.set_threshold(_GARBAGE)
        arguments = list(sys.argv[1:] if argv is None else argv)
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if argv is None:
            gc.freeze()  # the process ends: looking for cycles once more would cost ten milliseconds


def _run(arguments: list[str]) -> int:
    from kitops.cli._errors import report, report_bug  # Ctrl-C while importing shows no traceback
    from kitops.cli._output import OutputClosed, let_go, prepare_streams
    from kitops.cli._root import root
    from kitops.cli._session import Session
    from kitops.errors import Cancelled

    session = Session()
    try:
        prepare_streams()
        if question := os.environ.get("_KIT_COMPLETE"):
            from kitops.cli._completion import answer

            return answer(root, session, question)
        with root.make_context("kit", arguments, obj=session) as ctx:
            root.invoke(ctx)
        return 0
    except OutputClosed:
        let_go(sys.stdout)
        return PIPE_CLOSED
    except Cancelled as cancelled:
        return 128 + cancelled.signal_number if cancelled.signal_number else INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last one to see it: known errors get a line, bugs a traceback
        code = report(error, arguments)
        return report_bug(error) if code is None else code
    finally:
        session.close()
