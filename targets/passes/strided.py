"""Kernels over flat buffers with strides: their operands, and the order of their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tvm import relax
from tvm.relax.expr_functor import PyExprMutator

from millijoule.converters.importer import tensor_type
from millijoule.targets.kernels.attention import Strided
from millijoule.targets.passes.match import op_name
from millijoule.targets.passes.views import Bound, TensorView, contiguous


def neighbours(expr: relax.Expr, view: TensorView) -> TensorView:
    """``view`` if its columns lie side by side, else ``expr`` itself, copied beforehand."""
    if view.strides[-1] == 1 or view.shape[-1] == 1:
        return view
    return whole_view(expr)


def whole_view(expr: relax.Expr) -> TensorView:
    """``expr`` as it is."""
    shape = tensor_type(expr).shape
    return TensorView(expr, 0, shape, contiguous(shape))


def with_batch(view: TensorView, batch: Sequence[int]) -> TensorView | None:
    """``view`` with batch dimensions ``batch``, split or broadcast as a product would."""
    shape = (*batch, *view.shape[-2:])
    if len(view.shape) <= len(shape) and view.shape != shape:
        pairs = zip(view.shape[::-1], shape[::-1], strict=False)
        if all(a in (1, b) for a, b in pairs):
            return view.broadcast(shape)
    return view.reshape(shape)


def flat_operands(
    mutator: PyExprMutator, views: Sequence[TensorView]
) -> tuple[list[Strided], list[relax.Expr]]:
    """The views of flat operands, each operand once."""
    bases: list[relax.Expr] = []
    strided, flat = [], []
    for view in views:
        base = mutator.visit_expr(view.base)
        known = next((i for i, b in enumerate(bases) if b.same_as(base)), len(bases))
        if known == len(bases):
            bases.append(base)
            size = tensor_type(base).size
            flat.append(mutator.builder_.emit(relax.op.reshape(base, (size,))))
        strided.append(Strided(known, view.offset, view.strides))
    return strided, flat


def order_of(var: relax.Var, bound: Bound, uses: Counter[relax.Var]) -> list[int]:
    """Order of the axes of ``var`` in its only use, columns last; their own otherwise."""
    rank = len(tensor_type(var).shape)
    users = [v for v in bound.values() if _reads(v, var)]
    if uses[var] == 1 and op_name(users[0] if users else None) == "relax.permute_dims":
        axes = users[0].attrs.axes
        order = [] if axes is None else [int(a) for a in axes]
        if order and order[-1] == rank - 1:
            return order
    return list(range(rank))


def _reads(value: relax.Expr, var: relax.Var) -> bool:
    return isinstance(value, relax.Call) and any(a.same_as(var) for a in value.args)


def result_view(shape: Sequence[int], order: Sequence[int]) -> tuple[tuple[int, ...], Strided]:
    """The shape in which a result of ``shape`` is written when its axes go in ``order``."""
    written = tuple(shape[a] for a in order)
    strides = contiguous(written)
    return written, Strided(0, 0, tuple(strides[order.index(a)] for a in range(len(order))))


def as_result(
    builder: relax.BlockBuilder,
    flat: relax.Expr,
    written: Sequence[int],
    order: Sequence[int],
    shape: Sequence[int],
) -> relax.Expr:
    """The flat result in its place: of ``shape``, or with the axes put back for who reads it."""
    if list(order) == sorted(order):
        return relax.op.reshape(flat, shape)
    y = builder.emit(relax.op.reshape(flat, written))
    return relax.op.permute_dims(y, [list(order).index(a) for a in range(len(order))])
