"""What each operator does with values that are stored in another order: rules of `layout`."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
from tvm import relax

from millijoule.targets.kernels.epilogue import BINARY
from millijoule.targets.passes.layout import (
    Order,
    Rule,
    SinkTransposes,
    Stored,
    is_identity,
    shape_of,
)
from millijoule.targets.passes.match import constants, op_name

# [B, C, ...] and [B, ..., C] as orders of each other, by rank
_LAYOUTS = {3: ("NCW", "NWC"), 4: ("NCHW", "NHWC")}


def first_order(rank: int) -> Order:
    """The order of [B, C, …] in what is stored as [B, …, C]."""
    return (0, rank - 1, *range(1, rank - 1))


def last_order(rank: int) -> Order:
    """The order of [B, …, C] in what is stored as [B, C, …]."""
    return (0, *range(2, rank), 1)


def _with(call: relax.Call, *args: relax.Expr) -> relax.Call:
    """``call`` on other operands."""
    return relax.Call(call.op, [*args, *call.args[len(args) :]], call.attrs)


def _channelwise(rebuild: Callable[[relax.Call, list[relax.Expr], str], relax.Expr]) -> Rule:
    """Convolutions, pooling, resizing: channels-last in and out."""

    def rule(sink: SinkTransposes, call: relax.Call, _: relax.Var) -> Stored | None:
        rank = len(shape_of(call.args[0]))
        attrs = call.attrs
        layout = str(attrs.data_layout if hasattr(attrs, "data_layout") else attrs.layout)
        first, last = _LAYOUTS[rank]
        if layout != first:
            return None
        order = first_order(rank)
        x = sink.in_order(call.args[0], order)
        rest = [sink.visit_expr(a) for a in call.args[1:]]
        return rebuild(call, [x, *rest], last), order

    return rule


def _convolve(make: Callable[..., relax.Expr]) -> Rule:
    def rebuild(call: relax.Call, args: list[relax.Expr], layout: str) -> relax.Expr:
        a = call.attrs
        return make(
            *args,
            strides=a.strides,
            padding=a.padding,
            dilation=a.dilation,
            groups=a.groups,
            data_layout=layout,
            kernel_layout=a.kernel_layout,
            out_layout=layout,
            out_dtype=a.out_dtype,
        )

    return _channelwise(rebuild)


def _pool(make: Callable[..., relax.Expr]) -> Rule:
    def rebuild(call: relax.Call, args: list[relax.Expr], layout: str) -> relax.Expr:
        a = call.attrs
        return make(
            *args,
            pool_size=a.pool_size,
            strides=a.strides,
            padding=a.padding,
            dilation=a.dilation,
            ceil_mode=a.ceil_mode,
            count_include_pad=a.count_include_pad,
            layout=layout,
            out_layout=layout,
        )

    return _channelwise(rebuild)


def _adaptive_pool(call: relax.Call, args: list[relax.Expr], layout: str) -> relax.Expr:
    size = call.attrs.output_size
    return relax.op.nn.adaptive_avg_pool2d(args[0], size, layout, layout)


def _resize(call: relax.Call, args: list[relax.Expr], layout: str) -> relax.Expr:
    a = call.attrs
    return relax.op.image.resize2d(
        *args,
        roi=tuple(float(v) for v in a.roi),
        layout=layout,
        method=a.method,
        coordinate_transformation_mode=a.coordinate_transformation_mode,
        rounding_method=a.rounding_method,
        cubic_alpha=a.cubic_alpha,
        cubic_exclude=a.cubic_exclude,
        extrapolation_value=a.extrapolation_value,
        out_dtype=a.out_dtype or None,
    )


def _axes(call: relax.Call) -> Order:
    """Axes of a ``permute_dims`` call."""
    rank, axes = len(shape_of(call.args[0])), call.attrs.axes
    return tuple(range(rank))[::-1] if axes is None else tuple(int(a) % rank for a in axes)


def _permute(sink: SinkTransposes, call: relax.Call, _: relax.Var) -> Stored | None:
    x, moves = call.args[0], _axes(call)
    inner = sink.bound(x)
    if op_name(inner) == "relax.permute_dims" and is_identity([_axes(inner)[a] for a in moves]):
        return sink.stored(inner.args[0])
    rank = len(moves)
    channels_only = rank > 2 and moves in (first_order(rank), last_order(rank))
    if sink.constant(x) is not None or not (sink.deferred(x) or channels_only):
        return None
    source, order = sink.stored(x)
    return source, tuple(order[a] for a in moves)


def _unary(sink: SinkTransposes, call: relax.Call, _: relax.Var) -> Stored | None:
    if not sink.deferred(call.args[0]):
        return None
    source, order = sink.stored(call.args[0])
    return _with(call, source), order


def _binary(sink: SinkTransposes, call: relax.Call, var: relax.Var) -> Stored | None:
    shape = shape_of(var)
    held = [a for a in call.args[:2] if sink.deferred(a) and shape_of(a) == shape]
    if not held:
        return None
    _, order = sink.stored(held[0])
    return _with(call, *(_operand(sink, a, order) for a in call.args[:2])), order


def _operand(sink: SinkTransposes, x: relax.Expr, order: Order) -> relax.Expr:
    """``x`` of equal or lower rank, to be broadcast against values stored in ``order``."""
    shape = shape_of(x)
    if len(shape) == len(order):
        return sink.in_order(x, order)
    if math.prod(shape) == 1:
        return sink.visit_expr(x)
    full = (*[1] * (len(order) - len(shape)), *shape)
    value = sink.constant(x)
    axes = np.argsort(order)
    if value is not None:
        return relax.const(np.ascontiguousarray(value.reshape(full).transpose(axes)))
    raised = sink.emit(relax.op.reshape(sink.in_order(x, tuple(range(len(shape)))), full), "layout")
    return sink.emit(relax.op.permute_dims(raised, [int(a) for a in axes]), "layout")


def _concat(sink: SinkTransposes, call: relax.Call, var: relax.Var) -> Stored | None:
    values = sink.bound(call.args[0])
    if not isinstance(values, relax.Tuple):
        return None
    held = [f for f in values.fields if sink.deferred(f)]
    if not held:
        return None
    _, order = sink.stored(held[0])
    axis = order[int(call.attrs.axis) % len(order)]
    return relax.op.concat([sink.in_order(f, order) for f in values.fields], axis), order


def _split(sink: SinkTransposes, call: relax.Call, _: relax.Var) -> Stored | None:
    if not sink.deferred(call.args[0]):
        return None
    source, order = sink.stored(call.args[0])
    a = call.attrs
    axis = order[int(a.axis) % len(order)]
    sections = a.indices_or_sections
    count = int(sections) if isinstance(sections, int) else [int(i) for i in sections]
    return relax.op.split(source, count, axis), order


def _item(sink: SinkTransposes, item: Any, _: relax.Var) -> Stored | None:
    if not sink.deferred(item.tuple_value):
        return None
    source, order = sink.stored(item.tuple_value)
    return relax.TupleGetItem(source, item.index), order


def _slice(sink: SinkTransposes, call: relax.Call, _: relax.Var) -> Stored | None:
    axes = constants(call.args[1])
    if not sink.deferred(call.args[0]) or axes is None:
        return None
    source, order = sink.stored(call.args[0])
    moved = relax.Tuple([relax.prim_value(order[a % len(order)]) for a in axes])
    return _with(call, source, moved), order


def _reduce(make: Callable[..., relax.Expr]) -> Rule:
    def rule(sink: SinkTransposes, call: relax.Call, _: relax.Var) -> Stored | None:
        if not sink.deferred(call.args[0]):
            return None
        source, order = sink.stored(call.args[0])
        rank, axis = len(order), call.attrs.axis
        axes = list(range(rank)) if axis is None else [int(a) % rank for a in axis]
        keep = bool(call.attrs.keepdims)
        value = make(source, sorted(order[a] for a in axes), keep)
        if keep:
            return value, order
        left = [order[a] for a in range(rank) if a not in axes]
        return value, tuple(sorted(left).index(a) for a in left)

    return rule


def _softmax(make: Callable[..., relax.Expr]) -> Rule:
    def rule(sink: SinkTransposes, call: relax.Call, _: relax.Var) -> Stored | None:
        if not sink.deferred(call.args[0]):
            return None
        source, order = sink.stored(call.args[0])
        return make(source, order[int(call.attrs.axis) % len(order)]), order

    return rule


def _pad(sink: SinkTransposes, call: relax.Call, _: relax.Var) -> Stored | None:
    if not sink.deferred(call.args[0]):
        return None
    source, order = sink.stored(call.args[0])
    width = [int(w) for w in call.attrs.pad_width]
    moved = [w for a in np.argsort(order) for w in width[2 * a : 2 * a + 2]]
    return relax.op.nn.pad(source, moved, call.attrs.pad_mode, call.attrs.pad_value), order


def _broadcast(sink: SinkTransposes, call: relax.Call, var: relax.Var) -> Stored | None:
    shape = shape_of(var)
    if not sink.deferred(call.args[0]) or len(shape) != len(shape_of(call.args[0])):
        return None
    source, order = sink.stored(call.args[0])
    return relax.op.broadcast_to(source, [shape[a] for a in np.argsort(order)]), order


def _reshape(sink: SinkTransposes, call: relax.Call, var: relax.Var) -> Stored | None:
    if not sink.deferred(call.args[0]):
        return None
    source, order = sink.stored(call.args[0])
    planned = reshaped(shape_of(call.args[0]), order, shape_of(var))
    if planned is None:
        return None
    shape, new_order = planned
    return relax.op.reshape(source, shape), new_order


def reshaped(
    before: tuple[int, ...], order: Order, after: tuple[int, ...]
) -> tuple[tuple[int, ...], Order] | None:
    """Shape and order of what is stored once a value is reshaped ``before`` → ``after``.

    Both shapes are cut into the finest groups of dimensions with equal products. The reshape can be
    done on what is stored if the dimensions of every group lie there side by side, in their order.
    None if they do not.
    """
    groups = _groups(before, after)
    if groups is None:
        return None
    keyed = []
    for number, (old, new) in enumerate(groups):
        places = [order[d] for d in old if before[d] != 1]
        lowest = min(places, default=len(before))  # groups of ones go last
        between = range(lowest, max(places, default=lowest - 1) + 1)
        skipped = [a for a in between if a not in places]
        if places != sorted(places) or any(before[order.index(a)] != 1 for a in skipped):
            return None
        keyed.append((lowest, number, new))
    large = [number for lowest, number, _ in sorted(keyed) if lowest < len(before)]
    if large == sorted(large):
        return after, tuple(range(len(after)))
    keyed.sort()
    stored = [d for _, _, new in keyed for d in new]
    return tuple(after[d] for d in stored), tuple(stored.index(d) for d in range(len(after)))


def _groups(
    before: tuple[int, ...], after: tuple[int, ...]
) -> list[tuple[list[int], list[int]]] | None:
    """The finest cut of both shapes into groups of equal products; None for empty tensors."""
    if 0 in before or 0 in after:
        return None
    ends = [[1, *accumulate(shape, lambda a, b: a * b)] for shape in (before, after)]
    common = set(ends[0]) & set(ends[1])  # in both lists in the same order: each divides the next
    cuts = [p for i, p in enumerate(ends[0]) if p in common and p not in ends[0][:i]]
    groups: list[tuple[list[int], list[int]]] = [([], []) for _ in cuts]
    for side, products in enumerate(ends):
        cut = 0
        for d, product in enumerate(products[1:]):
            if cut + 1 < len(cuts) and products[d] == cuts[cut] != product:
                cut += 1
            groups[cut][side].append(d)
    return [g for g in groups if g[0] or g[1]]


def _layer_norm(sink: SinkTransposes, call: relax.Call, _: relax.Var) -> Stored | None:
    if not sink.deferred(call.args[0]):
        return None
    source, order = sink.stored(call.args[0])
    axes = [int(a) % len(order) for a in call.attrs.axes]
    if [order[a] for a in axes] != list(range(len(order) - len(axes), len(order))):
        return None  # kernels normalise over contiguous values
    a = call.attrs
    operands = [source, *(sink.visit_expr(v) for v in call.args[1:])]
    last = [order[i] for i in axes]
    return relax.op.nn.layer_norm(*operands, last, a.epsilon, a.center, a.scale), order


_UNARY = (
    "abs ceil clip cos erf exp floor log negative round rsqrt sigmoid sign sin sqrt square tanh "
    "astype nn.gelu nn.gelu_tanh nn.leakyrelu nn.relu nn.relu6 nn.silu nn.softplus nn.selu"
)
_RESHAPES = ("relax.reshape", "relax.squeeze", "relax.expand_dims", "relax.flatten")
_POWERS = ("relax.power", "relax.floor_divide", "relax.mod")

RULES: dict[str, Rule] = {
    "relax.nn.conv1d": _convolve(relax.op.nn.conv1d),
    "relax.nn.conv2d": _convolve(relax.op.nn.conv2d),
    "relax.nn.max_pool2d": _pool(relax.op.nn.max_pool2d),
    "relax.nn.avg_pool2d": _pool(relax.op.nn.avg_pool2d),
    "relax.nn.adaptive_avg_pool2d": _channelwise(_adaptive_pool),
    "relax.image.resize2d": _channelwise(_resize),
    "relax.permute_dims": _permute,
    "relax.concat": _concat,
    "relax.split": _split,
    "TupleGetItem": _item,
    "relax.strided_slice": _slice,
    "relax.nn.softmax": _softmax(relax.op.nn.softmax),
    "relax.nn.log_softmax": _softmax(relax.op.nn.log_softmax),
    "relax.nn.pad": _pad,
    "relax.nn.layer_norm": _layer_norm,
    "relax.broadcast_to": _broadcast,
    **dict.fromkeys(_RESHAPES, _reshape),
    **{f"relax.{name}": _unary for name in _UNARY.split()},
    **dict.fromkeys((*BINARY, *_POWERS), _binary),
    **{
        f"relax.{name}": _reduce(getattr(relax.op, name))
        for name in ("mean", "sum", "max", "min", "prod", "variance")
    },
}
