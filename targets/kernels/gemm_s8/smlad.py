"""int8 products on Cortex-M cores with DSP instructions: two columns in one halfword.

A halfword holds H = 256·w[n+1] + w[n], exactly: |H| ≤ 128·257 < 2¹⁵ but for w = −128 in both, which
packing refuses. A word holds H for two inputs, so SMLAD with two values of x, 16 bits each, adds
256·S[n+1] + S[n]; SXTB16 of the same word leaves w[n], and a second SMLAD adds S[n]. In the end
S[n+1] = (sum − S[n]) / 256, for any |S| < 2²³, which 512 inputs cannot leave: after those, sums
move on to other registers.

Floor per multiply-add: half a double load, SMLAD, SXTB16, SMLAD for four of them: 0.875. Sign
extension of bytes and SMLAD alone, with one column per byte, take 1.125. x is widened once per
block of six columns: 3 instructions for 24 multiply-adds, 1.0 in all. Measured: 1.20: LLVM
pairs few of the loads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import tir
from millijoule.targets.kernels.gemm_s8.units import Block, Unit

COLUMNS = 6  # six sums, two registers of x, two of weights, three addresses
LONGEST = 128  # words of x: 512 · 127 · 128 < 2²³


class SmladUnit(Unit):
    """SMLAD on two columns and two inputs at once."""

    longest = LONGEST

    def __init__(self) -> None:
        super().__init__("smlad", 1, COLUMNS, depth=4, block=_Smlad)

    def pack(self, w: np.ndarray) -> np.ndarray:
        """int8 [K, N] → int32 words: [block][K/4][pair of columns][inputs 0 and 2 | 1 and 3]."""
        if w.min(initial=0) < -127:
            raise ValueError("int8 weights must be -127 to 127, but there is a -128")
        k, n = w.shape
        padded = np.zeros((-(-k // 4) * 4, -(-n // 2) * 2), np.int32)
        padded[:k, :n] = w
        both = 256 * padded[:, 1::2] + padded[:, 0::2]  # [K, pair]
        early, late = (both.reshape(-1, 2, 2, both.shape[1])[:, i] for i in range(2))
        words = (late << 16) | (early & 0xFFFF)  # [K/4, odd, pair]
        words = words.transpose(0, 2, 1)  # [K/4, pair, odd]
        starts = range(0, words.shape[1], COLUMNS // 2)
        return np.concatenate([words[:, s : s + COLUMNS // 2].reshape(-1) for s in starts])


class _Smlad(Block):
    def __init__(self, unit: Unit, w: Any, start: Any, width: int, steps: int) -> None:
        super().__init__(unit, w, start, width, steps)
        self._first = start * steps  # a column has one word for four inputs
        self._pairs = -(-width // 2)
        self._both = [T.alloc_buffer((1,), "int32") for _ in range(self._pairs)]
        self._low = [T.alloc_buffer((1,), "int32") for _ in range(self._pairs)]
        self._x = [T.alloc_buffer((1,), "int32") for _ in range(2)]
        self._short = steps <= LONGEST  # never flushed before the end
        self._clear()

    def add(self, step: Any, x: Any) -> None:
        word = T.reinterpret("int32", x)
        turned = T.call_llvm_pure_intrin("int32", "llvm.fshr.i32", word, word, T.int32(8))
        tir.store(self._x[0], [0], _arm("sxtb16", word))
        tir.store(self._x[1], [0], _arm("sxtb16", turned))
        for pair, (both, low) in enumerate(zip(self._both, self._low, strict=True)):
            for odd, x_pair in enumerate(self._x):
                word = self._w[self._first + step * (2 * self._pairs) + (2 * pair + odd)]
                tir.store(both, [0], _arm("smlad", word, x_pair[0], both[0]))
                tir.store(low, [0], _arm("smlad", _arm("sxtb16", word), x_pair[0], low[0]))

    def flush(self) -> None:
        if self._short:
            return
        for column in range(len(self.vectors)):
            vec = (column, 1)
            self._sums.set(0, vec, self._sums.get(0, vec) + self._split(column))
        self._clear()

    def value(self, at: int, lanes: int) -> Any:
        return self._split(at) if self._short else super().value(at, lanes)

    def _split(self, column: int) -> Any:
        pair, second = divmod(column, 2)
        low = self._low[pair][0]
        return T.shift_right(self._both[pair][0] - low, T.int32(8)) if second else low

    def _clear(self) -> None:
        for register in (*self._both, *self._low):
            tir.store(register, [0], T.int32(0))


def _arm(name: str, *args: Any) -> Any:
    return T.call_llvm_pure_intrin("int32", f"llvm.arm.{name}", *args)
