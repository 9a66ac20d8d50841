"""What the size variables of a TIR function stand for in a call of it.

Every function has variables of its own; a call gives them values by the types of its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import s_tir, tirx
from tvm.tirx.buffer import BufferType
from tvm_ffi import structural_walk

from millijoule.converters.importer import tensor_type
from millijoule.converters.ops.symbols import size_of
from millijoule.errors import UnsupportedError
from millijoule.sizes import Extent, Size, dims_of, divided


def is_buffer(param: Any) -> bool:
    """Whether a parameter of a TIR function is a tensor, not a number."""
    return isinstance(param.ty, BufferType)


def size_variables(func: tirx.PrimFunc) -> list[tirx.Var]:
    """The variables in shapes of the function's buffers that are no parameters, in order."""
    found: list[tirx.Var] = []

    def note(var: tirx.Var) -> None:
        if not any(var.same_as(v) for v in (*found, *func.params)):
            found.append(var)

    for param in func.params:
        if is_buffer(param):
            for extent in param.shape:
                structural_walk(extent, (tirx.Var, note))
    return found


def sizes_of(func: tirx.PrimFunc, args: Sequence[Any]) -> dict[Any, Extent]:
    """What each variable in shapes of ``func`` stands for when called with ``args``.

    ``args``: tensors and numbers in the order of its parameters. UnsupportedError if the types of
    the arguments do not say.
    """
    known: dict[Any, Extent] = {}
    pairs = []
    for param, arg in zip(func.params, args, strict=False):
        if not is_buffer(param):
            known[param] = size_of(arg)
        else:
            pairs += list(zip(param.shape, tensor_type(arg).shape, strict=True))
    wanted = size_variables(func)
    for extent, actual in pairs:
        if isinstance(extent, tirx.Var):
            known.setdefault(extent, actual)
    for extent, actual in pairs:
        _solve(extent, actual, known)
    # a product of two unknowns says neither; kernels name their variables after dimensions
    named = {d.name: d for d in dims_of(actual for _, actual in pairs)}
    for v in wanted:
        if v not in known and v.name in named:
            known[v] = Size.of(named[v.name])
    missing = [v.name for v in wanted if v not in known]
    missing += [str(e) for e, actual in pairs if not missing and size_of(e, known) != actual]
    if missing:
        raise UnsupportedError(
            f"[dynamic] no argument says what the size {missing[0]} of a kernel is; build for "
            "fixed sizes"
        )
    return known


def _solve(extent: Any, actual: Extent, known: dict[Any, Extent]) -> None:
    """Learn the one unknown factor of a product."""
    if isinstance(extent, tirx.Var | tirx.IntImm):
        return
    if isinstance(extent, tirx.Mul):
        for one, other in ((extent.a, extent.b), (extent.b, extent.a)):
            unknown: list[tirx.Var] = []
            structural_walk(other, (tirx.Var, unknown.append))
            if any(v not in known for v in unknown):
                continue
            quotient = divided(actual, size_of(other, known))
            if quotient is not None and isinstance(one, tirx.Var):
                known.setdefault(one, quotient)
            elif quotient is not None:
                _solve(one, quotient, known)
            return


def with_sizes(func: tirx.PrimFunc, variables: Sequence[tirx.Var], name: str) -> tirx.PrimFunc:
    """``func``, of operator ``name``, with its size ``variables`` as further parameters.

    UnsupportedError if it wants memory of its own whose size varies.
    """

    def check(block: s_tir.SBlock) -> None:
        if all(isinstance(d, tirx.IntImm) for b in block.alloc_buffers for d in b.shape):
            return
        raise UnsupportedError(
            f"[dynamic] operator {name} has no form for sizes that vary; build for fixed sizes, or "
            "make another axis dynamic"
        )

    structural_walk(func.body, (s_tir.SBlock, check))
    if not variables:
        return func
    return tirx.PrimFunc([*func.params, *variables], func.body, func.ret_type, func.attrs)
