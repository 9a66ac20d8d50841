"""Real activations × signs by tables: the 16 sums ±x₀ ±x₁ ±x₂ ±x₃ of four inputs, looked up.

Four bits of a word of weights choose one of them, in every lane that of its own output. AVX-512
looks up sixteen entries in one register (``vpermps``), AVX2 eight, and the fourth bit negates what
it finds (±a ±b ±c −x₃ = −(∓a ∓b ∓c +x₃)); a scalar core loads from memory.

Per row, vector of outputs and four inputs: a look-up and an addition (3 instructions on AVX2),
where a product takes four multiply-adds. A table costs 7 instructions, once for all outputs.

Floor: look-ups, one a cycle; for one row the bytes of the weights, one bit each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.kernels.binary.words import TOP, flip_signs, with_signs, word
from millijoule.targets.target import Isa

GROUP = 4  # inputs of a table
PER_WORD = 8  # groups in a word


def table_entries(isa: Isa) -> int:
    """Entries of a table: all, or those with +x₃ where the sign is applied after the look-up."""
    return 8 if isa.name == "avx2" else 16


def recode(words: np.ndarray, isa: Isa) -> np.ndarray:
    """Packed weights for the tables of ``isa``: on AVX2 a fourth bit inverts the other three."""
    if table_entries(isa) == 16:
        return words
    negated = (words >> np.uint32(3)) & np.uint32(0x11111111)
    return words ^ (negated * np.uint32(7))


def build_table(tables: Any, index: list[Any], x: list[Any], isa: Isa) -> None:
    """``tables[*index, :]`` of four scalars."""
    entries = table_entries(isa)
    lanes = min(entries, max(isa.lanes, 1))
    for start in range(0, entries, lanes):
        total = simd.splat(x[3], lanes)
        if entries == 16:
            total = flip_signs_of_index(x[3], 3, start, lanes)
        for j in (2, 1, 0):
            total = total + flip_signs_of_index(x[j], j, start, lanes)
        simd.save(tables, index, start, lanes, total)


def flip_signs_of_index(value: Any, bit: int, start: int, lanes: int) -> Any:
    """``value`` in lanes l, negated where ``bit`` of the entry ``start + l`` is set."""
    pattern = sum(1 << e for e in range(16) if e >> bit & 1)
    return flip_signs(simd.splat(value, lanes), word(pattern), start, lanes)


def look_up(tables: Any, index: list[Any], weights: Any, group: int, lanes: int, isa: Isa) -> Any:
    """In every lane the entry of ``tables[*index]`` that bits 4·group … of ``weights`` choose."""
    shifted = weights >> word(GROUP * group, lanes)
    if lanes == 1:
        return simd.load(tables, index, T.cast(shifted & word(15), "int32"), 1)
    table = simd.load(tables, index, 0, lanes)
    chosen = T.reinterpret(f"int32x{lanes}", shifted)
    if isa.name == "avx512":
        name = "llvm.x86.avx512.permvar.sf.512"
        return T.call_llvm_pure_intrin(f"float32x{lanes}", name, table, chosen)
    found = T.call_llvm_pure_intrin(f"float32x{lanes}", "llvm.x86.avx2.permps", table, chosen)
    sign = (weights << word(28 - GROUP * group, lanes)) & word(TOP, lanes)
    return with_signs(found, sign, lanes)
