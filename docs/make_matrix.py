#!/usr/bin/env python3
"""Measure ``targets/matrix.json``, what `mj targets --matrix` prints.

    python docs/make_matrix.py                       # everything that runs here: ten minutes
    python docs/make_matrix.py --targets litert coreml
    python docs/make_matrix.py --rows bibert fmvit --missing

Every small model of `tests/fixtures/matrix_models.py` is built for every target and verified by the
program's own device, an emulated one, or a second implementation of its format. Cells that are not
asked for stay as they are. A program that differs from its reference stops this.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fixtures.matrix import measure
from fixtures.matrix_models import ENTRIES
from millijoule.targets import list_targets
from millijoule.targets.matrix import PATH, UNKNOWN, Cell, Matrix, read_matrix, write_matrix


def main() -> None:
    """Measure the cells that are asked for, and write the file after every row."""
    targets = [t.name for t in list_targets()]
    names = list(dict.fromkeys(e.row.name for e in ENTRIES))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--targets", nargs="+", choices=targets, default=targets, metavar="T")
    parser.add_argument("--rows", nargs="+", choices=names, default=names, metavar="ROW")
    parser.add_argument("--missing", action="store_true", help="only cells that are not there")
    options = parser.parse_args()
    cells = dict(read_matrix().cells) if PATH.is_file() else {}
    cells = {key: cell for key, cell in cells.items() if key[2] in targets}
    for entry in ENTRIES:
        row = entry.row
        wanted = [
            t
            for t in options.targets
            if row.name in options.rows
            and not (options.missing and _known(cells.get((row.name, row.form, t))))
        ]
        if not wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="millijoule-") as scratch:
            model = entry.model(Path(scratch))
            for target in wanted:
                start = time.perf_counter()
                cell = measure(row, model, target, Path(scratch))
                cells[row.name, row.form, target] = cell
                took = time.perf_counter() - start
                print(f"{row.name:10} {row.form:15} {target:13} {cell.text:10} {took:.1f} s",
                      cell.reason, flush=True)  # fmt: skip
        write_matrix(Matrix(tuple(e.row for e in ENTRIES), cells))


def _known(cell: Cell | None) -> bool:
    """Whether somebody has tried."""
    return cell is not None and cell.status != UNKNOWN


if __name__ == "__main__":
    main()
