"""Who may use the server. An access rule looks at a request's credentials and its scope, and does no I/O."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Access(Protocol):
    """A rule of access."""

    def challenge(self, authorization: str | None, scope: str) -> str | None:
        """What the visitor has to answer (a ``WWW-Authenticate`` value), or None when it may pass.

        Args:
            authorization: the request's ``Authorization`` value.
            scope: ``repository:team/model:pull``, or empty for ``/v2/``.
        """
        ...


class OpenAccess:
    """Everybody may do everything."""

    def challenge(self, authorization: str | None, scope: str) -> str | None:  # noqa: ARG002 - a rule is given both
        return None


@dataclass(frozen=True, slots=True)
class BasicAccess:
    """HTTP Basic: every user may do everything.

    Args:
        users: passwords by user name.
        realm: shown to people.
    """

    users: Mapping[str, str] = field(repr=False)
    realm: str = "kitops"

    def challenge(self, authorization: str | None, scope: str) -> str | None:  # noqa: ARG002 - a rule is given both
        found = read_basic(authorization)
        if found is not None:
            user, password = found
            wanted = self.users.get(user)
            if wanted is not None and hmac.compare_digest(wanted.encode(), password.encode()):
                return None
        return f'Basic realm="{self.realm}"'


@dataclass(frozen=True, slots=True)
class BearerAccess:
    """Tokens of a token server.

    Args:
        realm: the token server's URL.
        service: what this registry is called there.
        is_valid: whether a token allows a scope.
    """

    realm: str
    service: str
    is_valid: Callable[[str, str], bool] = field(repr=False)

    def challenge(self, authorization: str | None, scope: str) -> str | None:
        scheme, _, token = (authorization or "").partition(" ")
        is_token = scheme.lower() == "bearer"
        if is_token and self.is_valid(token.strip(), scope):
            return None
        asked = f',scope="{scope}"' if scope else ""
        error = ',error="insufficient_scope"' if is_token else ""
        return f'Bearer realm="{self.realm}",service="{self.service}"{asked}{error}'


def read_basic(authorization: str | None) -> tuple[str, str] | None:
    """User and password of an ``Authorization`` value; None when it has none."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    user, _, password = pair.partition(":")
    return user, password
