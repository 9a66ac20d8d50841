"""int8 products and spike layers on emulated ARM Linux cores: SDOT and SMLAL are instructions."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fixtures.devices import require
from fixtures.gemm_s8 import gemm_s8_call, gemm_s8_reference
from fixtures.kernels import types_of
from fixtures.operands import int8, spikes
from millijoule.converters.ops import VOCABULARY, TensorType
from millijoule.converters.ops.spike_linear import spike_linear_reference
from millijoule.remote.devices import get_device
from millijoule.targets.compilers import find_compiler
from millijoule.targets.cpu.lower import compile_object
from millijoule.targets.kernels import CPU_KERNELS, KernelForm
from millijoule.targets.target import get_target

CORES = ("cortex-a72", "cortex-a76", "armv7")
Call = tuple[KernelForm, Sequence[np.ndarray], Sequence[TensorType]]

MAIN = """
#include <stdio.h>
int kernel({types});
static unsigned char operands[{size}] __attribute__((aligned(64)));
static unsigned char results[{bytes}] __attribute__((aligned(64)));
int main(void) {{
  if (fread(operands, 1, sizeof operands, stdin) != sizeof operands) return 2;
  if (kernel({args})) return 3;
  return fwrite(results, 1, sizeof results, stdout) != sizeof results;
}}
"""


def run(core: str, call: Call, folder: Path) -> np.ndarray:
    """The first result of one kernel on ``core``."""
    form, arrays, results = call
    operands, blob = [], b""
    for i, array in enumerate(arrays):
        packed = form.packed[i](array) if i in form.packed else array
        blob += bytes(-len(blob) % 64)
        operands.append(f"operands + {len(blob)}")
        blob += np.ascontiguousarray(packed).tobytes()
    end, outputs = 0, []
    for t in (*results, *form.scratch):
        outputs.append(f"results + {end}")
        end += -(-t.nbytes // 64) * 64
    args = [*operands, *outputs]
    source = MAIN.format(
        types=", ".join(["void *"] * len(args)), size=len(blob), bytes=end, args=", ".join(args)
    )
    (folder / "main.c").write_text(source)
    target, device = get_target(core), get_device(f"qemu:{core}")
    compile_object({"kernel": form.func}, target, folder / "kernel.o")
    files = [str(folder / name) for name in ("main.c", "kernel.o")]
    find_compiler(target, os.environ).run([*files, "-lm", "-o", str(folder / "program")])
    command = [device.emulator, "-cpu", device.cpu, "-L", device.sysroot, str(folder / "program")]
    done = subprocess.run(command, input=blob, capture_output=True, check=True, timeout=120)
    first = np.frombuffer(done.stdout, results[0].dtype, results[0].size)
    return first.reshape(results[0].shape)


@pytest.mark.parametrize("core", CORES)
def test_products(core: str, tmp_path: Path) -> None:
    require(f"qemu:{core}")
    x, w = int8((1, 3, 65), 3), int8((1, 65, 70))
    x[0, 0], w[0, :, -1] = -127, 127  # the largest sums there are
    y = run(core, gemm_s8_call(x, w, get_target(core).isa), tmp_path)
    np.testing.assert_array_equal(y, gemm_s8_reference(x, w))


@pytest.mark.parametrize("core", CORES)
def test_spike_layers(core: str, tmp_path: Path) -> None:
    require(f"qemu:{core}")
    s, w = spikes((1, 4, 300)), int8((300, 71))
    s[0, 0], w[:, 0] = 1, -128  # the farthest from zero that 16-bit sums can get
    arrays = [s, w, np.arange(71, dtype=np.int32) * 70000]
    types = types_of(arrays)
    form = CPU_KERNELS["spike_linear"]({"binary": True}, types, get_target(core).isa)
    results = VOCABULARY["spike_linear"].results({"binary": True}, types)
    y = run(core, (form, arrays, results), tmp_path)
    np.testing.assert_array_equal(y, spike_linear_reference(*arrays))
