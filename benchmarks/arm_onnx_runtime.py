#!/usr/bin/env python3
"""Instructions of whole models on an emulated ARM core, ours against ONNX Runtime's wheel.

    python benchmarks/arm_onnx_runtime.py [--core cortex-a72] [--models vit-tiny,mobileone-s0]
                                          [--cache DIR] [--check] [--json FILE]

Both get the same model, weights and input, one thread, float32, and are warmed up; then retired
instructions are counted by the same plugin in the same emulator: ours from entering ``mj_run`` to
leaving it, ONNX Runtime's around ``run_with_iobinding``, some ten thousand of Python's included.
ONNX Runtime is given the exports that it gets in the benchmark of time, and the best one counts.

What the counts do not show: time. Instructions differ in cost (a load that misses a cache against
an ``fmla``), cores issue two to four at once, and nothing here waits for memory. A kernel that
blocks for caches may execute more instructions and be faster.

Needs root or user namespaces (``mmdebstrap``), qemu-user and pip. Exit codes: 0; 1 if ``--check``
is given and we take more instructions than ONNX Runtime somewhere, or outputs differ.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mjbench.arm_userland import Userland, make_userland
from mjbench.subjects import SUBJECTS, Subject
from rich.console import Console
from rich.table import Table

import millijoule as mj
from millijoule.errors import MjError

CORES = ("cortex-a53", "cortex-a72", "cortex-a76")
ORT, NUMPY = "1.24.1", "2.4.1"  # 1.32 dies of an illegal instruction under QEMU 7.2
WARMUP, RUNS = 2, 2
TOLERANCE = 1e-4
WORKER = Path(__file__).parent / "mjbench" / "arm_worker.py"


def exports(subject: Subject, module: torch.nn.Module, x: torch.Tensor, folder: Path) -> list[Path]:
    """The model as ONNX: plain, with Attention operators, and fused offline for transformers."""
    paths = []
    for opset, name in ((20, "plain"), (23, "attention")):
        path = folder / f"{name}.onnx"
        torch.onnx.export(
            module,
            (x,),
            str(path),
            dynamo=True,
            opset_version=opset,
            external_data=False,
            verbose=False,
        )
        paths.append(path)
    if subject.transformer:
        from onnxruntime.transformers import optimizer

        path = folder / "fused.onnx"
        kind = subject.transformer
        optimizer.optimize_model(str(paths[0]), model_type=kind, opt_level=0).save_model_to_file(
            str(path)
        )
        paths.append(path)
    return paths


def theirs(
    paths: Sequence[Path], x: np.ndarray, expected: np.ndarray, core: str, system: Userland
) -> dict[str, Any]:
    """Instructions per run of ONNX Runtime for every export; a failure is its reason."""
    result: dict[str, Any] = {}
    for path in paths:
        folder = path.parent
        np.save(folder / "x.npy", x)
        arguments = [str(path), "x.npy", "y.npy", str(WARMUP), str(RUNS)]
        try:
            counts = system.count(WORKER, arguments, core, folder)
        except MjError as error:
            result[path.stem] = str(error)
            continue
        _compare(path.stem, np.load(folder / "y.npy"), expected)
        result[path.stem] = counts.instructions / counts.runs
    return result


def ours(
    module: torch.nn.Module, x: torch.Tensor, expected: np.ndarray, core: str, folder: Path
) -> tuple[float, int]:
    """Instructions and multiply-adds per run of our program."""
    path = folder / "model.mjb"
    mj.build(mj.convert(module, example_inputs=(x,)), target=core, out=path).close()
    with mj.load(path, device=f"qemu:{core}") as session:
        name = session.inputs[0].name
        (y,) = session.run({name: x.numpy()}).values()
        _compare("ours", y, expected)
        profile = mj.profile(session).to_dict()["instructions"]
        multiplies = sum(kernel.multiplies for kernel in session.manifest.kernels)
    return profile["per_call"], multiplies


def _compare(who: str, y: np.ndarray, expected: np.ndarray) -> None:
    worst = float((np.abs(y - expected) / (1 + np.abs(expected))).max())
    if not worst <= TOLERANCE:
        raise MjError(f"[{who}] outputs differ from torch's by {worst:.2g}, allowed {TOLERANCE}")


def measure(name: str, core: str, system: Userland, cache: Path) -> dict[str, Any]:
    """One row of the table."""
    folder = cache / name
    folder.mkdir(parents=True, exist_ok=True)
    module, x = SUBJECTS[name].build()
    with torch.no_grad():
        expected = module(x).numpy()
    counts = theirs(exports(SUBJECTS[name], module, x, folder), x.numpy(), expected, core, system)
    mine, multiply_adds = ours(module, x, expected, core, folder)
    counted = [n for n in counts.values() if not isinstance(n, str)]
    if not counted:
        raise MjError(f"[{name}] ONNX Runtime runs no export: {counts}")
    best = min(counted)
    return {
        "model": name,
        "multiply_adds": multiply_adds,
        "instructions": mine,
        "onnx_runtime_instructions": best,
        "onnx_runtime_exports": counts,
        "ratio": best / mine,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Count every model and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--core", choices=CORES, default="cortex-a72")
    parser.add_argument("--models", default="vit-tiny,mobileone-s0,fmvit-s")
    parser.add_argument("--cache", metavar="DIR", type=Path, default=Path("build/arm-peers"))
    parser.add_argument("--check", action="store_true", help="exit 1 where we take more")
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=FutureWarning)  # torch.export
    cache = options.cache.resolve()
    packages = [f"onnxruntime=={ORT}", f"numpy=={NUMPY}"]
    system = make_userland(cache / f"onnxruntime-{ORT}", packages)
    rows = [measure(name, options.core, system, cache) for name in options.models.split(",")]
    _show(rows, options.core)
    if options.json:
        document = {"core": options.core, "threads": 1, "dtype": "float32", "models": rows}
        document["versions"] = {"onnxruntime": ORT, "numpy": NUMPY, "torch": torch.__version__}
        options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return int(options.check and any(row["ratio"] < 1 for row in rows))


def _show(rows: Sequence[Mapping[str, Any]], core: str) -> None:
    title = f"{core}: instructions per inference, one thread, float32"
    table = Table("model", "multiply-adds", "ours", "each", "ONNX Runtime", "ratio", title=title)
    for row in rows:
        table.add_row(
            row["model"],
            f"{row['multiply_adds']:,}",
            f"{row['instructions']:,.0f}",
            f"{row['instructions'] / row['multiply_adds']:.3f}",
            f"{row['onnx_runtime_instructions']:,.0f}",
            f"{row['ratio']:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MjError as error:
        print(f"arm_onnx_runtime: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
