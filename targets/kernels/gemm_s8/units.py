"""How instruction sets multiply and add bytes: layouts of weights, registers, floors.

Instructions per multiply-add in the innermost loop, one row of results:

- "smlad" (Cortex-M4 and M7): see the module `smlad`, 0.875;
- "vmladav" (MVE): sixteen products are added to a core register; a load and that instruction for
  sixteen, 0.125;
- "sdot" (NEON with dot products): SDOT by element, four inputs of four columns; with half a paired
  load for sixteen, 0.09;
- "vnni" (x86): see the module `vnni`, 1/64 with AVX-512;
- "pmaddwd" (x86): bytes are widened by the load, pairs of inputs multiplied and added; three
  instructions for 8, 16 or 32;
- "widen": bytes are widened, without any intrinsic. On NEON to 16 bits, then multiplied and added
  by SMLAL, four at a time: 0.44.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.gemm.tile import tallest
from millijoule.targets.target import Isa

Scalar = Callable[[Any], Any]  # i → value i of what is left over


class Block:
    """int32 sums of ``width`` columns from ``start``; this one widens bytes to int32.

    ``vectors`` are what is written: (offset, lanes). Weights lie as [step][column][input], behind
    those of the ``start`` columns before them.
    """

    def __init__(self, unit: Unit, w: Any, start: Any, width: int, steps: int) -> None:
        self._unit, self._w, self._origin = unit, w, start * steps * unit.depth
        self.vectors = simd.vectors(width, unit.lanes)
        self._width = unit.filled(width)
        self._sums = simd.Accumulators(1, self._width, unit.lanes, "int32")
        self._sums.fill(lambda _, vec: simd.zeros(vec[1], "int32"))

    def add(self, step: Any, x: Any) -> None:
        """Add the products of step ``step`` with ``x``: as many int8 as the unit's depth."""
        for vec in self._sums.vectors:
            self._multiply(step, vec, x)

    def add_rest(self, step: Any, x: Scalar, count: int) -> None:
        """The last step, of ``count`` values only."""
        self.add(step, _gather(x, count, self._unit.depth))

    def flush(self) -> None:
        """Called after at most `Unit.longest` steps."""

    def value(self, at: int, lanes: int) -> Any:
        """int32 sums of ``lanes`` columns."""
        return self._sums.part(0, at, lanes)

    def _weights(self, step: Any, vec: tuple[int, int]) -> Any:
        """All inputs of the columns of ``vec``, one column after the other."""
        depth = self._unit.depth
        first = self._origin + step * (self._width * depth) + vec[0] * depth
        return self._w[simd.lanes_at(first, vec[1] * depth)]

    def _multiply(self, step: Any, vec: tuple[int, int], x: Any) -> None:
        # both are seen to be 16 bits wide: NEON multiplies those into 32 bits and adds
        weights = simd.convert(self._weights(step, vec), "int16", vec[1])
        value = simd.splat(T.cast(x, "int16"), vec[1])
        a, b = (simd.convert(v, "int32", vec[1]) for v in (weights, value))
        self._accumulate(vec, a * b)

    def _accumulate(self, vec: tuple[int, int], products: Any) -> None:
        self._sums.set(0, vec, self._sums.get(0, vec) + products)


