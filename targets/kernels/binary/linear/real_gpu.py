"""Real activations × signs on a GPU: the float32 product, its weights decoded into shared memory.

A weight is ±1.0 (or 0) once it is there, decoded once per tile of rows; multiplying by it is exact,
so a fused multiply-add is an addition. Floor: that of `gemm.gpu` for many rows; for one row the
packed weights, 1/32 of the bytes, take no time, and the chain of additions does.
"""

from __future__ import annotations

from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.targets.kernels.binary.linear.bits_gpu import COLUMNS
from millijoule.targets.kernels.binary.linear.writer import ResultWriter
from millijoule.targets.kernels.binary.words import BITS, words_of
from millijoule.targets.kernels.gemm.gpu import ProductShape, emit_product
from millijoule.targets.target import Isa


def real_gemm(
    x: Any, w: Any, rows: int, inputs: int, outputs: int, writer: ResultWriter, isa: Isa
) -> None:
    """One launch; ``x(row, k, lanes)`` loads inputs, ``w`` is packed [⌈O/64⌉, P·words, 64]."""
    words = words_of(inputs)
    planes = int(w.shape[1]) // words

    def sign(plane: int, k: Any, n: Any) -> Any:
        word = w[n // COLUMNS, plane * words + k // BITS, n % COLUMNS]
        bit = (word >> T.cast(k % BITS, "uint32")) & T.uint32(1)
        return T.float32(1) - T.cast(bit, "float32") * T.float32(2)

    def weight(_: Any, k: Any, n: Any) -> Any:
        value = sign(0, k, n)
        return value if planes == 1 else (value + sign(1, k, n)) * T.float32(0.5)

    emit_product(
        ProductShape(1, rows, outputs, inputs),
        lambda _, row, k: x(row, k, 1),
        weight,
        lambda _, row, n, value: writer.write_row(row, n, [(0, 1, value)], isa),
    )
