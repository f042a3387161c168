"""How ``kit status`` and ``kit verify`` show what differs: a sign and a path on each line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitops.cli._output import print_json, to_stdout
from kitops.errors import printable

if TYPE_CHECKING:
    from kitops.cli._session import Session
    from kitops.ops.tracked import Compared


def show_compared(session: Session, found: Compared, same: str) -> None:
    """Print what was found; ``same`` is the line where nothing differs."""
    if session.output_format == "json":
        print_json(found.to_json())
        return
    for text in found.unknown:
        session.say(f"not known: {text}", "warning")
    rows = [(sign, path) for sign, paths in (("~", found.changed), ("-", found.missing), ("+", found.extra),
                                            ("?", found.touched), ("m", found.modes)) for path in paths]  # fmt: skip
    lines = [f"  {sign} {printable(path)}\n" for sign, path in rows]
    lines += [
        f"  ! {printable(label)}: its files changed, or could not be compared: it cannot be told which\n"
        for label in found.uncertain
    ]
    head = f"{found.ref}   {found.desc.digest}\n"
    to_stdout(head + ("".join(lines) or f"  {same}\n"))
