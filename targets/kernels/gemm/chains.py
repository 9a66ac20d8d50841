"""The innermost loops of dense products: chains of multiply-adds in registers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels import simd
from millijoule.targets.target import Isa

# (row, first k, how many) → that many neighbouring values of x; (k, column, lanes) → weights
LoadX = Callable[[int, Any, int], Any]
LoadW = Callable[[Any, int, int], Any]


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
            acc.set(row, vec, simd.fma(value, weight, acc.get(row, vec), vec[1], isa))

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


def _lane(values: Any, index: int, lanes: int) -> Any:
    """Element ``index`` of a vector; on NEON it becomes an operand of the multiply-add itself."""
    return values if lanes == 1 else T.Shuffle([values], [index])
