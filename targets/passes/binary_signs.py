"""Who needs the signs of what: an analysis of ``main`` in front of `binary`.

Only signs of a value reach a binary layer, so its floats need not exist unless somebody else reads
them. `analyse` walks backwards from the results and notes, for every variable, whether its floats
are needed and which *planes* (see `kernels.binary`) are.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

import tvm
from tvm import relax

from millijoule.converters.importer import tensor_type
from millijoule.targets.passes.chain import Bound
from millijoule.targets.passes.match import constant, op_name


@dataclass(frozen=True)
class Signs:
    """Planes of ``source + shift``. ``group``: elements that start a word, None for whole rows.

    ``source``: a variable, or the call of an attention, whose context is meant. ``above``: values
    up to it count as 0.
    """

    source: relax.Var
    shift: relax.Expr | None = None
    above: float | None = None
    group: int | None = None

    @property
    def plain(self) -> bool:
        """Whether the kernel that computes ``source`` may emit these planes."""
        return self.shift is None and self.group is None


def signs_of(
    x: relax.Expr, bound: Bound, kernels: Container[relax.Var], group: int | None = None
) -> Signs | None:
    """What the planes of ``x`` are those of; None if ``x`` is no variable.

    ``kernels``: variables that one of our kernels computes, of tensors or of an attention's pair.
    """
    if not isinstance(x, relax.Var):
        return None
    value = bound.get(x)
    if isinstance(value, relax.TupleGetItem) and value.tuple_value in kernels:
        return Signs(value.tuple_value, None, None, group)
    if x in kernels:
        return Signs(x, None, None, group)
    limited = _limited(value, bound)
    if limited is not None:
        return Signs(limited[0], None, limited[1], group)
    shifted = _shifted(value, bound)
    if shifted is not None:
        return Signs(shifted[0], shifted[1], None, group)
    return Signs(x, None, None, group)


def _limited(value: relax.Expr | None, bound: Bound) -> tuple[relax.Var, float] | None:
    """(x, c) if ``value`` is where(x > c, x, 0) with c < 0."""
    if value is None or op_name(value) != "relax.where":
        return None
    condition, x, zero = value.args
    test = bound.get(condition) if isinstance(condition, relax.Var) else condition
    if test is None or op_name(test) != "relax.greater":
        return None
    limit = _scalar(test.args[1], bound)
    if limit is None or limit >= 0 or _scalar(zero, bound) != 0 or not test.args[0].same_as(x):
        return None
    return (x, limit) if isinstance(x, relax.Var) else None


def _scalar(expr: relax.Expr, bound: Bound) -> float | None:
    value = constant(expr, bound.get)
    return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None


def _shifted(value: relax.Expr | None, bound: Bound) -> tuple[relax.Var, relax.Expr] | None:
    """(x, b) if ``value`` is x + b with a constant for every element of the last axis."""
    if value is None or op_name(value) != "relax.add":
        return None
    for x, b in (value.args, reversed(list(value.args))):
        shape = tensor_type(x).shape if isinstance(x, relax.Var) else ()
        column = constant(b, bound.get)
        if not shape or column is None or not isinstance(b, tvm.ir.Constant):
            continue
        if column.shape[-1:] == shape[-1:] == (column.size,):
            return x, b
    return None


@dataclass
class Needs:
    """``floats``: variables whose floats somebody reads. ``planes``: by source, in first-use order.

    Bindings of variables in neither are dead.
    """

    floats: set[relax.Var] = field(default_factory=set)
    planes: dict[relax.Var, list[Signs]] = field(default_factory=dict)

    def want(self, signs: Signs, emits: Callable[[Signs], bool]) -> None:
        """Ask for planes; where no kernel can emit them, floats are needed to pack."""
        wanted = self.planes.setdefault(signs.source, [])
        if signs not in wanted:
            wanted.append(signs)
        if not emits(signs):
            self.floats.add(signs.source)

    def alive(self, var: relax.Var) -> bool:
        """Whether anything of ``var`` is needed."""
        return var in self.floats or var in self.planes


# Reads of one binding: what it needs as planes, and what as floats
Reads = Callable[[relax.Var, relax.Expr], tuple[list[Signs], list[relax.Expr]] | None]


def analyse(main: relax.Function, reads: Reads, emits: Callable[[Signs], bool]) -> Needs:
    """``reads(var, value)`` describes calls that read signs, None for all others."""
    needs = Needs()
    _read(main.body.body, needs)
    for block in reversed(list(main.body.blocks)):
        for binding in reversed(list(block.bindings)):
            if not needs.alive(binding.var):
                continue
            found = reads(binding.var, binding.value)
            planes, floats = found if found is not None else ([], [binding.value])
            for signs in planes:
                needs.want(signs, emits)
            for expr in floats:
                _read(expr, needs)
    return needs


def _read(expr: relax.Expr, needs: Needs) -> None:
    relax.analysis.post_order_visit(
        expr, lambda e: needs.floats.add(e) if isinstance(e, relax.Var) else None
    )


def bound_of(main: relax.Function) -> Mapping[relax.Var, relax.Expr]:
    """What every variable of ``main`` is bound to."""
    return {b.var: b.value for block in main.body.blocks for b in block.bindings}


def composite_of(mod: tvm.IRModule, value: relax.Expr | None) -> relax.Function | None:
    """The composite function that ``value`` calls, if it is such a call."""
    if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.GlobalVar):
        return None
    callee = mod[value.op]
    return callee if callee.attrs and "Composite" in callee.attrs else None