class Unit:
    """A way to multiply: ``columns`` of a block, ``depth`` inputs of a step, ``lanes`` of sums."""

    longest = 1 << 30  # steps between two flushes

    def __init__(
        self,
        name: str,
        lanes: int,
        vectors: int,
        depth: int = 1,
        whole: bool = False,
        block: type[Block] = Block,
        rows: int = 1,
    ) -> None:
        self.name, self.lanes, self.columns, self.depth = name, lanes, lanes * vectors, depth
        self._whole, self._block = whole, block
        self.rows = rows  # of results computed beside one another

    def filled(self, width: int) -> int:
        """Columns that are computed for ``width``: whole vectors where there are no others."""
        return -(-width // self.lanes) * self.lanes if self._whole else width

    def pack(self, w: np.ndarray) -> np.ndarray:
        """int8 [K, N] → one row of bytes: [block][step][column][input], filled up with zeros."""
        k, n = w.shape
        steps = -(-k // self.depth)
        padded = np.zeros((steps * self.depth, self.filled(n)), np.int8)
        padded[:k, :n] = w
        shaped = padded.reshape(steps, self.depth, -1).transpose(0, 2, 1)
        starts = range(0, shaped.shape[1], self.columns)
        return np.concatenate([shaped[:, s : s + self.columns].reshape(-1) for s in starts])

    def block(self, w: Any, start: Any, width: int, steps: int) -> Block:
        """The sums of one block over packed weights ``w``."""
        return self._block(self, w, start, width, steps)


def _gather(x: Scalar, count: int, depth: int) -> Any:
    """``count`` values and zeros: one int8, or a vector of ``depth``."""
    if depth == 1:
        return x(0)
    kept = T.alloc_buffer((depth,), "int8")
    for i in range(depth):
        T.buffer_store(kept, x(i) if i < count else T.int8(0), [i])
    return kept[simd.lanes_at(0, depth)]


_PMADDWD = {
    4: "llvm.x86.sse2.pmadd.wd",
    8: "llvm.x86.avx2.pmadd.wd",
    16: "llvm.x86.avx512.pmaddw.d.512",
}


class _Pairs(Block):
    """PMADDWD: two inputs of 16 bits a lane."""

    def _multiply(self, step: Any, vec: tuple[int, int], x: Any) -> None:
        lanes = vec[1]
        weights = simd.convert(self._weights(step, vec), "int16", 2 * lanes)
        pair = T.reinterpret("int32", T.cast(x, "int16x2"))
        pairs = T.reinterpret(f"int16x{2 * lanes}", T.broadcast(pair, lanes))
        name = _PMADDWD[lanes]
        self._accumulate(vec, T.call_llvm_pure_intrin(f"int32x{lanes}", name, weights, pairs))


class _Dots(Block):
    """SDOT: four inputs of 8 bits a lane."""

    def _multiply(self, step: Any, vec: tuple[int, int], x: Any) -> None:
        values = T.reinterpret("int8x16", T.broadcast(T.reinterpret("int32", x), 4))
        args = self._sums.get(0, vec), self._weights(step, vec), values
        name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
        self._sums.set(0, vec, T.call_llvm_pure_intrin("int32x4", name, *args))


class _Across(Block):
    """VMLADAV: sixteen inputs of one column."""

    def _multiply(self, step: Any, vec: tuple[int, int], x: Any) -> None:
        signed = T.int32(0), T.int32(0), T.int32(0)  # not unsigned, not subtracted, not exchanged
        args = self._sums.get(0, vec), x, self._weights(step, vec)
        name = "llvm.arm.mve.vmldava.v16i8"
        self._sums.set(0, vec, T.call_llvm_pure_intrin("int32", name, *signed, *args))


def unit_of(isa: Isa) -> Unit:
    """The unit of an instruction set."""
    from millijoule.targets.kernels.gemm_s8.smlad import SmladUnit
    from millijoule.targets.kernels.gemm_s8.vnni import VnniUnit

    if isa.int8 == "dsp":
        return SmladUnit()
    if isa.int8 == "mve":
        return Unit("vmladav", 1, 4, depth=16, block=_Across)
    if isa.int8 == "vnni":
        return VnniUnit(isa)
    if isa.int8 == "dot":
        return Unit("sdot", 4, 8, depth=4, whole=True, block=_Dots)
    if isa.name in ("avx512", "avx2", "sse2"):
        rows = tallest(4, isa)
        return Unit("pmaddwd", isa.lanes, 4, depth=2, whole=True, block=_Pairs, rows=rows)
    if isa.name == "neon":
        return Unit("widen_neon", 2 * isa.lanes, isa.registers // 4)
    return Unit(f"widen_{isa.name}", isa.lanes, 4)
