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
MULTIPLY_ADDS += [28 * 28 * 9 * 64 * 64] * 2 + [28 * 28 * 9 * 128]
# from and to how many times the floor: Winograd's form executes a quarter of the products, and
# transforms; the last is depthwise, where loads are nearly as many
GOALS = [(1.0, 1.5)] * 4 + [(0.25, 0.5), (1.0, 2.0)]


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
    for layer, (least, most) in zip(layers, GOALS, strict=True):
        per = layer["instructions"] / layer["multiply_adds"]
        assert least * FLOOR < per <= most * FLOOR, layer["layer"]
