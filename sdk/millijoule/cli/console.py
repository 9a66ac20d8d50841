"""What the command line prints.

Results go to standard output, progress and notes to standard error. With rich and a terminal,
tables are drawn; otherwise they are aligned plain text, so that a pipe gets every column in full.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..files import atomic_write

__all__ = ["Console", "Progress"]

#: Called with what is being done and, when known, how many parts of how many are done.
Progress = Callable[..., None]

STDOUT = "-"


class Console:
    """Output of one command.

    Args:
        quiet: no tables, text, notes or progress; files and JSON are still written.
        json_to: None, a file, or ``-`` for standard output, which then carries the JSON alone.
    """

    def __init__(self, quiet: bool = False, json_to: str | None = None) -> None:
        self._json_to = json_to
        self._silent = quiet or json_to == STDOUT
        self._quiet = quiet

    def text(self, line: str = "") -> None:
        """Print a line of the result."""
        if not self._silent:
            print(printable(line))

    def note(self, line: str) -> None:
        """Print a line about the result to standard error."""
        if not self._quiet:
            print(printable(line), file=sys.stderr)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = ""
    ) -> None:
        """Print a table; numbers are set to the right."""
        if self._silent:
            return
        cells = [[_cell(value) for value in row] for row in rows]
        right = [any(isinstance(row[i], (int, float)) for row in rows) for i in range(len(columns))]
        if sys.stdout.isatty() and _rich_table(columns, cells, right, title):
            return
        if title:
            print(title)
        for line in _aligned([list(columns), *cells], right):
            print(line)

    def json(self, value: Any) -> None:
        """Write ``value`` where ``--json`` says, if it was given."""
        if self._json_to is None:
            return
        text = json.dumps(value, indent=1, allow_nan=False) + "\n"
        if self._json_to == STDOUT:
            sys.stdout.write(text)
            return
        with atomic_write(self._json_to) as stream:
            stream.write(text.encode())

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """A function that reports progress: ``report("compiling", 3, 10)``."""
        if self._quiet:
            yield lambda *_: None
            return
        bar = _rich_progress() if sys.stderr.isatty() else None
        if bar is None:
            yield _plain_progress()
            return
        with bar:
            task = bar.add_task("starting", total=None)

            def report(what: str, done: float | None = None, total: float | None = None) -> None:
                bar.update(task, description=what, completed=done, total=total)

            yield report


def _plain_progress() -> Progress:
    """Progress as lines on standard error, one for each thing that is done."""
    said = ""

    def report(what: str, *_: float | None) -> None:
        nonlocal said
        if what != said:
            print(f"… {what}", file=sys.stderr)
        said = what

    return report


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return printable(str(value))


def printable(text: str) -> str:
    """``text`` with ``?`` for characters that a terminal would obey; bundles hold free texts."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def _aligned(rows: list[list[str]], right: Sequence[bool]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(right))]
    lines = []
    for row in rows:
        padded = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def _rich_table(
    columns: Sequence[str], cells: list[list[str]], right: Sequence[bool], title: str
) -> bool:
    """Draw with rich; False if it is not installed."""
    try:
        from rich.console import Console as RichConsole
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(title=Text(title) if title else None, title_justify="left")
    for column, to_right in zip(columns, right, strict=True):
        table.add_column(Text(column), justify="right" if to_right else "left")
    for row in cells:
        table.add_row(*map(Text, row))  # as Text, names with brackets are not taken for markup
    RichConsole().print(table)
    return True


def _rich_progress() -> Any:
    """A progress bar on standard error, or None if rich is not installed."""
    try:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        return None
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=RichConsole(stderr=True), transient=True)
