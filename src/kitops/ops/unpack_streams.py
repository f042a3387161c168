"""The layers of an unpack that come from registries: asked for before it is their turn, and going on after a kill."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitops.content.events import Message
from kitops.content.protocols import ReadsAhead
from kitops.errors import printable
from kitops.layers.journal import ReplayReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Self

    from kitops.content.protocols import Reader, Run, Source
    from kitops.layers.extract import Extraction
    from kitops.layers.journal import Replay
    from kitops.layers.layer_content import LayerContent


@dataclass(frozen=True, slots=True)
class Wanted:
    """A layer that is to come.

    Args:
        source: where from.
        content: what it is.
        label: what people call it.
        replay: what killed runs left of it.
    """

    source: Source
    content: LayerContent
    label: str
    replay: Replay | None

    @property
    def start(self) -> int:
        """Bytes that are here."""
        return self.replay.size if self.replay is not None else 0


def want(source: Source, content: LayerContent, label: str, extraction: Extraction | None) -> Wanted:
    """A layer, and what ``extraction`` found left of it, where its source can go on in the middle."""
    replay = extraction.find_replay(content) if extraction and isinstance(source, ReadsAhead) else None
    return Wanted(source, content, label, replay)


class LayerStreams:
    """Gives layers in their order; a context manager. As many as may move at a time are under way.

    Args:
        wanted: the layers.
        run: told what was here; its number of workers counts.
    """

    def __init__(self, wanted: Sequence[Wanted], run: Run) -> None:
        self._wanted = wanted
        self._run = run
        self._streams: list[AbstractContextManager[Reader]] = []  # those that were begun, and their readers
        self._readers: list[Reader] = []
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_details: object) -> None:
        for stream in self._streams[self._taken :]:
            stream.__exit__(None, None, None)

    @property
    def is_replayed(self) -> bool:
        """Whether the layer that was taken last began with what killed runs left."""
        return self._wanted[self._taken - 1].replay is not None

    @contextmanager
    def take(self) -> Iterator[Reader]:
        """The next layer from its first byte on; those behind it are asked for."""
        number = self._taken
        self._begin(number)
        self._taken += 1
        for ahead in range(number + 1, min(number + self._run.concurrency, len(self._wanted))):
            if isinstance(self._wanted[ahead].source, ReadsAhead):
                self._begin(ahead)
        with ExitStack() as stack:
            stack.push(self._streams[number])
            yield self._whole(self._wanted[number], self._readers[number], stack)

    def _begin(self, number: int) -> None:
        if number < len(self._streams):
            return
        wanted = self._wanted[number]
        source, desc = wanted.source, wanted.content.desc
        stream = source.stream_ahead(desc, wanted.start) if isinstance(source, ReadsAhead) else source.stream(desc)
        self._readers.append(stream.__enter__())
        self._streams.append(stream)

    def _whole(self, wanted: Wanted, reader: Reader, stack: ExitStack) -> Reader:
        source, desc, replay = wanted.source, wanted.content.desc, wanted.replay
        if replay is None or not isinstance(source, ReadsAhead):
            return reader
        known = f"{replay.size >> 20} of {desc.size >> 20} MiB were here already"
        self._run.observer(Message("info", f"{printable(wanted.label)}: {known}"))

        def open_at(start: int) -> AbstractContextManager[Reader]:
            if start == wanted.start:
                return nullcontext(reader)
            return source.stream_ahead(desc, start)  # less was left than it looked like

        return stack.enter_context(ReplayReader(replay, desc.size, open_at))
