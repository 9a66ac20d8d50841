"""How kernels are compiled for a single core: no threads; in C, no vectors and no intrinsics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.errors import UnsupportedError
from millijoule.targets.cpu.lower import compile_object
from millijoule.targets.kernels import simd
from millijoule.targets.mcu.csource import kernels_to_c
from millijoule.targets.target import get_target

LINE = TensorType((64,), "float32")
M4 = get_target("cortex-m4")


def doubled(parallel: bool = False, lanes: int = 1) -> Any:
    """y = x + x."""
    with tir.kernel("double", [LINE], [LINE]) as k:
        x, y = k.buffers
        with (T.parallel if parallel else T.serial)(0, 64 // lanes) as i:
            value = simd.load(x, [], i * lanes, lanes)
            simd.save(y, [], i * lanes, lanes, value + value)
    return k.func


@pytest.mark.parametrize("parallel", [False, True])
def test_parallel_loops_are_plain_ones(parallel: bool, tmp_path: Path) -> None:
    path = tmp_path / "k.o"
    assert compile_object({"mjk": doubled(parallel)}, M4, path) == 0
    assert b"TVMBackendParallelLaunch" not in path.read_bytes()
    code = kernels_to_c({"mjk": doubled(parallel)}, M4)
    assert "omp" not in code.source
    assert code.source.count("for (") == 1


def test_c_and_its_header() -> None:
    code = kernels_to_c({"mjk_a": doubled(), "mjk_b": doubled()}, M4)
    for name in ("mjk_a", "mjk_b"):
        assert f"int32_t {name}(float *restrict " in code.header
        assert code.source.count(f"int32_t {name}(") == 1  # prototypes are in the header
    assert code.workspace == 0


def test_vectors_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="computes on vectors"):
        kernels_to_c({"mjk": doubled(lanes=4)}, M4)


def test_multiply_add_is_written_out_and_other_intrinsics_are_refused() -> None:
    def kernel(name: str, *constants: float) -> Any:
        with tir.kernel("k", [LINE], [LINE]) as k:
            x, y = k.buffers
            with T.serial(0, 64) as i:
                operands = (x[i], *(T.float32(c) for c in constants))
                tir.store(y, [i], T.call_llvm_pure_intrin("float32", name, *operands))
        return k.func

    code = kernels_to_c({"mjk": kernel("llvm.fma.f32", 2, 3)}, M4)
    assert "* 2.0" in code.source
    assert "+ 3.0" in code.source
    with pytest.raises(UnsupportedError, match=r"kernel mjk needs llvm.canonicalize"):
        kernels_to_c({"mjk": kernel("llvm.canonicalize.f32")}, M4)
