"""From a fresh Python process to the first result: import, load, first run.

The device side must work without torch and TVM, so both are made impossible to import here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mjbench import models, onnx_plain
from mjbench.measure import Contender, interleave, ratio
from mjbench.result import CaseResult, Goal, Settings

GOAL_MS = 150.0
OURS_STEP, OURS, ORT = "ours, streaming bundle", "ours, whole sequence", "ONNX Runtime, plain"

_PRELUDE = """
import sys, time, json
start = time.perf_counter_ns()
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "tvm", "tvm_ffi") or name in (
                "millijoule.converters", "millijoule.targets"):
            raise ImportError("not on a device: " + name)
sys.meta_path.insert(0, Refuse())
import numpy as np
numpy_done = time.perf_counter_ns()
"""
_OURS = (
    _PRELUDE
    + """
import millijoule as mj
imported = time.perf_counter_ns()
session = mj.load(sys.argv[1], threads=1)
loaded = time.perf_counter_ns()
x = np.zeros(tuple(json.loads(sys.argv[2])), np.float32)
if session.manifest.streaming:
    session.stream().step({"x": x})
else:
    session.run({"x": x})
done = time.perf_counter_ns()
print(json.dumps([numpy_done - start, imported - numpy_done, loaded - imported, done - loaded]))
"""
)
_ORT = (
    _PRELUDE
    + """
import onnxruntime
imported = time.perf_counter_ns()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
loaded = time.perf_counter_ns()
session.run(None, {"x": np.zeros(tuple(json.loads(sys.argv[2])), np.float32)})
done = time.perf_counter_ns()
print(json.dumps([numpy_done - start, imported - numpy_done, loaded - imported, done - loaded]))
"""
)
PARTS = ("import numpy", "import package", "load", "first run")


def run_startup(settings: Settings) -> CaseResult:
    """Time load and first run in fresh processes, imports reported beside them."""
    plain_folder = settings.plain_model or models.make_folder("plain", settings.work / "plain")
    spiking_folder = settings.model or models.make_folder("spiking-ms", settings.work / "spiking")
    module: Any = models.load_module(plain_folder)
    step, whole = settings.work / "start-step.mjb", settings.work / "start.mjb"
    models.build_bundle(spiking_folder, step, streaming=True)
    models.build_bundle(spiking_folder, whole, streaming=False)
    graph = settings.work / "plain.onnx"
    graph.write_bytes(onnx_plain.sequence_model(module, "gemm"))
    frame, steps = [1, module.features], [1, module.seq_len, module.features]
    parts: dict[str, list[list[int]]] = {OURS_STEP: [], OURS: [], ORT: []}

    def contender(name: str, code: str, file: Path, shape: list[int]) -> Contender:
        def block() -> list[int]:
            spent = _fresh(code, file, shape)
            parts[name].append(spent)
            return [spent[2] + spent[3]]

        return Contender(name, block, setup="fresh process, load + first run; file cache warm")

    contenders = [
        contender(OURS_STEP, _OURS, step, frame),
        contender(OURS, _OURS, whole, steps),
        contender(ORT, _ORT, graph, steps[1:]),
    ]
    rounds = max(3, settings.rounds // 2)
    timings = interleave(contenders, rounds, lambda n: settings.progress(n, rounds))
    medians = {
        name: dict(zip(PARTS, (np.median(rows[1:], axis=0) / 1e6).tolist(), strict=True))
        for name, rows in parts.items()
    }
    return CaseResult(
        name="startup",
        title="Load and first run in a fresh process (torch and TVM not importable)",
        timings=timings,
        ratios=[ratio(timings[ORT], timings[OURS])],
        goals=[
            Goal(f"{n}: ms", timings[n].median_us / 1e3, GOAL_MS, at_most=True)
            for n in (OURS_STEP, OURS)
        ],
        notes=["imports are not in the times above"],
        extra={"parts_ms": medians},
        columns={n: {f"{p} ms": f"{v:.1f}" for p, v in row.items()} for n, row in medians.items()},
    )


def _fresh(code: str, file: Path, shape: list[int]) -> list[int]:
    """Nanoseconds of `PARTS` in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(file), json.dumps(shape)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"a start-up process failed:\n{done.stderr}")
    return [int(ns) for ns in json.loads(done.stdout.splitlines()[-1])]
