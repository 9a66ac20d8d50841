"""Dense layers on NEON: close to the floor in instructions, counted exactly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from fixtures.devices import require

BENCHMARK = Path(__file__).parents[2] / "benchmarks/arm_instructions.py"
FLOOR = 0.25  # one fmla of four lanes for four multiply-adds
MULTIPLY_ADDS = [128 * 192 * 192, 128 * 256 * 1024, 128 * 3 * 256 * 256]
MULTIPLY_ADDS += [28 * 28 * 9 * 64 * 64, 28 * 28 * 9 * 128]
GOALS = [1.5, 1.5, 1.5, 1.5, 2.0]  # the last is depthwise, where loads are nearly as many


def test_instructions_per_multiply_add(tmp_path: Path) -> None:
    """Linear layers and convolutions on a Cortex-A72, bias and stores included."""
    require("qemu:cortex-a72")
    out = tmp_path / "counts.json"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run(
        [sys.executable, str(BENCHMARK), "--json", str(out)],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    document = json.loads(out.read_text())
    assert document["floor"] == FLOOR
    layers = document["layers"]
    assert [layer["multiply_adds"] for layer in layers] == MULTIPLY_ADDS
    for layer, goal in zip(layers, GOALS, strict=True):
        per = layer["instructions"] / layer["multiply_adds"]
        assert FLOOR < per <= goal * FLOOR, layer["layer"]
