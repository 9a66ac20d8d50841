#!/usr/bin/env python3
"""Instructions per multiply-add of dense layers on emulated ARM Linux cores, against the floor.

    python benchmarks/arm_instructions.py [--core cortex-a72] [--check] [--json FILE]

Each case is a model of one layer, built for the core, run in QEMU and counted by a plugin: exact,
and the same on every run. The floor is what no NEON code of fused multiply-adds can beat, an
``fmla`` for four multiply-adds of the layer's equation; Winograd's form of 3×3 filters with stride
1 beats it by multiplying less. The count of a layer is all that its kernel executes: loads, loops,
bias, stores of the results. Instructions are not cycles: they do not tell time.

Exit codes: 0, 1 if ``--check`` is given and a layer takes more than 1.5 times the floor.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import millijoule as mj
from millijoule.errors import MjError

CORES = ("cortex-a53", "cortex-a72", "cortex-a76", "cortex-a78ae", "armv7")
LANES = 4
FLOOR = 1 / LANES
GOAL = 1.5
#: Depthwise: each of the 9 products per result is an fmla, but loads are as many as 4 in 9 more.
GOAL_DEPTHWISE = 2.0

#: Name -> layer and the shape of its input.
CASES: Mapping[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear 128×192×192": (nn.Linear(192, 192), (1, 128, 192)),
    "linear 128×256×1024": (nn.Linear(256, 1024), (1, 128, 256)),
    "conv1d 3, 256→256, 128 steps": (nn.Conv1d(256, 256, 3, padding=1), (1, 256, 128)),
    "conv2d 3×3 / 2, 64→64, 28×28": (nn.Conv2d(64, 64, 3, 2, padding=1), (1, 64, 56, 56)),
    "conv2d 3×3, 64→64, 28×28": (nn.Conv2d(64, 64, 3, padding=1), (1, 64, 28, 28)),
    "depthwise 3×3, 128, 28×28": (
        nn.Conv2d(128, 128, 3, padding=1, groups=128),
        (1, 128, 28, 28),
    ),
}


def count(layer: nn.Module, shape: tuple[int, ...], core: str, folder: Path) -> tuple[int, float]:
    """Multiply-adds and instructions of the kernel that does most of them."""
    model = mj.convert(layer.eval(), example_inputs=(torch.randn(shape),))
    path = folder / "model.mjb"
    mj.build(model, target=core, out=path).close()
    with mj.load(path, device=f"qemu:{core}") as session:
        kernels = session.manifest.kernels
        rows = mj.profile(session).to_dict()["instructions"]["kernels"]
    dense = max(range(len(kernels)), key=lambda i: kernels[i].multiplies)
    return kernels[dense].multiplies, rows[dense]["instructions"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Count every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--core", choices=CORES, default="cortex-a72")
    parser.add_argument("--check", action="store_true", help="exit 1 beyond the goals")
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")  # torch.export
    torch.manual_seed(0)
    rows = []
    with tempfile.TemporaryDirectory(prefix="mjbench-") as work:
        for name, (layer, shape) in CASES.items():
            multiply_adds, instructions = count(layer, shape, options.core, Path(work))
            per = instructions / multiply_adds
            rows.append(
                {
                    "layer": name,
                    "multiply_adds": multiply_adds,
                    "instructions": instructions,
                    "instructions_per_multiply_add": per,
                    "times_floor": per / FLOOR,
                    "goal": GOAL_DEPTHWISE if name.startswith("depthwise") else GOAL,
                }
            )
    _show(rows, options.core)
    if options.json:
        document = {"core": options.core, "floor": FLOOR, "goal": GOAL, "layers": rows}
        options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return int(options.check and any(row["times_floor"] > row["goal"] for row in rows))


def _show(rows: Sequence[Mapping[str, float | str]], core: str) -> None:
    title = f"{core}: floor {FLOOR} instructions per multiply-add"
    table = Table("layer", "multiply-adds", "instructions", "each", "× floor", title=title)
    for row in rows:
        table.add_row(
            str(row["layer"]),
            f"{row['multiply_adds']:,}",
            f"{row['instructions']:,.0f}",
            f"{row['instructions_per_multiply_add']:.3f}",
            f"{row['times_floor']:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MjError as error:
        print(f"arm_instructions: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
