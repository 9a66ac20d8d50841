"""Scheduled ``binary_attention``: maps and contexts out of words of bits.

For one head keys and values are turned once (`transposed`); then, for one query after the other,

    sums      vectors of keys: pop(m) − 2·pop((q ^ k) & m), m = nonzero_q & nonzero_k
    map       a rule (`rules`) makes 32 sums one word
    context   vectors of dimensions: Σ_words pop(A & nonzero_v) − 2·pop(A & negative_v)

Floor: per query and vector of keys 6 instructions for 32 dimensions and some ten of the rule; per
query and vector of dimensions 6 for 32 keys. Beside the linear layers of BERT-base at 128 tokens
that is a few per cent.

The map is written as uint8 only where somebody reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.binary_attention import BINARY_ATTENTION
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.sizes import most
from millijoule.targets.kernels.binary.attention.gpu import bit_attention_gpu
from millijoule.targets.kernels.binary.attention.head import HeadScratch, head
from millijoule.targets.kernels.binary.planes import Planes, pack_row, planes_type, rows_of
from millijoule.targets.kernels.binary.words import words_of
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.target import Isa

__all__ = ["BitAttention", "binary_attention", "bit_attention"]


@dataclass(frozen=True)
class BitAttention:
    """One call: shapes, and what comes and leaves. ``batch`` and ``steps`` may vary (a `Size`).

    ``packed``: q, k, v come as planes, heads in words of their own. ``emits``: "floats" for the
    context, "planes" for its signs, "map".
    """

    batch: int
    steps: int
    heads: int
    size: int
    rule: str
    masked: bool
    packed: bool = False
    emits: tuple[str, ...] = ("floats", "map")

    @staticmethod
    def of(attrs: Attrs, operands: Sequence[TensorType], **more: Any) -> BitAttention:
        """The shapes of a call of the op."""
        batch, steps, width = operands[0].shape
        rule, heads = attrs["rule"], attrs["heads"]
        masked = len(operands) == (6 if rule == "softmax" else 4)
        return BitAttention(batch, steps, heads, width // heads, rule, masked, **more)

    def emitted(self) -> BitAttention:
        """The same with sizes that code can calculate with, where they vary."""
        batch, steps = (
            n if isinstance(n, int) else T.int64(0) + n for n in (self.batch, self.steps)
        )
        return replace(self, batch=batch, steps=steps)

    @property
    def planes(self) -> TensorType:
        """Type of q, k or v as planes."""
        return planes_type(self.batch * self.steps, self.heads * words_of(self.size))

    @property
    def operations(self) -> int:
        """Words that are counted, for the choice whether threads pay."""
        steps = most(self.steps)
        words = words_of(self.size) * steps + words_of(steps) * self.size
        return 4 * most(self.batch) * self.heads * steps * words


def binary_attention(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """One call of the op by itself, from floats."""
    form = BitAttention.of(attrs, operands)
    if not attrs["maps"]:
        form = BitAttention.of(attrs, operands, emits=("floats", "unread"))
    return bit_attention(form, operands, BINARY_ATTENTION.results(attrs, operands), isa)


def bit_attention(
    form: BitAttention, operands: Sequence[TensorType], results: Sequence[TensorType], isa: Isa
) -> KernelForm:
    """Kernel over (q, k, v, [low, scales], [mask]) → ``results``, as ``form.emits`` has them."""
    if isa.gpu:
        return bit_attention_gpu(form, operands, results)
    pairs = form.batch * form.heads
    parallel = parallel_chunks(pairs, form.operations) > 1
    own = () if form.packed else (form.planes,) * 3
    scratch = HeadScratch.types(form, most(pairs) if parallel else 1, isa)
    name = f"bit_attention_{form.rule}_{isa.name}"
    with tir.kernel(name, operands, [*results, *own, *scratch]) as k:
        inputs, rest = k.buffers[: len(operands)], k.buffers[len(operands) :]
        outs = dict(zip(form.emits, rest, strict=False))
        rest = rest[len(results) :]
        if form.packed:
            planes = [Planes(b) for b in inputs[:3]]
        else:
            planes = [Planes(b) for b in rest[:3]]
            for source, target in zip(inputs[:3], planes, strict=True):
                _pack(source, target, form, isa)
            rest = rest[3:]
        form = form.emitted()
        room = HeadScratch(form, rest, isa)
        with (T.parallel if parallel else T.serial)(0, form.batch * form.heads) as pair:
            chunk = pair if parallel else 0
            b, h = pair // form.heads, pair % form.heads
            head(form, planes, inputs[3:], outs, room, (chunk, b, h), isa)
    return KernelForm(k.func, (*own, *scratch))


def _pack(x: Any, planes: Planes, form: BitAttention, isa: Isa) -> None:
    load, width = rows_of(x), form.heads * form.size
    with T.serial(0, form.batch * form.steps) as row:
        pack_row(lambda i, lanes: load(row, i, lanes), planes, row, width, form.size, isa)
