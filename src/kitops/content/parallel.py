"""Several jobs at a time; the first that fails ends the others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from kitops.content.cancel import CancelToken
from kitops.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from kitops.content.protocols import Run

Result = TypeVar("Result")


def run_all(jobs: Sequence[Callable[[Run], Result]], run: Run, *, workers: int) -> list[Result]:
    """Run ``jobs`` in at most ``workers`` threads; their results in their order.

    Each job is given a run whose token is cancelled when a sibling fails or ``run`` itself is cancelled. The first
    failure is raised once every thread has ended, so nothing works on behind the caller's back.

    Raises:
        Cancelled: ``run`` was cancelled.
        Exception: whatever the first failing job raised.
    """
    run.cancel.check()
    if len(jobs) <= 1:
        return [job(run) for job in jobs]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - costs logging; one job needs none of it

    token = CancelToken()
    inner = replace(run, cancel=token)
    with run.cancel.closing(token.cancel), ThreadPoolExecutor(max(1, workers), "kitops") as pool:
        futures = [pool.submit(job, inner) for job in jobs]
        try:
            _wait(futures)
        finally:
            if any(future.done() and not future.cancelled() and future.exception() for future in futures):
                token.cancel()
            for future in futures:
                future.cancel()
    run.cancel.check()
    return _results(futures)


def _wait(futures: list[Future[Result]]) -> None:
    """Wait in short steps: the main thread must come up for signals."""
    from concurrent.futures import FIRST_EXCEPTION, wait  # noqa: PLC0415 - as above

    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
        if any(future.exception() for future in done):
            return


def _results(futures: list[Future[Result]]) -> list[Result]:
    failures = [failure for future in futures if not future.cancelled() and (failure := future.exception())]
    own = [failure for failure in failures if not isinstance(failure, Cancelled)]
    for failure in own or failures:
        raise failure
    return [future.result() for future in futures]
