"""Scheduled ``binary_linear``: signs × signs by counting bits (`bits`), real × signs (`real`).

`bit_linear` is the general form: its activations come as floats or as planes that another kernel
has packed, an elementwise epilogue follows the bias, and the result leaves as floats, as planes for
the next layer, or both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.sizes import most
from millijoule.targets.kernels.binary.linear.bits import BitGemm, bit_tile, pack_bit_weights
from millijoule.targets.kernels.binary.linear.bits_gpu import FEW_ROWS, bit_gemm
from millijoule.targets.kernels.binary.linear.decoded import DecodedGemm, decoded_type, decodes
from millijoule.targets.kernels.binary.linear.mma_gpu import mma_gemm
from millijoule.targets.kernels.binary.linear.real import (
    RealGemm,
    for_tiles,
    real_tile,
    tables_type,
)
from millijoule.targets.kernels.binary.linear.real_gpu import real_gemm
from millijoule.targets.kernels.binary.linear.tables import recode
from millijoule.targets.kernels.binary.linear.writer import ResultWriter
from millijoule.targets.kernels.binary.planes import (
    Planes,
    pack_row,
    pack_rows,
    planes_type,
    rows_of,
)
from millijoule.targets.kernels.binary.words import BITS, TERNARY, has_zero, words_of
from millijoule.targets.kernels.epilogue import Step
from millijoule.targets.kernels.form import MAX_CHUNKS, KernelForm, parallel_chunks
from millijoule.targets.target import Isa

__all__ = ["BitLinear", "binary_linear", "bit_linear", "emits_planes"]


@dataclass(frozen=True)
class BitLinear:
    """What one kernel does. The number of ``rows`` may vary (a `Size`).

    ``steps``: the epilogue behind the bias; ``real``: x are not signs. ``packed``: x comes as
    planes. ``emits``: what leaves, "floats", "planes" or both in this order. ``above``: planes take
    values up to it for 0.
    """

    rows: int
    inputs: int
    outputs: int
    ternary: bool = True
    real: bool = False
    steps: tuple[Step, ...] = ()
    packed: bool = False
    emits: tuple[str, ...] = ("floats",)
    above: float | None = None

    @property
    def most_rows(self) -> int:
        """What forms and tiles are chosen for."""
        return most(self.rows)

    def columns(self, isa: Isa) -> int:
        """Outputs of a tile."""
        tile = real_tile if self.real else bit_tile
        return tile(self.most_rows, self.outputs, isa).columns

    def weights_type(self, isa: Isa) -> TensorType:
        """Type of the packed weights."""
        columns = self.columns(isa)
        words = words_of(self.inputs) * (2 if self.ternary else 1)
        return TensorType((-(-self.outputs // columns), words, columns), "uint32")

    def pack(self, w: np.ndarray, isa: Isa) -> np.ndarray:
        """Weights int8 [O, K] as the kernel wants them."""
        packed = pack_bit_weights(w, self.columns(isa))
        if self.ternary and not has_zero(w):  # the second plane is the first
            packed = np.concatenate([packed, packed], axis=1)
        return recode(packed, isa) if self.real else packed

    @property
    def operations(self) -> int:
        """Vector instructions and the like, for the choice whether threads pay."""
        per_input = 0.25 if self.real else 2 / BITS
        return int(self.most_rows * self.outputs * self.inputs * per_input)


def binary_linear(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """One call of the op by itself."""
    x, w = operands[:2]
    outputs, inputs = w.shape
    ternary, real = attrs.get(TERNARY, True), attrs["activations"] == "real"
    layer = BitLinear(x.size // inputs, inputs, outputs, ternary, real)
    result = TensorType((*x.shape[:-1], outputs), "float32")
    return bit_linear(layer, x, operands[2:], [result], isa)


def emits_planes(layer: BitLinear, isa: Isa) -> bool:
    """Whether tiles are whole words (or all outputs), so that results can leave as planes."""
    columns = layer.columns(isa)
    return isa.lanes > 1 and (columns % BITS == 0 or columns >= layer.outputs)


def bit_linear(
    layer: BitLinear,
    x_type: TensorType,
    others: Sequence[TensorType],
    results: Sequence[TensorType],
    isa: Isa,
) -> KernelForm:
    """Kernel over (x or planes, packed weights, scale, bias, epilogue operands…) → ``results``.

    ``others``: types of scale, bias and epilogue operands.
    """
    operands = [x_type, layer.weights_type(isa), *others]
    chunks = min(MAX_CHUNKS, parallel_chunks(layer.rows, layer.operations))
    scratch = _scratch(layer, chunks, isa)
    kind = "real" if layer.real else "bit"
    with tir.kernel(f"{kind}_linear_{isa.name}", operands, [*results, *scratch]) as k:
        ins, rest = k.buffers[: len(operands)], k.buffers[len(operands) :]
        outs = dict(zip(layer.emits, rest, strict=False))
        scale, bias, *extra = ins[2:]
        writer = ResultWriter(
            scale,
            bias,
            extra,
            layer.steps,
            (1, layer.rows, layer.outputs),
            outs.get("floats"),
            outs.get("planes"),
            layer.above,
        )
        if layer.real and decodes(layer.most_rows, layer.ternary, isa):
            _decoded(layer, ins[0], ins[1], rest[-1], writer, chunks, isa)
        elif layer.real:
            _real(layer, ins[0], ins[1], rest[-1] if scratch else None, writer, chunks, isa)
        else:
            _bits(layer, ins[0], ins[1], rest[-1] if scratch else None, writer, chunks, isa)
    return KernelForm(k.func, scratch, {1: lambda value: layer.pack(value, isa)})


def _scratch(layer: BitLinear, chunks: int, isa: Isa) -> tuple[TensorType, ...]:
    if layer.real and decodes(layer.most_rows, layer.ternary, isa):
        return (decoded_type(chunks, layer.inputs, layer.columns(isa)),)
    if layer.real:
        tile = real_tile(layer.most_rows, layer.outputs, isa)
        return (tables_type(tile, chunks, layer.inputs, isa),) if tile.tables else ()
    return () if layer.packed else (planes_type(layer.rows, words_of(layer.inputs)),)


def _decoded(
    layer: BitLinear, x: Any, w: Any, decoded: Any, writer: ResultWriter, chunks: int, isa: Isa
) -> None:
    gemm = DecodedGemm(rows_of(x), w, decoded, layer.inputs, layer.rows, isa)

    def block(chunk: Any, first: Any, width: int) -> None:
        gemm.block(chunk, first // layer.columns(isa), width, writer.write_row)

    for_tiles(layer.outputs, layer.columns(isa), chunks, block)


def _real(
    layer: BitLinear, x: Any, w: Any, tables: Any, writer: ResultWriter, chunks: int, isa: Isa
) -> None:
    if isa.gpu:
        real_gemm(rows_of(x), w, layer.rows, layer.inputs, layer.outputs, writer, isa)
        return
    tile = real_tile(layer.most_rows, layer.outputs, isa)
    gemm = RealGemm(rows_of(x), w, tables, layer.inputs, layer.outputs, tile, isa)

    def rows(chunk: Any, first: Any, count: int) -> None:
        gemm.rows(chunk, first, count, writer.write_row)

    for_tiles(layer.rows, tile.rows, chunks, rows)


def _bits(
    layer: BitLinear, x: Any, w: Any, own: Any, writer: ResultWriter, chunks: int, isa: Isa
) -> None:
    planes = Planes(x if own is None else own)
    if isa.gpu:
        if own is not None:
            pack_rows(rows_of(x), planes, layer.rows, layer.inputs, layer.inputs, isa)
        if isa.bit_mma and layer.rows > FEW_ROWS:
            mma_gemm(planes, w, (layer.rows, layer.inputs, layer.outputs), writer, isa)
        else:
            bit_gemm(planes, w, layer.rows, layer.inputs, layer.outputs, writer, isa)
        return
    tile = bit_tile(layer.most_rows, layer.outputs, isa)
    gemm = BitGemm(planes, w, layer.inputs, layer.outputs, tile, isa)

    def rows(_: Any, first: Any, count: int) -> None:
        if own is not None:
            load = rows_of(x)
            with T.serial(0, count) as r:
                row = first + r
                pack_row(
                    lambda i, lanes: load(row, i, lanes),
                    planes,
                    row,
                    layer.inputs,
                    layer.inputs,
                    isa,
                )
        gemm.rows(first, count, writer.write_row)

    for_tiles(layer.rows, tile.rows, chunks, rows)
