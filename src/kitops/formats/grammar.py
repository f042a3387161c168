"""The small languages of ModelPack configs: times, addresses, licences, numbers of parameters, precisions."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import urlsplit

from kitops.weights.facts import PRECISION_WORDS

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_PARAM_SIZE = re.compile(r"[0-9]+(?:\.[0-9])?[QTBMK]", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))? ?([QTBMK])", re.ASCII | re.IGNORECASE)
_NAME = r"(?!(?:AND|OR|WITH)(?![A-Za-z0-9.:+-]))[A-Za-z0-9.:-]+\+?"
_TERMS = rf"{_NAME}(?: +WITH +{_NAME})?(?: +(?:AND|OR) +{_NAME}(?: +WITH +{_NAME})?)*"
_EXPRESSION = re.compile(_TERMS, re.ASCII)
_IN_PARENTHESES = re.compile(rf"\( *{_TERMS} *\)", re.ASCII)
_NO_SPDX = re.compile(r"[^A-Za-z0-9.-]+")


def is_time(text: str) -> bool:
    """Whether ``text`` is a time as RFC 3339, section 5.6, writes it, and one that there is."""
    if not _TIME.fullmatch(text):
        return False
    seconds = "59" if text[17:19] == "60" else text[17:19]  # leap seconds are, datetime has none
    zone = re.sub(r"^.*?(Z|[+-][0-9:]+)$", r"\1", text[19:])
    try:
        datetime.fromisoformat(f"{text[:17]}{seconds}{zone}")
    except ValueError:
        return False
    return True


def is_url(text: str) -> bool:
    """Whether ``text`` is an absolute address: a scheme and what it leads to, no blanks."""
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path.strip("/")))


def is_param_size(text: str) -> bool:
    """Whether ``text`` is a number of parameters: ``6.7B``, ``124M``."""
    return _PARAM_SIZE.fullmatch(text) is not None


def to_param_size(text: str) -> str:
    """``text`` as a number of parameters with one decimal at most: ``8.03 B`` is ``8.0B``; "" where it is none."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return ""
    whole, decimals, unit = found.groups()
    if not decimals:
        return f"{whole}{unit}"
    tenths = int(f"{whole}{decimals[0]}") + (decimals[1:2] >= "5")  # halves up
    return f"{tenths // 10}.{tenths % 10}{unit}"


def is_precision(text: str) -> bool:
    """Whether ``text`` is a precision, or several joined by commas: ``bfloat16,float32``."""
    words = text.split(",")
    return len(set(words)) == len(words) and PRECISION_WORDS.issuperset(words)


def is_licence(text: str) -> bool:
    """Whether ``text`` is an SPDX licence expression by its grammar; identifiers are not looked up.

    Source: SPDX 2.3, annex D.
    """
    while "(" in text:
        shorter = _IN_PARENTHESES.sub(" x ", text)
        if shorter == text:
            return False
        text = shorter
    return _EXPRESSION.fullmatch(text.strip(" ")) is not None


def to_licence(text: str) -> str:
    """``text`` where it is an SPDX expression, else a reference of that name: ``LicenseRef-My-Own``.

    Source: SPDX 2.3, annex D: licences that are not on the list.
    """
    if is_licence(text):
        return text
    name = _NO_SPDX.sub("-", text).strip("-.")
    return f"LicenseRef-{name}" if name else ""
