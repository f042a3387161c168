"""Drawing on a terminal, by rich: one line of sums, or a bar for each layer that moves and one for all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kitops.cli._output import format_size
from kitops.errors import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kitops.cli._tally import Item, Sums

_MOST_ROWS = 8


class Bars:
    """What is drawn in place at the bottom of the terminal; lines are written above it.

    Args:
        is_fancy: bars for the layers too; otherwise one line.
    """

    def __init__(self, *, is_fancy: bool) -> None:
        self._is_fancy = is_fancy
        self._console = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()

    def draw(self, sums: Sums) -> None:
        self._live.update(self._picture(sums), refresh=True)

    def write(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)

    def close(self) -> None:
        self._live.stop()

    def _picture(self, sums: Sums) -> RenderableType:
        line = Text(str(sums))  # on a narrow terminal it goes on below: speed and time left stand at its end
        if not self._is_fancy:
            return line
        rows = Table.grid(padding=(0, 1))
        for item in sums.active[:_MOST_ROWS]:
            rows.add_row(*_row(item))
        more = len(sums.active) - _MOST_ROWS
        if more > 0:
            rows.add_row(Text(f"and {more} more"))
        total = Table.grid()  # a bar alone ends no line: what follows would stand behind it
        total.add_row(ProgressBar(total=sums.size, completed=sums.done, width=40, pulse=not sums.size))
        return Group(rows, total, line)


def _row(item: Item) -> tuple[RenderableType, ...]:
    size = format_size(item.size) if item.size is not None else "?"
    return (
        Text(printable(item.label), no_wrap=True, overflow="ellipsis"),
        ProgressBar(total=item.size, completed=item.done, width=30, pulse=not item.size),
        Text(f"{format_size(item.done)} of {size}", no_wrap=True),
    )
