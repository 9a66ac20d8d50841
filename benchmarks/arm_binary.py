#!/usr/bin/env python3
"""Instructions of a binary linear layer on an emulated ARM Linux core, against the same in float32.

    python benchmarks/arm_binary.py [--core cortex-a72] [--check] [--json FILE]

Both layers are built for the core like any model, run in QEMU and counted by a plugin: exact, and
the same on every run. What counts are all kernels of a program: packing signs is part of the binary
layer. Inputs without an exact 0 and with some take different loops, so both are shown. Instructions
are not cycles: they do not tell time.

Exit codes: 0, 1 if ``--check`` is given and signs save less than a factor of 8.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import millijoule as mj
from millijoule.converters.ops import binarize, binary_linear
from millijoule.errors import MjError

CORES = ("cortex-a72", "cortex-a53", "cortex-a76", "cortex-a78ae", "armv7")
GOAL = 8.0
ROWS, INPUTS, OUTPUTS = 128, 768, 768


class BinaryLinear(nn.Module):
    """One layer of random signs."""

    def __init__(self, activations: str) -> None:
        super().__init__()
        w, alpha = binarize(torch.randn(OUTPUTS, INPUTS))
        self.register_buffer("w", w)
        self.register_buffer("alpha", alpha)
        self.bias = nn.Parameter(torch.randn(OUTPUTS))
        self.activations = activations

    def forward(self, x: Tensor) -> Tensor:
        """[rows, K] → [rows, O]."""
        return binary_linear(x, self.w, self.alpha, self.bias, activations=self.activations)


def instructions(layer: nn.Module, x: Tensor, core: str, folder: Path) -> float:
    """Instructions of all kernels of a program that is ``layer``, for input ``x``."""
    path = folder / "model.mjb"
    mj.build(mj.convert(layer.eval(), example_inputs=(x,)), target=core, out=path).close()
    with mj.load(path, device=f"qemu:{core}") as session:
        rows = mj.profile(session).to_dict()["instructions"]["kernels"]
    return float(sum(row["instructions"] for row in rows))


def measure(core: str) -> dict[str, float]:
    """Instructions by contender."""
    torch.manual_seed(0)
    x = torch.randn(ROWS, INPUTS)
    zeros = torch.where(torch.rand_like(x) < 0.1, 0.0, x)
    contenders = {
        "float32": (nn.Linear(INPUTS, OUTPUTS), x),
        "signs": (BinaryLinear("sign"), x),
        "signs, 10 % zeros": (BinaryLinear("sign"), zeros),
        "real × signs": (BinaryLinear("real"), x),
    }
    with tempfile.TemporaryDirectory(prefix="mjbench-") as work:
        return {
            name: instructions(layer, inputs, core, Path(work))
            for name, (layer, inputs) in contenders.items()
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--core", choices=CORES, default="cortex-a72")
    parser.add_argument("--check", action="store_true", help=f"exit 1 below a factor of {GOAL}")
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")  # torch.export
    counts = measure(options.core)
    products = ROWS * INPUTS * OUTPUTS
    table = Table("layer", "instructions", "per product", "float32 takes", title=options.core)
    for name, count in counts.items():
        ratio = counts["float32"] / count
        table.add_row(name, f"{count:,.0f}", f"{count / products:.4f}", f"{ratio:.2f} ×")
    Console().print(table)
    if options.json:
        document = {"core": options.core, "shape": [ROWS, INPUTS, OUTPUTS], "instructions": counts}
        options.json.write_text(json.dumps(document | {"goal": GOAL}, indent=2) + "\n")
    return int(options.check and counts["float32"] / counts["signs"] < GOAL)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MjError as error:
        print(f"arm_binary: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
