"""Every family on every target: what was built, what ran it, and how far it was from its reference.

The figures are in ``matrix.json`` beside this file. `docs/make_matrix.py` measures them, a test
measures some of them again and asks for a cell of every family and target that exist.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from millijoule.errors import BundleError

PATH = Path(__file__).with_name("matrix.json")
WHOLE, STREAMING = "whole sequence", "streaming"
VERIFIED, BUILT, REFUSED, UNKNOWN = "verified", "built", "refused", "not measured"


@dataclass(frozen=True)
class Row:
    """A small model that stands for a family or a front end, whole or as a stream.

    Attributes:
        name: short, for the head of a column.
        family: a key of `converters.FAMILIES`, or a front end.
        form: `WHOLE` or `STREAMING`.
        model: which model it is.
    """

    name: str
    family: str
    form: str
    model: str


@dataclass(frozen=True)
class Cell:
    """What became of one row on one target, float32.

    Attributes:
        row, form, target: which cell it is.
        status: `VERIFIED`, `BUILT` (nothing here can run it), `REFUSED`, or `UNKNOWN`: nobody has
            tried so far, and ``reason`` says what is known of the target instead.
        device: what ran the program (a name of ``mj devices``); "" if nothing did.
        max_error: largest absolute difference of a floating-point output from the reference.
        exact: outputs that decide (spikes, attention maps, integers), which are equal to the last.
        reason: why it is not verified.
    """

    row: str
    form: str
    target: str
    status: str
    device: str = ""
    max_error: float | None = None
    exact: int = 0
    reason: str = ""

    @property
    def text(self) -> str:
        """The cell in a table."""
        return f"{self.max_error:.1e}" if self.max_error is not None else self.status


@dataclass(frozen=True)
class Matrix:
    """All rows, and cells by (row, form, target)."""

    rows: tuple[Row, ...]
    cells: dict[tuple[str, str, str], Cell]

    def holes(self, targets: Iterable[str]) -> list[str]:
        """What is missing: cells that nobody measured, and cells without a figure or a reason."""
        found = []
        for row in self.rows:
            for target in targets:
                cell = self.cells.get((row.name, row.form, target))
                if cell is None:
                    found.append(f"{row.name} ({row.form}) on {target}: not measured")
                elif cell.max_error is None and not cell.reason:
                    found.append(f"{row.name} ({row.form}) on {target}: no reason")
        return found


def read_matrix(path: Path = PATH) -> Matrix:
    """The matrix that ships with Millijoule; BundleError if the file is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Row(**row) for row in content["rows"])
        cells = [Cell(**cell) for cell in content["cells"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"[matrix] {path} cannot be read ({error}); reinstall") from error
    return Matrix(rows, {(c.row, c.form, c.target): c for c in cells})


def write_matrix(matrix: Matrix, path: Path = PATH) -> None:
    """Write ``matrix``, one cell per line, in order of rows and names of targets."""
    order = {(row.name, row.form): i for i, row in enumerate(matrix.rows)}
    kept = [c for c in matrix.cells.values() if (c.row, c.form) in order]
    kept.sort(key=lambda c: (order[c.row, c.form], c.target))
    parts = [
        ",\n".join(f"  {json.dumps(dataclasses.asdict(item), ensure_ascii=False)}" for item in part)
        for part in (matrix.rows, kept)
    ]
    text = f'{{"rows": [\n{parts[0]}\n],\n"cells": [\n{parts[1]}\n]}}\n'
    path.write_text(text, encoding="utf-8")
