#!/usr/bin/env python3
"""Packed GEMM on this machine over shapes of real models, beside oneDNN and the peak of the core.

    python benchmarks/gemm_sweep.py [--rounds 12] [--json FILE] [--check] [--onednn PREFIX]

One model holds a linear layer for every shape; the runtime's own clock times its kernels. oneDNN, a
process of its own (`mjbench.onednn`), multiplies matrices of the same shapes by primitives made
beforehand, in turn with us: packed and plain weights, as `matmul` and as `inner_product`; the
fastest of these counts. "Net" is without what calling oneDNN for a product of one number takes
(cold code and all), which is most of the time of the smallest. One thread, both on the same CPU. A
figure is the fastest round's. Weights are cold, as in a model: every round passes over all of them.

Exit codes: 0, or 1 if ``--check`` is given and a shape misses its goal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mjbench import report
from mjbench.native import Loops
from mjbench.onednn import FORMS, RELEASE, OneDnn, installed, unpacked
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import millijoule as mj
from millijoule.errors import MjError

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
#: oneDNN is called for this, too: what a call costs.
EMPTY = (1, 1, 1)
HALF, OF_PEAK = 0.5, 0.85


class Layers(nn.Module):
    """A linear layer without bias for every shape, each with an input of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(k, n, bias=False) for _, k, n in SHAPES)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """One product for each input."""
        return tuple(layer(x) for layer, x in zip(self.layers, inputs, strict=True))


@dataclass(frozen=True)
class Sweep:
    """Fastest nanoseconds: ``ours [shapes]``, ``theirs [forms, shapes + 1]``, the last `EMPTY`.

    ``peak`` is in GFLOP/s; ``onednn`` gives version and implementations.
    """

    ours: np.ndarray
    theirs: np.ndarray
    peak: float
    onednn: OneDnn

    @property
    def call_ns(self) -> float:
        """What a call of oneDNN takes."""
        return float(self.theirs[:, -1].min())

    def rows(self) -> list[dict[str, Any]]:
        """One row per shape, for JSON."""
        return [self._row(index) for index in range(len(SHAPES))]

    def _row(self, index: int) -> dict[str, Any]:
        form = int(self.theirs[:, index].argmin())
        work, best = 2 * float(np.prod(SHAPES[index])), float(self.theirs[form, index])
        ours, net = float(self.ours[index]), max(best - self.call_ns, 1.0)
        return {
            "shape": list(SHAPES[index]),
            "gflops": work / ours,
            "of_peak": work / ours / self.peak,
            "onednn_gflops": work / best,
            "onednn_gflops_net": work / net,
            "onednn_form": FORMS[form],
            "onednn_implementation": self.onednn.names[index][form],
            "onednn_forms_ns": dict(zip(FORMS, self.theirs[:, index].tolist(), strict=True)),
            "times_onednn": best / ours,
            "times_onednn_net": net / ours,
        }


def measure(rounds: int, work: Path, onednn: Path | None, cache: Path) -> Sweep:
    """Build everything, then time it in turns."""
    torch.manual_seed(0)
    module, inputs = Layers().eval(), [torch.randn(m, k) for m, k, _ in SHAPES]
    mj.build(mj.convert(module, example_inputs=inputs), out=work / "sweep.mjb").close()
    library = installed(onednn) if onednn else unpacked(cache)
    loops = Loops(work)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    theirs = OneDnn(library, [*SHAPES, EMPTY], work)
    ours, others = np.full(len(SHAPES), np.inf), np.full((len(FORMS), len(SHAPES) + 1), np.inf)
    try:
        with mj.load(work / "sweep.mjb") as session:
            feeds = {spec.name: x.numpy() for spec, x in zip(session.inputs, inputs, strict=True)}
            order = [int(kernel.layer.rsplit(".", 1)[-1]) for kernel in session.manifest.kernels]
            session.program.kernel_times(True)
            for _ in range(rounds):
                session.program.clear_kernel_ns()
                session.run(feeds)
                ours[order] = np.minimum(ours[order], session.program.kernel_ns())
                others = np.minimum(others, theirs.round())
    finally:
        theirs.close()
    return Sweep(ours, others, 2 * loops.mac_per_ns(), theirs)


def large(row: dict[str, Any]) -> bool:
    """Whether the goal for large shapes is the row's."""
    m, k, n = row["shape"]
    return bool(m >= 64 and min(k, n) >= 192)


def missed(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Shapes that miss a goal, in words."""
    words = []
    for row in rows:
        name = "×".join(map(str, row["shape"]))
        if row["times_onednn"] < HALF:
            words.append(f"{name}: {row['times_onednn']:.2f} of oneDNN's speed, goal {HALF}")
        if large(row) and row["of_peak"] < OF_PEAK:
            words.append(f"{name}: {row['of_peak']:.1%} of the peak, goal {OF_PEAK:.0%}")
    return words


def show(sweep: Sweep, rows: Sequence[dict[str, Any]]) -> None:
    """Print the table and what was missed."""
    title = f"packed GEMM, 1 thread; peak {sweep.peak:.0f} GFLOP/s; oneDNN {sweep.onednn.version}"
    columns = ("M×K×N", "GFLOP/s", "of peak", "oneDNN", "× oneDNN", "× net", "its form", "made by")
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(
            "×".join(map(str, row["shape"])),
            f"{row['gflops']:.0f}",
            f"{row['of_peak']:.0%}",
            f"{row['onednn_gflops']:.0f}",
            f"{row['times_onednn']:.2f}",
            f"{row['times_onednn_net']:.2f}",
            row["onednn_form"],
            row["onednn_implementation"],
        )
    console = Console()
    if not console.is_terminal:
        console.width = 120
    console.print(table)
    times = [row["times_onednn"] for row in rows]
    print(f"× oneDNN: {min(times):.2f} to {max(times):.2f}, median {float(np.median(times)):.2f}")
    shares = [row["of_peak"] for row in rows if large(row)]
    print(f"of the peak for M ≥ 64, N, K ≥ 192: {min(shares):.1%} to {max(shares):.1%}")
    print(f"a call of oneDNN takes {sweep.call_ns:.0f} ns")
    for words in missed(rows):
        print(f"missed: {words}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--check", action="store_true", help="exit 1 if a shape misses a goal")
    parser.add_argument("--json", metavar="FILE", type=Path)
    parser.add_argument(
        "--onednn",
        metavar="PREFIX",
        type=Path,
        help=f"where oneDNN 3 is installed (default: Debian {RELEASE}'s, by mmdebstrap)",
    )
    parser.add_argument("--cache", type=Path, default=Path("build/benchmarks/onednn"))
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")  # torch.export
    before = report.conditions()
    try:
        with tempfile.TemporaryDirectory(prefix="mjbench-") as work:
            sweep = measure(options.rounds, Path(work), options.onednn, options.cache)
    except MjError as error:
        print(error, file=sys.stderr)
        return 1
    rows = sweep.rows()
    show(sweep, rows)
    if options.json:
        document = {
            "conditions": before,
            "rounds": options.rounds,
            "peak_gflops": sweep.peak,
            "onednn": {
                "version": sweep.onednn.version,
                "isa": sweep.onednn.isa,
                "call_ns": sweep.call_ns,
            },
            "rows": rows,
        }
        options.json.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    return int(options.check and bool(missed(rows)))


if __name__ == "__main__":
    sys.exit(main())
