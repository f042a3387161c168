"""One run of ``kit``: what the global options said, where talk and results go, and the work's surroundings."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kitops.cli._output import print_json, to_stdout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kitops.cli._display import Display
    from kitops.cli._settings import NetworkFlags
    from kitops.content.events import Level
    from kitops.content.protocols import Run
    from kitops.ops.place import Place

_LEVELS = ("error", "warn", "info", "debug", "trace")


class Session:
    """Handed to every command as ``ctx.obj``."""

    def __init__(self) -> None:
        self.config: str | None = None
        self.log_level = "info"
        self.progress = "plain"
        self.verbosity = 0
        self.output_format = "text"
        self._display: Display | None = None

    def remember(self, name: str, value: Any) -> None:
        """Take what a global option said; one behind the verb wins over one before it, ``-v`` adds up."""
        if name == "verbose":
            self.verbosity += value
        else:
            setattr(self, name, value)

    @property
    def level(self) -> str:
        """The lowest level that is told: ``--log-level``, or lower when ``-v`` asks for more."""
        wanted = {0: "error", 1: "debug"}.get(self.verbosity, "trace")
        return max(self.log_level, wanted, key=_LEVELS.index)

    @property
    def display(self) -> Display:
        """Where talk goes and progress is drawn."""
        if self._display is None:
            from kitops.cli._display import open_display  # `kit version` says nothing

            self._display = open_display("none" if self.verbosity > 2 else self.progress, self.level)
        return self._display

    @property
    def home(self) -> Path:
        """The root of storage."""
        from kitops.cli._settings import read_home

        return read_home(self.config)

    def say(self, text: str, level: Level = "info") -> None:
        """Tell people one line, on stderr."""
        from kitops.content.events import Message

        self.display(Message(level, text))

    def result(self, line: str, value: object) -> None:
        """Print what a verb did: its last line, or ``value`` with ``--format json``."""
        if self.output_format == "json":
            print_json(value)
        else:
            to_stdout(f"{line}\n" if line else "")

    @contextmanager
    def working(self, concurrency: int = 5, grace_seconds: float | None = None) -> Iterator[Run]:
        """A run that shows its progress, and that Ctrl-C and SIGTERM end, while the block runs.

        Args:
            concurrency: how many workers it may have.
            grace_seconds: how long it may take to end.
        """
        from kitops.cli._signals import GRACE_SECONDS, watch_signals
        from kitops.content.cancel import CancelToken
        from kitops.content.protocols import Run

        token = CancelToken()
        with watch_signals(token, grace_seconds or GRACE_SECONDS), self.display.drawing():
            yield Run(self.display, token, concurrency)

    @contextmanager
    def place(self, network: NetworkFlags | None = None, *, adopts: bool = True) -> Iterator[Place]:
        """The surroundings that verbs work in; a new store ``adopts`` what the Go tool has."""
        from kitops.cli._settings import NetworkFlags, connect
        from kitops.ops.place import open_place

        flags = network or NetworkFlags()
        home = self.home
        with self.working(flags.concurrency) as run:
            yield open_place(home, connection=lambda: connect(home, flags, self._warn), run=run, adopts=adopts)

    def _warn(self, text: str) -> None:
        self.say(text, "warning")

    def close(self) -> None:
        """End what is drawn."""
        if self._display is not None:
            self._display.close()
