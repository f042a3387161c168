"""How a blob comes down: one connection, from the first byte to the last.

Ranges, several connections and going on after a break replace :func:`open_whole` behind the same signature.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from kitops.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitops.content.protocols import Reader
    from kitops.oci.descriptor import Descriptor
    from kitops.registry.session import Request, Session


@contextmanager
def open_whole(session: Session, request: Request, desc: Descriptor) -> Iterator[Reader]:
    """The raw body that ``request`` gives, nothing verified but its announced length.

    Raises:
        IntegrityError: the registry announces another size than ``desc``.
    """
    with session.send(request) as answer:
        if answer.size is not None and answer.size != desc.size:
            raise IntegrityError(request.what, f"{desc.size} bytes", f"{answer.size} bytes")
        yield answer
