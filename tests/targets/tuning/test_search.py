"""MetaSchedule's search as `mj tune` runs it: its processes, and what they leave behind."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import millijoule as mj
from millijoule.targets.target import get_target
from millijoule.targets.tuning.records import TuningRecords, best_of, digest_of, seconds_of
from millijoule.targets.tuning.search import search
from millijoule.targets.tuning.tune import functions_of
from millijoule.verification import verify

TRIALS = 2


def test_a_search_measures_schedules_that_compute_the_function(model: Any, tmp_path: Path) -> None:
    function, _ = functions_of(model)
    host, folder = get_target("host"), tmp_path / "db"
    before, done = dict(os.environ), list[int]()
    folder.mkdir()
    search(function.workload, host, folder, TRIALS, 1, done.append)
    assert done[-1] == TRIALS
    assert dict(os.environ) == before
    records = TuningRecords(folder).all
    assert len(records) == TRIALS
    best = best_of(records, host)
    assert best is not None  # at least one compiled, ran and was timed
    assert 0 < seconds_of(best) < 1
    assert math.isfinite(seconds_of(best))
    mj.build(model, out=tmp_path / "tuned.mjb", tuning_db=folder).close()
    with mj.load(tmp_path / "tuned.mjb") as session:
        assert all(check.passed for check in verify(session))
        kernels = session.manifest.toolchain["tuning"]["kernels"]
    assert list(kernels.values()) == [digest_of(best)]


INTRINSICS = """
import sys
from tvm.s_tir import TensorIntrin
from millijoule.targets.tuning.intrinsics import load_cpu_intrinsics
load_cpu_intrinsics()
known = [n for n in sys.modules if n.startswith("tvm.s_tir.tensor_intrin")]
assert "tvm.s_tir.tensor_intrin" not in known, known  # an import still loads the rest
assert not any("cuda" in name or "rocm" in name for name in known), known
for name in ("dot_16x4_vnni", "dot_4x4_i8i8s32_sdot"):
    assert TensorIntrin.get(name, allow_missing=True) is not None, name
"""


def test_instructions_of_cpus_are_loaded_alone() -> None:
    """In a process that has loaded none before."""
    subprocess.run([sys.executable, "-c", INTRINSICS], check=True, timeout=120)
