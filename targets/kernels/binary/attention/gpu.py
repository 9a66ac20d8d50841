"""``binary_attention`` on a GPU: a block is one query of one head, its scores in shared memory.

    scores    threads are keys: pop(m) − 2·pop((q ^ k) & m), m = nonzero_q & nonzero_k
    map       a rule makes a score one bit; sums and maxima of a row are trees over its threads
    context   threads are dimensions: Σ_words pop(A & nonzero_v) − 2·pop(A & negative_v)

Values are turned beforehand, so that 32 tokens of a dimension make a word. Integers are exact; the
softmax rule sums in the order of the tree, which differs from a CPU's.

Floor: counting, at 16 words per SM and cycle as in `linear.bits_gpu`: per query and head 2 · N ·
⌈d/32⌉ for scores and 2 · d · ⌈N/32⌉ for the context. 12 heads, N = 128, d = 64: 1.6 million words,
4.7 µs on Orin.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.binary_attention import int_threshold
from millijoule.targets.kernels.binary.planes import NEGATIVE, NONZERO, Planes, pack_rows, rows_of
from millijoule.targets.kernels.binary.words import BITS, words_of
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.functions import exp
from millijoule.targets.kernels.threads import (
    Registers,
    Shared,
    barrier,
    ceil_div,
    for_all,
    launch,
    reduce_block,
    when,
)
from millijoule.targets.target import GPU

if TYPE_CHECKING:
    from millijoule.targets.kernels.binary.attention import BitAttention

THREADS = 128
_PARTS = 4  # of a word of the map, each made by one thread
_LOWEST = -3.4e38


def bit_attention_gpu(
    form: BitAttention, operands: Sequence[TensorType], results: Sequence[TensorType]
) -> KernelForm:
    """Kernel over (q, k, v, [low, scales], [mask]) → ``results``, as ``form.emits`` has them."""
    own = () if form.packed else (form.planes,) * 3
    words = words_of(form.steps)
    turned = TensorType((form.batch * form.heads, 2, words, form.size), "uint32")
    with tir.kernel(f"bit_attention_{form.rule}_gpu", operands, [*results, *own, turned]) as k:
        inputs, rest = k.buffers[: len(operands)], k.buffers[len(operands) :]
        outs = dict(zip(form.emits, rest, strict=False))
        sources = inputs[:3] if form.packed else rest[len(results) : len(results) + 3]
        q, keys, v = (Planes(b) for b in sources)
        if not form.packed:
            width = form.heads * form.size
            for x, planes in zip(inputs[:3], (q, keys, v), strict=True):
                pack_rows(rows_of(x), planes, form.batch * form.steps, width, form.size, GPU)
        _turn(form, v, rest[-1])
        grid = form.steps, form.heads, form.batch
        with launch(grid, [THREADS]) as ((i, h, b), (me,)):
            _Query(form, (q, keys, rest[-1]), inputs[3:], outs, (b, h, i), me).run()
    return KernelForm(k.func, (*own, turned))


def _turn(form: BitAttention, v: Planes, turned: Any) -> None:
    """``turned[head, plane, tokens // 32, dimension]``: one launch, a word per thread."""
    words, size = words_of(form.steps), form.size
    total = form.batch * form.heads * words * size
    with launch([ceil_div(total, THREADS)], [THREADS]) as ((block,), (me,)):
        at = block * THREADS + me
        with when(at < total if total % THREADS else True):
            head, w, c = at // (words * size), at // size % words, at % size
            b, h = head // form.heads, head % form.heads
            for plane in (NEGATIVE, NONZERO):
                word = Registers(1, "uint32")
                word[0] = T.uint32(0)
                with T.serial(0, min(BITS, form.steps)) as t:
                    token = w * BITS + t
                    row = b * form.steps + T.min(token, form.steps - 1)
                    bits = v.plane(row, plane, h * words_of(size) + c // BITS)
                    bit = (bits >> T.cast(c % BITS, "uint32")) & T.uint32(1)
                    bit = T.Select(token < form.steps, bit, T.uint32(0))
                    word[0] = word[0] | (bit << T.cast(t, "uint32"))
                tir.store(turned, [head, plane, w, c], word[0])


class _Query:
    """The code of one block."""

    def __init__(
        self, form: BitAttention, planes: Any, others: Any, outs: Any, at: Any, me: Any
    ) -> None:
        self._form, self._outs, self._at, self._me = form, outs, at, me
        self._q, self._k, self._v = planes
        soft = form.rule == "softmax"
        self._low: Any = others[0] if soft else None
        self._scales: Any = others[1] if soft else None
        self._mask = others[-1] if form.masked else None
        self._scores = Shared((form.steps,), "float32" if soft else "int32")
        self._flags = Shared((words_of(form.steps) * BITS,), "uint32")
        self._bits = Shared((words_of(form.steps), _PARTS), "uint32")
        self._tree = Shared((THREADS,), "float32" if soft else "int32")
        self._value = Registers(1, "float32" if soft else "int32")

    def run(self) -> None:
        """Scores, map, context."""
        for_all(self._form.steps, THREADS, self._me, self._score)
        decide = {
            "bool": self._decide_bool,
            "threshold": self._decide_threshold,
            "softmax": self._decide_softmax,
        }[self._form.rule]()
        self._map(decide)
        self._context()

    def _score(self, j: Any) -> None:
        form, (b, h, i) = self._form, self._at
        words, total = words_of(form.size), Registers(1, "int32")
        total[0] = T.int32(0)
        rows = b * form.steps + i, b * form.steps + j
        with T.unroll(0, words) as w:
            at = h * words + w
            q, k = (p.plane(r, NEGATIVE, at) for p, r in zip((self._q, self._k), rows, strict=True))
            m = self._q.plane(rows[0], NONZERO, at) & self._k.plane(rows[1], NONZERO, at)
            total[0] = total[0] + _count(m) - _count((q ^ k) & m) * T.int32(2)
        if self._low is None:
            self._scores[(j,)] = total[0]
            return
        q_m, q_p, k_m, k_p = (self._low[b, r, c] for r, c in ((i, 0), (i, 1), (j, 2), (j, 3)))
        rank_one = q_m * k_p + q_p * k_m + q_p * k_p
        score = self._scales[0] * T.cast(total[0], "float32") + rank_one
        self._scores[(j,)] = self._masked(score / T.float32(math.sqrt(form.size)), j)

    def _masked(self, score: Any, j: Any) -> Any:
        return score if self._mask is None else score + self._mask[self._at[0], j]

    def _reduced(self, start: Any, value: Callable[[Any], Any], combine: Any) -> Any:
        """``combine`` of ``value(key)`` over all keys."""
        self._value[0] = start

        def one(j: Any) -> None:
            self._value[0] = combine(self._value[0], value(j))

        for_all(self._form.steps, THREADS, self._me, one)
        return reduce_block(self._tree, THREADS, self._me, self._value[0], combine)

    def _decide_bool(self) -> Callable[[Any], Any]:
        root = T.float32(math.sqrt(self._form.size))

        def decide(j: Any) -> Any:
            score = T.cast(self._scores[(j,)], "float32") / root
            return self._masked(score, j) > T.float32(0)

        return decide

    def _decide_threshold(self) -> Callable[[Any], Any]:
        largest = self._reduced(T.int32(-(1 << 30)), lambda j: self._scores[(j,)], T.max)
        least = Registers(1, "int32")
        least[0] = largest - int_threshold(self._form.size)
        return lambda j: self._scores[(j,)] >= least[0]

    def _decide_softmax(self) -> Callable[[Any], Any]:
        largest, total = Registers(1, "float32"), Registers(1, "float32")
        largest[0] = self._reduced(T.float32(_LOWEST), lambda j: self._scores[(j,)], T.max)
        barrier()

        def exponential(j: Any) -> None:
            self._scores[(j,)] = exp(self._scores[(j,)] - largest[0], 1)

        for_all(self._form.steps, THREADS, self._me, exponential)
        add = lambda a, b: a + b  # noqa: E731
        total[0] = self._reduced(T.float32(0), lambda j: self._scores[(j,)], add)
        alpha = self._scales[1]
        return lambda j: self._scores[(j,)] / total[0] / alpha > T.float32(0.5)

    def _map(self, decide: Callable[[Any], Any]) -> None:
        steps, (b, h, i) = self._form.steps, self._at
        padded = words_of(steps) * BITS

        def one(j: Any) -> None:
            flag = Registers(1, "uint32")
            flag[0] = T.Select(decide(j), T.uint32(1), T.uint32(0))
            self._flags[(j,)] = flag[0]
            if "map" in self._outs:
                tir.store(self._outs["map"], [b, h, i, j], T.cast(flag[0], "uint8"))

        def nobody(j: Any) -> None:
            self._flags[(steps + j,)] = T.uint32(0)

        def pack(at: Any) -> None:
            word, part = at // _PARTS, at % _PARTS
            bits = Registers(1, "uint32")
            bits[0] = T.uint32(0)
            with T.unroll(0, BITS // _PARTS) as bit:
                place = part * (BITS // _PARTS) + bit
                flag = self._flags[(word * BITS + place,)]
                bits[0] = bits[0] | (flag << T.cast(place, "uint32"))
            self._bits[word, part] = bits[0]

        for_all(steps, THREADS, self._me, one)
        if padded > steps:
            for_all(padded - steps, THREADS, self._me, nobody)
        barrier()
        for_all(words_of(steps) * _PARTS, THREADS, self._me, pack)

    def _context(self) -> None:
        form, (b, h, i) = self._form, self._at
        if "floats" not in self._outs:
            return
        estimate = None
        if self._low is None:
            barrier()
        else:  # a tree has barriers of its own
            estimate = self._reduced(
                T.float32(0),
                lambda j: T.Select(
                    self._flags[(j,)] != T.uint32(0), self._low[b, j, 4], T.float32(0)
                ),
                lambda a, b: a + b,
            )
        head = b * form.heads + h

        def dimension(c: Any) -> None:
            total = Registers(1, "int32")
            total[0] = T.int32(0)
            with T.serial(0, words_of(form.steps)) as w:
                bits = self._bits[w, 0]
                for part in range(1, _PARTS):
                    bits = bits | self._bits[w, part]
                nonzero, negative = (self._v[head, p, w, c] for p in (NONZERO, NEGATIVE))
                both = _count(bits & negative) * T.int32(2)
                total[0] = total[0] + _count(bits & nonzero) - both
            y = T.cast(total[0], "float32")
            if estimate is not None:
                y = y * (self._scales[1] * self._scales[2]) + self._scales[1] * estimate
            tir.store(self._outs["floats"], [b, i, h * form.size + c], y)

        for_all(form.size, THREADS, self._me, dimension)


def _count(bits: Any) -> Any:
    return T.cast(T.popcount(bits), "int32")
