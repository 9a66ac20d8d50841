"""VPDPBUSD (AVX-512 VNNI, AVX-VNNI): four products of an unsigned and a signed byte a lane, added.

x is signed, so the sign bit of each of its bytes is turned: x + 128 is unsigned, and

    Σ_k x[k]·w[k, n] = Σ_k (x[k] + 128)·w[k, n] − 128·Σ_k w[k, n].

The last term is known at build time: it lies in front of the weights of a block as one more step of
four bytes a column, and sums start from it. All is exact, for int32 sums wrap around.

Instructions of a step of R rows and V vectors of L lanes: R·V products, V loads of weights, and for
every row a broadcast and a turn of signs, for 4·L·R·V multiply-adds. With AVX-512 and a 6×64 tile
that is (24 + 4 + 12)/1536 = 0.026, of which the products are 0.0156. Measured on one core of a Zen
5 (floor: 4 × the rate of float32, 1064 GOP/s): 1049 for 197×768×192 and 128×768×768.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.gemm.tile import tallest
from millijoule.targets.kernels.gemm_s8.units import Block, Unit
from millijoule.targets.target import Isa

_SIGNS = -0x7F7F7F80  # 0x80808080
_NAMES = {8: "llvm.x86.avx512.vpdpbusd.256", 16: "llvm.x86.avx512.vpdpbusd.512"}


class VnniUnit(Unit):
    """Weights as [block][1 + steps][column][4], the correction in front."""

    def __init__(self, isa: Isa) -> None:
        vectors = 4 if isa.registers >= 32 else 2
        rows = tallest(vectors, isa)
        super().__init__("vnni", isa.lanes, vectors, depth=4, whole=True, block=_Vnni, rows=rows)

    def pack(self, w: np.ndarray) -> np.ndarray:
        k, n = w.shape
        steps = -(-k // 4)
        padded = np.zeros((steps * 4, self.filled(n)), np.int8)
        padded[:k, :n] = w
        correction = -128 * padded.astype(np.int64).sum(axis=0)
        front = correction.astype("<i4").view(np.int8).reshape(1, -1, 4)
        shaped = np.concatenate([front, padded.reshape(steps, 4, -1).transpose(0, 2, 1)])
        starts = range(0, shaped.shape[1], self.columns)
        return np.concatenate([shaped[:, s : s + self.columns].reshape(-1) for s in starts])


class _Vnni(Block):
    def __init__(self, unit: Unit, w: Any, start: Any, width: int, steps: int) -> None:
        super().__init__(unit, w, start, width, steps + 1)
        self._sums.fill(lambda _, vec: self._correction(vec))
        self._x = T.alloc_buffer((1,), "int32")

    def add(self, step: Any, x: Any) -> None:
        word = T.reinterpret("int32", x)
        T.buffer_store(self._x, T.bitwise_xor(word, T.int32(_SIGNS)), [0])
        super().add(step + 1, x)

    def _correction(self, vec: tuple[int, int]) -> Any:
        return T.reinterpret(simd.vector_type("int32", vec[1]), self._weights(0, vec))

    def _multiply(self, step: Any, vec: tuple[int, int], x: Any) -> None:
        lanes = vec[1]
        value = T.reinterpret(f"int8x{4 * lanes}", simd.splat(self._x[0], lanes))
        args = self._sums.get(0, vec), value, self._weights(step, vec)
        call = T.call_llvm_pure_intrin(f"int32x{lanes}", _NAMES[lanes], *args)
        self._sums.set(0, vec, call)
