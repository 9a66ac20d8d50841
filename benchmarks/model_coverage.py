#!/usr/bin/env python3
"""Which public models come in: convert, build and compare each model of the list at full size.

    python benchmarks/model_coverage.py [--small] [--only NAME …] [--out DIR] [--timeout SECONDS]
                                        [--resume] [--budget SECONDS]

Writes ``model-coverage.json`` and ``model-coverage.md``. Every model runs in a process of its own,
so that one that dies or takes too long is one row. ``--resume`` keeps the rows of the files that
are there and goes on behind them; ``--budget`` starts no further model after that long. Exit code
1 if a model failed, was further from torch than 1e-4 of its largest output, or is still to come.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mjbench.coverage.measure import LIMIT, NAMES

JSON = "model-coverage.json"

_CHILD = """
import dataclasses, json, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
from mjbench.coverage.measure import measure
name, small, folder, out = sys.argv[1], sys.argv[2] == "1", Path(sys.argv[3]), Path(sys.argv[4])
out.write_text(json.dumps(dataclasses.asdict(measure(name, small, folder))))
"""


def main() -> int:
    """Run the chosen models and write both files."""
    options = _parser().parse_args()
    names = list(options.only or NAMES)
    rows = _rows_of(options.out) if options.resume else {}
    end = time.monotonic() + options.budget
    for name in names:
        if name in rows or time.monotonic() > end:
            continue
        row = run_one(name, options.small, options.timeout)
        row["load"] = round(os.getloadavg()[0], 1)
        rows[name] = row
        print(_line(row), flush=True)
        _write(options.out, rows)
    bad = [name for name in names if name in rows and not passed(rows[name])]
    left = [name for name in names if name not in rows]
    print(
        f"{len(names) - len(bad) - len(left)} of {len(names)} models; "
        f"not: {', '.join(bad) or 'none'}; still to come: {len(left)}"
    )
    return 1 if bad or left else 0


def _rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Rows of an earlier run, by model."""
    path = folder / JSON
    return {row["name"]: row for row in json.loads(path.read_text())} if path.is_file() else {}


def _write(folder: Path, rows: dict[str, dict[str, Any]]) -> None:
    """Both files, models in the order of the list."""
    folder.mkdir(parents=True, exist_ok=True)
    ordered = sorted(rows.values(), key=lambda row: NAMES.index(row["name"]))
    (folder / JSON).write_text(json.dumps(ordered, indent=1) + "\n")
    (folder / "model-coverage.md").write_text(table(ordered))


def run_one(name: str, small: bool, timeout: float) -> dict[str, Any]:
    """The figures of one model, or ``{"name", "error"}``."""
    with tempfile.TemporaryDirectory(prefix="millijoule-") as scratch:
        out = Path(scratch) / "row.json"
        command = [sys.executable, "-c", _CHILD, name, str(int(small)), scratch, str(out)]
        try:
            done = subprocess.run(
                command,
                cwd=Path(__file__).parent,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"name": name, "error": f"took longer than {timeout:g} s"}
        if out.is_file():
            row: dict[str, Any] = json.loads(out.read_text())
            return row
    lines = [line for line in done.stderr.strip().splitlines() if line]
    return {"name": name, "error": lines[-1][:300] if lines else f"exit code {done.returncode}"}


def passed(row: dict[str, Any]) -> bool:
    """Whether the model was built and is as near to torch as it must be."""
    return "error" not in row and row["max_relative_error"] <= LIMIT


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| model | parameters | convert s | build s | CPU s | max relative error | kernels | "
        "without schedule |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        if "error" in r:
            lines.append(f"| {r['name']} | {r['error'].replace('|', '/')} | | | | | | |")
            continue
        lines.append(
            f"| {r['name']} | {r['parameters'] / 1e6:.1f} M | {r['convert_seconds']:.1f} | "
            f"{r['build_seconds']:.1f} | {r['cpu_seconds']:.1f} | {r['max_relative_error']:.1e} | "
            f"{r['kernels']} | {r['unscheduled']} |"
        )
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['name']:36} FAILED {row['error']}"
    return (
        f"{row['name']:36} {row['build_seconds']:6.1f} s  error {row['max_relative_error']:.1e}"
        f"  {row['kernels']} kernels, {row['unscheduled']} unscheduled"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="shrunken models, as tests use them")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help="these models")
    parser.add_argument("--out", type=Path, default=Path("build/coverage"), metavar="DIR")
    parser.add_argument("--timeout", type=float, default=900, metavar="SECONDS")
    parser.add_argument("--resume", action="store_true", help="keep rows that --out has already")
    parser.add_argument("--budget", type=float, default=float("inf"), metavar="SECONDS")
    return parser


if __name__ == "__main__":
    sys.exit(main())
