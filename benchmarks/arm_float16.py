#!/usr/bin/env python3
"""Instructions, size and error of float16 programs on an emulated ARM core, beside float32.

    python benchmarks/arm_float16.py [--core cortex-a76] [--models vit-tiny,…] [--json FILE]

The same model, weights and input in both; retired instructions of a call, as QEMU's plugin counts
them, and the largest difference from torch's float32 outputs over the largest output. Instructions
are not cycles: they do not tell time, and nothing here waits for the memory that halves save.

Exit code 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mjbench.subjects import SUBJECTS
from rich.console import Console
from rich.table import Table

import millijoule as mj
from millijoule.errors import MjError

CORES = ("cortex-a76", "cortex-a78ae")
DTYPES = ("float32", "float16")


def measure(name: str, core: str, folder: Path) -> dict[str, Any]:
    """One row of the table: per dtype instructions, bytes and error."""
    module, x = SUBJECTS[name].build()
    with torch.no_grad():
        expected = module(x).numpy()
    model = mj.convert(module, example_inputs=(x,))
    row: dict[str, Any] = {"model": name}
    for dtype in DTYPES:
        path = folder / f"{name}-{dtype}.mjb"
        mj.build(model, target=core, dtype=dtype, out=path).close()
        with mj.load(path, device=f"qemu:{core}") as session:
            (y,) = session.run({session.inputs[0].name: x.numpy()}).values()
            counts = mj.profile(session).to_dict()["instructions"]
            manifest = session.manifest
        row["multiply_adds"] = sum(kernel.multiplies for kernel in manifest.kernels)
        row[dtype] = {
            "instructions": counts["per_call"],
            "weight_bytes": sum(kernel.weight_bytes for kernel in manifest.kernels),
            "bundle_bytes": path.stat().st_size,
            "arena_bytes": manifest.arena.bytes,
            "error": float(np.abs(y - expected).max() / np.abs(expected).max()),
            "kernels": {k["name"]: k["instructions"] for k in counts["kernels"]},
        }
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every model and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--core", choices=CORES, default="cortex-a76")
    parser.add_argument("--models", default="vit-tiny,mobileone-s0")
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning)  # torch.export
    with tempfile.TemporaryDirectory(prefix="mjbench-") as work:
        names = options.models.split(",")
        rows = [measure(name, options.core, Path(work)) for name in names]
    _show(rows, options.core)
    if options.json:
        document = {"core": options.core, "threads": 1, "models": rows}
        options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 0


def _show(rows: Sequence[Mapping[str, Any]], core: str) -> None:
    table = Table("model", "dtype", "instructions", "each", "bundle", "arena", "error", title=core)
    for row in rows:
        for dtype in DTYPES:
            figures = row[dtype]
            table.add_row(
                row["model"],
                dtype,
                f"{figures['instructions']:,.0f}",
                f"{figures['instructions'] / row['multiply_adds']:.3f}",
                f"{figures['bundle_bytes']:,}",
                f"{figures['arena_bytes']:,}",
                f"{figures['error']:.1e}",
            )
    Console().print(table)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MjError as error:
        print(f"arm_float16: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
