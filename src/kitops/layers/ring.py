"""A ring of buffers between the thread that moves bytes and the one that hashes or compresses them.

Both work at the same time; neither copies what the other has; memory is that of the ring. hashlib, zlib, zstd, read and
write let go of the interpreter's lock, so two threads are two cores.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Final, Self

from kitops.errors import KitError
from kitops.layers.codec import PIECE

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from kitops.content.cancel import CancelToken

    _Errand = Callable[[], None]

_COUNT: Final = 8
_PATIENCE: Final = 0.2


class Ring:
    """Lends buffers; what is given back filled is consumed in order, beside the caller or at once.

    A context manager: leaving it waits for the consumer (or, on an error, makes it stop) and raises what it raised.

    Args:
        consume: told every filled buffer, in order.
        cancel: watched while waiting.
        beside: in a thread of its own; False calls ``consume`` at once.
    """

    def __init__(self, consume: Callable[[memoryview], object], cancel: CancelToken, *, beside: bool) -> None:
        self._consume = consume
        self._cancel = cancel
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[memoryview, _Errand | None] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False
        for _ in range(_COUNT if beside else 1):
            self._free.put(memoryview(bytearray(PIECE)))
        if beside:
            self._thread = threading.Thread(target=self._work, name="kitops-ring", daemon=True)

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = kind is not None
        if self._thread is not None:
            self._full.put(None)
            self._thread.join()
        if kind is None or issubclass(kind, _Failed):
            self._raise()

    def lend(self) -> memoryview:
        """A whole buffer to fill; it is the caller's until it is given back.

        Raises:
            Cancelled: the end was asked for.
        """
        while True:
            self._cancel.check()
            if self._error is not None:
                raise _Failed
            try:
                return self._free.get(timeout=_PATIENCE)
            except queue.Empty:
                continue

    def give(self, filled: memoryview, errand: _Errand | None = None) -> None:
        """Give back the filled beginning of a lent buffer; with ``beside`` it may still be read until the next lend.

        Args:
            filled: what is to be consumed.
            errand: what else the consumer's thread is to do while the buffer is as it is.
        """
        if self._thread is not None:
            self._full.put((filled, errand))
            return
        self._take(filled, errand)
        self._recycle(filled)

    def _take(self, filled: memoryview, errand: _Errand | None) -> None:
        self._consume(filled)
        if errand is not None:
            errand()

    def _recycle(self, filled: memoryview) -> None:
        whole = filled.obj
        self._free.put(memoryview(whole))

    def _work(self) -> None:
        while (given := self._full.get()) is not None:
            if self._stopped:
                continue
            try:
                self._take(*given)
            except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that lends
                self._error = error
                self._stopped = True
            self._recycle(given[0])

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


class _Failed(KitError):  # noqa: N818 - nobody sees it: it carries what the consumer raised
    """The consumer raised: the lender stops, and what was raised is raised in its place."""

    def __init__(self) -> None:
        super().__init__("the consumer of the ring failed")
