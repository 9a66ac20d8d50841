"""Bit GEMM on tensor cores: the kernel with the instruction replaced by its definition.

PoCL has no tensor cores. Here every lane puts its fragments into shared memory, and calculates its
four sums from the registers of the lanes that hold rows and columns, by NVIDIA's layout written out
element by element (PTX ISA, "Matrix fragments for mma.m16n8k256"). What stays unproved is that the
instruction does what that page says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm.script.ir_builder.tirx as T

from fixtures.bit_kernels import signs
from fixtures.gpu import Call, check
from fixtures.kernels import types_of
from fixtures.operands import with_zeros
from millijoule.converters.ops.binary_linear import binary_linear_reference
from millijoule.targets.jetson.cuda import cuda_source, cuda_target
from millijoule.targets.jetson.multiprocessor import multiprocessor
from millijoule.targets.jetson.nvrtc import compile_cubin
from millijoule.targets.kernels import KernelForm
from millijoule.targets.kernels.binary import linear
from millijoule.targets.kernels.binary.linear import binary_linear, mma_gpu
from millijoule.targets.kernels.threads import Registers, Shared, barrier
from millijoule.targets.target import GPU_BIT_MMA


def emulated(sums: Registers, number: int, a: list[Any], b: list[Any]) -> None:
    """sums += popcount(A & B) of a warp, through shared memory; the block has 128 threads."""
    me = emulated.thread  # type: ignore[attr-defined]
    first, lane = me // 32 * 32, me % 32
    words_a, words_b = Shared((128, 4), "uint32"), Shared((128, 2), "uint32")
    for register, word in enumerate(a):
        words_a[me, register] = word
    for register, word in enumerate(b):
        words_b[me, register] = word
    barrier()
    for register in range(4):
        row = lane // 4 + (8 if register >= 2 else 0)
        column = lane % 4 * 2 + register % 2
        with T.serial(0, 256 // 32) as k:
            # A: bits 0…127 of rows 0…7 in register 0, of rows 8…15 in 1; bits 128…255 in 2 and 3
            holder_a = first + row % 8 * 4 + k % 4
            # B: bits 0…127 of its columns in register 0, bits 128…255 in 1
            holder_b = first + column * 4 + k % 4
            both = words_a[holder_a, row // 8 + k // 4 * 2] & words_b[holder_b, k // 4]
            at = 4 * number + register
            sums[at] = sums[at] + T.cast(T.popcount(both), "int32")
    barrier()


def layer(rows: int, inputs: int, outputs: int, zeros: float) -> tuple[KernelForm, list[Any]]:
    """A layer of signs and its operands, results being the sums themselves."""
    x, w = with_zeros((rows, inputs), 3, zeros), signs((outputs, inputs), zeros)
    arrays = [x, w, np.ones(1, np.float32), np.zeros(outputs, np.float32)]
    attrs = {"activations": "sign", "ternary": bool(zeros)}
    return binary_linear(attrs, types_of(arrays), GPU_BIT_MMA), arrays


@pytest.fixture
def by_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel with `emulated` for the instruction."""
    block = mma_gpu._Block.__init__

    def init(self: Any, planes: Any, w: Any, rows: int, words: int, at: Any, mma: Any) -> None:
        emulated.thread = at[2]  # type: ignore[attr-defined]
        block(self, planes, w, rows, words, at, emulated)

    monkeypatch.setattr(mma_gpu._Block, "__init__", init)


@pytest.mark.usefixtures("by_definition")
def test_fragments_and_sums(tmp_path: Path) -> None:
    calls = {}
    for rows, inputs, outputs, zeros in ((9, 33, 7, 0.0), (33, 300, 70, 0.1), (32, 256, 64, 0.0)):
        form, arrays = layer(rows, inputs, outputs, zeros)
        expected = binary_linear_reference(*arrays)
        calls[f"{rows}x{inputs}x{outputs}"] = Call(form, arrays, [expected])
    check(tmp_path, calls, sms=())  # machine code is that of the real instruction, below


@pytest.mark.parametrize("sm", [80, 86, 87])
def test_machine_code(sm: int) -> None:
    assert multiprocessor(sm).bit_mma
    form, _ = layer(128, 768, 768, 0.0)
    source = cuda_source({"kernel": form.func}, cuda_target(sm)).code
    assert "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc" in source
    for kernel in compile_cubin(source, sm).kernels.values():
        assert (kernel.spills, kernel.stack) == (0, 0)


def test_one_row_is_counted() -> None:
    form, _ = layer(1, 768, 768, 0.0)
    assert "mma.sync" not in cuda_source({"kernel": form.func}, cuda_target(87)).code
    assert linear.FEW_ROWS == 8
