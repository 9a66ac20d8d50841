#!/usr/bin/env python3
"""Packed GEMM on this machine over shapes of real models, beside torch and the peak of the core.

    python benchmarks/gemm_sweep.py [--rounds 12] [--json FILE] [--check]

One model holds a linear layer for every shape; the runtime's own clock times its kernels, one
thread. torch multiplies the same matrices with `torch.mm` in turn. A figure is the fastest round's.
Weights are cold, as in a model: every round passes over all of them.

Exit codes: 0, or 1 if ``--check`` is given and a shape runs at less than half of torch's speed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import millijoule as mj

#: (M, K, N): vision transformers, encoders of text, 1×1 convolutions of ResNet-50 and FMViT.
SHAPES = (
    *((m, k, n) for m in (1, 197) for k, n in ((192, 576), (192, 192), (192, 768), (768, 192))),
    *((m, k, n) for m in (50, 197) for k, n in ((384, 1152), (384, 384), (384, 1536), (1536, 384))),
    *((m, k, n) for m in (1, 16, 128) for k, n in ((768, 768), (768, 3072), (3072, 768))),
    *((3136, k, n) for k, n in ((64, 64), (64, 256), (256, 64), (256, 128))),
    *((784, k, n) for k, n in ((512, 128), (128, 512), (512, 256))),
    *((196, k, n) for k, n in ((1024, 256), (256, 1024), (1024, 512), (320, 640))),
    *((49, k, n) for k, n in ((2048, 512), (512, 2048), (640, 1280))),
    *((m, 80, 160) for m in (3, 7, 63, 65, 784)),
    *((m, 96, 40) for m in (2, 13, 100, 3136)),
    *((1, k, 1000) for k in (192, 384, 2048)),
    *((m, 192, 1000) for m in (4, 8, 32, 64)),
    *((m, 256, 197) for m in (17, 193, 197)),
    *((128, 100, n) for n in (10, 30, 90)),
)
HALF = 0.5


class Layers(nn.Module):
    """A linear layer without bias for every shape, each with an input of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(k, n, bias=False) for _, k, n in SHAPES)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """One product for each input."""
        return tuple(layer(x) for layer, x in zip(self.layers, inputs, strict=True))


def measure(rounds: int, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Fastest nanoseconds of every shape: ours, torch's."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module, inputs = Layers().eval(), [torch.randn(m, k) for m, k, _ in SHAPES]
    mj.build(mj.convert(module, example_inputs=inputs), out=work / "sweep.mjb").close()
    weights = [layer.weight.detach().T.contiguous() for layer in module.layers]
    results = [torch.empty(m, n) for m, _, n in SHAPES]
    ours, theirs = (np.full(len(SHAPES), np.inf) for _ in range(2))
    with mj.load(work / "sweep.mjb") as session:
        feeds = {spec.name: x.numpy() for spec, x in zip(session.inputs, inputs, strict=True)}
        order = [int(kernel.layer.rsplit(".", 1)[-1]) for kernel in session.manifest.kernels]
        session.program.kernel_times(True)
        for _ in range(rounds):
            session.program.clear_kernel_ns()
            session.run(feeds)
            ours[order] = np.minimum(ours[order], session.program.kernel_ns())
            for i, (x, w, y) in enumerate(zip(inputs, weights, results, strict=True)):
                start = time.perf_counter_ns()
                torch.mm(x, w, out=y)
                theirs[i] = min(theirs[i], time.perf_counter_ns() - start)
    return ours, theirs


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--check", action="store_true", help="exit 1 below half of torch's speed")
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")  # torch.export
    with tempfile.TemporaryDirectory(prefix="mjbench-") as work:
        ours, theirs = measure(options.rounds, Path(work))
    rows = [
        {
            "shape": list(shape),
            "gflops": 2 * float(np.prod(shape)) / a,
            "torch_gflops": 2 * float(np.prod(shape)) / b,
            "times_torch": b / a,
        }
        for shape, a, b in zip(SHAPES, ours, theirs, strict=True)
    ]
    table = Table("M×K×N", "GFLOP/s", "torch.mm", "× torch", title="packed GEMM, 1 thread")
    for row in rows:
        figures = (row["gflops"], row["torch_gflops"])
        name = "×".join(map(str, row["shape"]))
        table.add_row(name, *(f"{f:.0f}" for f in figures), f"{row['times_torch']:.2f}")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n")
    return int(options.check and min(row["times_torch"] for row in rows) < HALF)


if __name__ == "__main__":
    sys.exit(main())
