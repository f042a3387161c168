"""Access tokens as people give them: one look at the edge, for every source. Pure."""

from __future__ import annotations

from kitops.errors import InvalidValueError


def parse_token(text: str | None) -> str | None:
    """A token without the white space around it; None stays.

    Raises:
        InvalidValueError: it is empty, or has letters that no header takes. It is not told.
    """
    if text is None:
        return None
    token = text.strip()
    if not token:
        raise InvalidValueError("the token is empty", hint="leave --token out for a public source")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidValueError(
            "the token has letters that no token has", hint="copy it again, without quotes, spaces and line breaks"
        )
    return token
