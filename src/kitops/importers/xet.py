"""Xet, the storage behind the hub's large files: read through its own client, which puts files together from chunks.

Source: the Xet protocol specification 1.1 (huggingface.co/docs/xet), of which we only know the names: the client
(``hf_xet``) asks the hub for a token, the storage for a plan, and signed URLs for the bytes. It checks no digest of the
whole; whoever reads does. Where the storage cannot be reached, the hub gives the same bytes over plain HTTP.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from kitops.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kitops.content.cancel import CancelToken

BUFFER: Final = 64_000_000
"""Bytes that the client may hold; its own measure is gigabytes. A kill loses no more than that of a transfer."""
_SETTINGS: Final = {
    "reconstruction.download_buffer_size": BUFFER,
    "reconstruction.download_buffer_perfile_size": BUFFER,
    "reconstruction.download_buffer_limit": BUFFER,
    "reconstruction.min_prefetch_buffer": BUFFER,
    "reconstruction.min_reconstruction_fetch_size": BUFFER,
    "reconstruction.max_reconstruction_fetch_size": 4 * BUFFER,
    "client.connect_timeout": "10s",
    "client.read_timeout": "30s",
    "client.retry_base_delay": "500ms",
    "client.retry_max_attempts": 2,  # whoever reads tries again, and goes on where it broke
    "telemetry.enabled": False,  # kitops reports to nobody
}
_TRIES: Final = 2
"""Failures in a row after which it is left alone."""
_WAIT: Final = 0.2


class XetStorage:
    """The storage of one repository. Thread-safe; one file at a time, which comes over several connections.

    Args:
        token_url: where the hub gives tokens for the storage.
        headers: for the hub, with its token.
        user_agent: what to tell the storage of ourselves.
        cancel: ends a read that waits for the network.
    """

    def __init__(self, token_url: str, headers: Mapping[str, str], user_agent: str, cancel: CancelToken) -> None:
        self._token_url = token_url
        self._headers = dict(headers)
        self._user_agent = user_agent
        self._cancel = cancel
        self._turn = threading.Lock()
        self._session: Any = None
        self._group: Any = None
        self._failures = 0

    @staticmethod
    def is_available() -> bool:
        """Whether its client is installed, new enough, and not switched off (``HF_HUB_DISABLE_XET``)."""
        try:
            import hf_xet  # noqa: PLC0415 - comes with the hub's client on most machines
            from huggingface_hub import constants  # noqa: PLC0415 - as above
        except ImportError:
            return False
        return hasattr(hf_xet, "XetSession") and not constants.HF_HUB_DISABLE_XET

    @property
    def is_worth_trying(self) -> bool:
        return self._failures < _TRIES

    @contextmanager
    def open(self, file_id: str, size: int, offset: int, what: str) -> Iterator[Iterator[bytes]]:
        """The bytes of a file from ``offset`` on, in pieces of any size, unverified.

        Args:
            file_id: what the storage calls it: 64 hex digits.
            size: of the whole file.
            offset: where to begin.
            what: names it in errors.

        Raises:
            NetworkError: it cannot be read, now or there.
        """
        while not self._turn.acquire(timeout=_WAIT):
            self._cancel.check()
        try:
            yield self._read(file_id, size, offset, what)
        finally:
            self._turn.release()

    def _read(self, file_id: str, size: int, offset: int, what: str) -> Iterator[bytes]:
        from hf_xet import XetFileInfo  # noqa: PLC0415 - as above

        left = size - offset
        try:
            group = self._open_group()
            with self._cancel.closing(self._abort):
                stream = group.download_stream(XetFileInfo(file_id, size), start=offset)
                try:
                    for piece in stream:
                        self._failures = 0
                        left -= len(piece)
                        yield piece
                finally:
                    stream.cancel()
        except (OSError, RuntimeError) as error:  # all that it raises
            self._cancel.check()
            raise self._failed(what, _say(error)) from error
        if left:
            raise self._failed(what, "it ended too early")

    def _open_group(self) -> Any:
        if self._group is None:
            import hf_xet  # noqa: PLC0415 - as above

            self._session = hf_xet.XetSession(hf_xet.XetConfig().with_config(_SETTINGS))
            self._group = self._session.new_download_stream_group(
                token_refresh_url=self._token_url,
                token_refresh_headers=self._headers,
                custom_headers={"user-agent": self._user_agent},
            )
        return self._group

    def _abort(self) -> None:
        """Wake who waits for the network; no other call of the client's does."""
        self._session.sigint_abort()

    def _failed(self, what: str, why: str) -> NetworkError:
        self._failures += 1
        self._group = None
        where = "" if self.is_worth_trying else "; from here on over plain HTTP"
        return NetworkError(f"reading {what} from Xet storage: {why}{where}", hint="run the same command again")


def _say(error: Exception) -> str:
    """What the client says, in one line and without what signs a URL."""
    return re.sub(r"\?[^\s)]*", "", str(error).partition("\n")[0])
