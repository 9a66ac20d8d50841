"""How far apart in memory neighbouring steps of a loop read and write."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx
from tvm.sym import Analyzer
from tvm_ffi import structural_map

from millijoule.targets.passes.schedule.stages import Loop, Stage, loads, substitute, variables


class Strides:
    """Element strides of everything a stage reads and of what it writes, per loop."""

    def __init__(self, stage: Stage) -> None:
        self._analyzer = Analyzer()
        for loop in stage.loops:
            self._analyzer.bind(loop.var, tvm.ir.Range(0, loop.extent))
        self.stage = self._simplified(stage)
        self._written = self._offset(self.stage.buffer, self.stage.indices)
        self.loads = loads(self.stage.value)
        self._read = [self._offset(load.source, load.indices) for load in self.loads]

    def _simplified(self, stage: Stage) -> Stage:
        """``stage`` with simple indices."""

        def simple(load: Any) -> Any:
            return load.source[tuple(self._analyzer.simplify(i, 4) for i in load.indices)]

        value = structural_map(stage.value, (tvm.ir.expr.TensorLoad, simple))
        indices = tuple(self._analyzer.simplify(i, 4) for i in stage.indices)
        return Stage(stage.loops, stage.buffer, indices, value, stage.init)

    def _offset(self, buffer: Any, indices: Any) -> Any:
        offset, stride = tirx.IntImm("int64", 0), tirx.IntImm("int64", 1)
        for index, extent in zip(reversed(indices), reversed(buffer.shape), strict=True):
            offset = offset + tirx.Cast("int64", index) * stride
            stride = stride * tirx.Cast("int64", extent)
        return self._analyzer.simplify(offset, 4)

    def _step(self, offset: Any, loop: Loop) -> Any:
        """By how much ``offset`` grows when ``loop`` goes on by one; None if that varies.

        An expression if that depends on sizes that vary.
        """
        if loop.var not in variables(offset):
            return 0
        inner = Analyzer()
        for other in self.stage.loops:
            # the last step has no next
            stop = other.extent - 1 if other.var.same_as(loop.var) else other.extent
            inner.bind(other.var, tvm.ir.Range(0, max(stop, 1) if isinstance(stop, int) else stop))
        following = substitute(offset, {loop.var: loop.var + 1})
        step = inner.simplify(following - offset, 4)
        if isinstance(step, tirx.IntImm):
            return int(step)
        return None if variables(step) & {item.var for item in self.stage.loops} else step

    def written(self, loop: Loop) -> Any:
        """Stride of the result."""
        return self._step(self._written, loop)

    def read(self, loop: Loop) -> list[Any]:
        """Strides of all `loads`."""
        return [self._step(offset, loop) for offset in self._read]

    def contiguous(self, loop: Loop) -> bool:
        """Whether vectors along ``loop`` are loaded and stored whole, or are one value."""
        return _is(self.written(loop), 1) and all(_is(s, 0, 1) for s in self.read(loop))


def outside_indices(value: Any) -> set[Any]:
    """Variables of which ``value`` depends other than by what it loads."""
    placeholder: dict[Any, Any] = {}

    def hide(load: Any) -> Any:
        dtype = str(load.ty.dtype)
        return placeholder.setdefault(dtype, tirx.Var("loaded", dtype))

    return variables(structural_map(value, (tvm.ir.expr.TensorLoad, hide)))


def merged(stage: Stage) -> Strides:
    """``stage`` with neighbouring loops made one where all memory lets them."""
    strides = Strides(stage)
    at = len(strides.stage.loops) - 2
    while at >= 0:
        outer, inner = strides.stage.loops[at : at + 2]
        if _mergeable(strides, outer, inner):
            strides = Strides(_merge(strides.stage, at))
        at -= 1
    return strides


def _mergeable(strides: Strides, outer: Loop, inner: Loop) -> bool:
    if outer.reduced != inner.reduced:
        return False
    if outside_indices(strides.stage.value) & {outer.var, inner.var}:
        return False
    pairs = [
        (strides.written(outer), strides.written(inner)),
        *zip(strides.read(outer), strides.read(inner), strict=True),
    ]
    return all(a is not None and b is not None and _same(a, b * inner.extent) for a, b in pairs)


def _is(step: Any, *wanted: int) -> bool:
    return isinstance(step, int) and step in wanted


def _same(a: Any, b: Any) -> bool:
    """Whether two strides, numbers or expressions, are equal whatever the sizes are."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return bool(Analyzer().can_prove_equal(a, b))


def _merge(stage: Stage, at: int) -> Stage:
    outer, inner = stage.loops[at : at + 2]
    var = tirx.Var("m", str(inner.var.ty.dtype))
    size = tirx.Cast(str(inner.var.ty.dtype), inner.extent)
    values = {
        outer.var: tirx.floordiv(var, size),
        inner.var: tirx.floormod(var, size),
    }
    return Stage(
        (
            *stage.loops[:at],
            Loop(var, outer.extent * inner.extent, inner.reduced, outer.most * inner.most),
            *stage.loops[at + 2 :],
        ),
        stage.buffer,
        tuple(substitute(i, values) for i in stage.indices),
        substitute(stage.value, values),
        stage.init,
    )
