"""Bits in words: the layout of signs, how they are counted, and how comparisons become words.

Element ``k`` of a row is bit ``k mod 32`` of word ``k // 32``; bits behind the last element are 0.
A row of activations has two planes: *negative* (x < 0) and *nonzero* (x ≠ 0). Weights of ±1 need
the negative plane alone. With a = sign(x), w = ±1 and popcounts over the words of a row

    Σ a·w = pop(nonzero) − 2·pop((negative_x ^ negative_w) & nonzero)

A weight of 0 is the mean of +1 and −1: layers that have one get two planes of weights, which lie
behind one another like a row twice as long, and the factor 2 becomes 1.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd

BITS = 32
WORD = "uint32"
TOP = 0x80000000  # the bit of a word that is a float's sign
TERNARY = "ternary"  # attribute of a kernel: whether a weight is 0; assumed if it is not known


def words_of(elements: int) -> int:
    """Words that hold the bits of ``elements`` values."""
    return -(-elements // BITS)


def pack_bits(bits: np.ndarray) -> np.ndarray:
    """bool [..., K] → uint32 [..., ⌈K/32⌉], zero-padded."""
    padded = np.zeros((*bits.shape[:-1], words_of(bits.shape[-1]) * BITS), bool)
    padded[..., : bits.shape[-1]] = bits
    return np.packbits(padded, axis=-1, bitorder="little").view("<u4").astype(np.uint32)


def sign_planes(w: np.ndarray) -> np.ndarray:
    """Weights [..., K] of -1, 0, +1 → negative planes [..., P·⌈K/32⌉]; P is 2 if there is a 0."""
    planes = [w < 0] if w.all() else [w < 0, w <= 0]
    return np.concatenate([pack_bits(p) for p in planes], axis=-1)


def has_zero(w: np.ndarray) -> bool:
    """The value of `TERNARY` for constant weights."""
    return bool((w == 0).any())


def flip_signs(values: Any, bits: Any, first: int, lanes: int) -> Any:
    """float32 ``values``, negated in lane l if bit ``first + l`` of ``bits`` is set."""
    up = BITS - 1 - first if lanes == 1 else T.ramp(BITS - 1 - first, -1, lanes)
    up = T.uint32(up) if lanes == 1 else T.reinterpret(f"uint32x{lanes}", up)
    sign = (simd.splat(bits, lanes) << up) & word(TOP, lanes)
    return with_signs(values, sign, lanes)


def with_signs(values: Any, signs: Any, lanes: int) -> Any:
    """float32 ``values`` negated where the top bit of ``signs`` is set; its other bits are 0."""
    raw = T.reinterpret(simd.vector_type(WORD, lanes), values)
    return T.reinterpret(simd.vector_type("float32", lanes), raw ^ signs)


def word(value: int, lanes: int = 1) -> Any:
    """The constant ``value`` in every lane."""
    return simd.splat(T.uint32(value), lanes)


def popcount(bits: Any, lanes: int) -> Any:
    """int32: set bits of every word. Written out for one lane, as C has no word for it."""
    if lanes > 1:
        return T.reinterpret(f"int32x{lanes}", T.popcount(bits))
    pairs = bits - ((bits >> T.uint32(1)) & word(0x55555555))
    fours = (pairs & word(0x33333333)) + ((pairs >> T.uint32(2)) & word(0x33333333))
    eights = (fours + (fours >> T.uint32(4))) & word(0x0F0F0F0F)
    return T.cast((eights * word(0x01010101)) >> T.uint32(24), "int32")


def weighted(all_: Any, minus: Any, lanes: int) -> Any:
    """pop(all) − 2·pop(minus)."""
    twice = popcount(minus, lanes) << simd.splat(T.int32(1), lanes)
    return popcount(all_, lanes) - twice


def byte_sums(bytes_: Any, lanes: int) -> Any:
    """int32: the sum of the four bytes of every word (``bytes_`` as words)."""
    pairs = (bytes_ & word(0x00FF00FF, lanes)) + (
        (bytes_ >> word(8, lanes)) & word(0x00FF00FF, lanes)
    )
    total = (pairs + (pairs >> word(16, lanes))) & word(0xFFFF, lanes)
    return T.reinterpret(simd.vector_type("int32", lanes), total)


def lanes_of_word(bits: Any, first: Any, lanes: int) -> Any:
    """Booleans: bit ``first + l`` of the word ``bits`` in lane l."""
    shifted = simd.splat(bits >> T.cast(first, WORD), lanes)
    if lanes > 1:
        shifted = shifted >> T.ramp(T.uint32(0), T.uint32(1), lanes)
    return (shifted & word(1, lanes)) != word(0, lanes)


def word_of_lanes(condition: Any, lanes: int) -> Any:
    """A comparison of 8 or 16 lanes as the low bits of one uint32, lane 0 lowest.

    LLVM makes it a move out of a mask register, or ``vmovmskps``.
    """
    # T.reinterpret refuses: to TVM a bool has eight bits, to LLVM it has one
    mask = tvm.ir.Call("tirx.reinterpret", [condition], ret_ty=f"uint{lanes}")
    return T.cast(mask, WORD)


def gather_word(
    vectors: Sequence[tuple[int, int]],
    condition: Callable[[tuple[Any, int]], Any],
    lanes: int,
) -> Any:
    """uint32 whose bit (offset + lane) is ``condition((offset, lanes))`` of that lane.

    ``vectors`` cover at most 32 elements. Vectors of 8 or 16 lanes leave the vector unit as masks;
    bits of smaller ones meet in the lanes of one register first, which are then added up.
    """
    whole = [v for v in vectors if v[1] == lanes > 1]
    singles = [v for v in vectors if v not in whole]
    parts = []
    if lanes in (8, 16):
        parts = [word_of_lanes(condition(v), lanes) << T.uint32(v[0]) for v in whole]
    elif whole:
        one = simd.splat(T.uint32(1), lanes)
        spread = word(0, lanes)
        for offset, _ in whole:
            bit = one << T.ramp(T.uint32(offset), T.uint32(1), lanes)
            spread = spread | T.Select(condition((offset, lanes)), bit, word(0, lanes))
        name = f"llvm.vector.reduce.add.v{lanes}i32"
        parts = [T.call_llvm_pure_intrin(WORD, name, spread)]
    if lanes == 1 and len(singles) > _UNROLLED:
        return _gather_in_a_loop(len(singles), condition)
    parts += [T.cast(condition(v), WORD) << T.uint32(v[0]) for v in singles]
    return functools.reduce(operator.or_, parts)


_UNROLLED = 4


def _gather_in_a_loop(width: int, condition: Callable[[tuple[Any, int]], Any]) -> Any:
    total = T.alloc_buffer((1,), WORD)
    T.buffer_store(total, word(0), [0])
    with T.serial(0, width) as i:
        T.buffer_store(total, total[0] | (T.cast(condition((i, 1)), WORD) << T.cast(i, WORD)), [0])
    return total[0]
