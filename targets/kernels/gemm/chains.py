"""The innermost loops of dense products: chains of multiply-adds in registers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.target import Isa

# (row, first k, how many) → that many neighbouring values of x; (k, column, lanes) → weights
LoadX = Callable[[int, Any, int], Any]
LoadW = Callable[[Any, int, int], Any]

HALF = "float16"
# Products that are summed in float16: their rounding is at most 64·2⁻¹¹ = 3 % of Σ|x·w| of a block
# if every error has one sign, about 2⁻¹¹·√(64/3) = 0.2 % of √Σ(x·w)² as they fall
HALF_BLOCK = 64


def accumulate(
    acc: simd.Accumulators,
    extent: int,
    depth: int,
    load_x: LoadX,
    load_w: LoadW,
    isa: Isa,
    before: Callable[[Any], None] | None = None,
) -> None:
    """acc[row, column] += Σ_k x[row, k]·w[k, column], k ascending from 0 to ``extent``.

    ``depth`` values of x are loaded at once and used lane by lane; 1 where they are broadcast. The
    loop over vectors is the inner one where x is broadcast, and the outer one where lanes of it are
    operands: LLVM keeps the order, so that what is live the least needs one register. ``before`` is
    called with k ahead of its multiply-adds.
    """

    def chain(k: Any, count: int) -> None:
        def step(i: int, row: int, vec: tuple[int, int]) -> None:
            weight = load_w(k + i, vec[0], vec[1])
            value = simd.splat(_lane(load_x(row, k, count), i, count), vec[1])
            total = simd.fma(value, weight, acc.get(row, vec), vec[1], isa, acc.dtype)
            acc.set(row, vec, total)

        if before is not None:
            before(k)
        for i in range(count):
            if depth > 1:
                for vec, row in itertools.product(acc.vectors, range(acc.rows)):
                    step(i, row, vec)
            else:
                for row, vec in itertools.product(range(acc.rows), acc.vectors):
                    step(i, row, vec)

    simd.for_blocks(extent, depth, chain)


def accumulate_half(
    acc: simd.Accumulators,
    extent: int,
    depth: int,
    load_x: LoadX,
    load_w: LoadW,
    isa: Isa,
) -> None:
    """`accumulate` in float16 by blocks of `HALF_BLOCK` products, which go into float32 ``acc``."""

    def block(first: Any, size: int) -> None:
        with HalfSums(acc, range(acc.rows)) as part:
            accumulate(
                part,
                size,
                depth,
                lambda r, k, n: simd.convert(load_x(r, first + k, n), HALF, n),
                lambda k, offset, n: simd.convert(load_w(first + k, offset, n), HALF, n),
                isa,
            )

    simd.for_blocks(extent, HALF_BLOCK, block)


def accumulate_for(isa: Isa) -> Callable[..., None]:
    """`accumulate`, or `accumulate_half` where products are multiplied in float16."""
    return accumulate_half if isa.product == HALF else accumulate


class HalfSums:
    """Accumulators of float16 for as long as a ``with`` lasts; then they are added to ``acc``.

    ``rows``: those that take part.
    """

    def __init__(self, acc: simd.Accumulators, rows: Iterable[int]) -> None:
        self._acc, self._rows = acc, list(rows)

    def __enter__(self) -> simd.Accumulators:
        acc = self._acc
        self._part = simd.Accumulators(acc.rows, acc.width, acc.lanes, HALF)
        self._part.fill(lambda _, vec: simd.zeros(vec[1], HALF))
        return self._part

    def __exit__(self, *_: object) -> None:
        for row, vec in itertools.product(self._rows, self._acc.vectors):
            more = simd.convert(self._part.get(row, vec), "float32", vec[1])
            self._acc.set(row, vec, self._acc.get(row, vec) + more)


def _lane(values: Any, index: int, lanes: int) -> Any:
    """Element ``index`` of a vector; on NEON it becomes an operand of the multiply-add itself."""
    return values if lanes == 1 else T.Shuffle([values], [index])
