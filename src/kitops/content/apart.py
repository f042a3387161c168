"""Calls that nothing can wake while they wait: done in a thread of its own, which is left behind when the end comes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from kitops.content.cancel import CancelToken

Result = TypeVar("Result")
_STEP: Final = 0.05
"""Seconds between two looks at the token."""


def call_apart(
    call: Callable[[], Result], cancel: CancelToken, late: Callable[[Result], object] = lambda _: None
) -> Result:
    """What ``call`` returns or raises; the end is heeded at once, whatever it waits for.

    Args:
        call: has a time limit of its own: nothing ends it.
        cancel: watched meanwhile.
        late: given what comes after the end, to close it.

    Raises:
        Cancelled: the end was asked for; the thread goes on alone, and dies with the process.
    """
    done = threading.Event()
    lock = threading.Lock()
    results: list[Result] = []
    errors: list[BaseException] = []
    is_left = False

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            errors.append(error)
        else:
            with lock:
                results.append(result)
                was_left = is_left
            if was_left:
                late(result)
        done.set()

    cancel.check()
    threading.Thread(target=work, name="apart", daemon=True).start()
    while not done.wait(_STEP):
        if cancel.is_cancelled:
            with lock:
                is_left = not results
            if is_left:
                cancel.check()
    if errors:
        raise errors[0]
    return results[0]
