"""Chains: a product with constant weights and the elementwise operators that only it feeds.

A chain starts at a root (a linear layer, a convolution) and goes on as long as its value has one
consumer, elementwise and in the epilogue table. The whole chain becomes one kernel, called where
the chain ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import tensor_type
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels.epilogue import ASTYPE, BINARY, UNARY, Step
from millijoule.targets.passes.match import op_name

Root = TypeVar("Root")
Bound = Mapping[relax.Var, relax.Expr]


@dataclass
class Chain(Generic[Root]):
    """One product and the elementwise steps behind it; ``last`` is the variable of the value."""

    root: Root
    layer: str
    last: relax.Var
    steps: list[Step] = field(default_factory=list)
    operands: list[relax.Expr] = field(default_factory=list)

    def arithmetic(self, result: TensorType) -> tuple[int, int]:
        """(multiplies, adds) of the steps: one operation per binary step and element."""
        multiplies = sum(s.op in ("relax.multiply", "relax.divide") for s in self.steps)
        adds = sum(s.op in ("relax.add", "relax.subtract") for s in self.steps)
        return multiplies * result.size, adds * result.size


# The root that a variable's value is, or None; gets what variables are bound to
Match = Callable[[relax.Var, relax.Expr, Bound], Root | None]


def spread(operand: relax.Expr, result: TensorType) -> str | None:
    """How ``operand`` maps onto the result, or None if the epilogue cannot read it."""
    shape = tensor_type(operand).shape
    if tensor_type(operand).dtype != result.dtype:
        return None
    if shape == result.shape:
        return "full"
    if int(np.prod(shape)) == 1:
        return "scalar"
    if shape[-1] == result.shape[-1] == int(np.prod(shape)):
        return "column"
    return None


def _extend(chain: Chain[Root], var: relax.Var, call: relax.Call) -> bool:
    """Take ``call`` into the chain if the epilogue can do it."""
    name, result = op_name(call), tensor_type(chain.last)
    if not isinstance(var.ty, relax.TensorType) or tensor_type(var).shape != result.shape:
        return False
    types = result.dtype, tensor_type(var).dtype
    if name == ASTYPE and types == ("int32", "float32"):
        chain.steps.append(Step(name, dtype="float32"))
    elif types[0] != types[1]:
        return False
    elif name in UNARY and result.dtype == "float32":
        chain.steps.append(Step(name))
    elif name in BINARY and (result.dtype, name) != ("int32", "relax.divide"):
        swapped = call.args[1].same_as(chain.last)
        other = call.args[0] if swapped else call.args[1]
        how = spread(other, result)
        if how is None or (call.args[0].same_as(chain.last) and swapped):
            return False
        chain.steps.append(Step(name, len(chain.operands), how, swapped))
        chain.operands.append(other)
    else:
        return False
    chain.last = var
    return True


def find_chains(
    main: relax.Function, match: Match[Root], layers: Mapping[str, str]
) -> tuple[dict[relax.Var, Chain[Root]], set[relax.Var]]:
    """Chains by the variable of their final value, and the variables inside them.

    ``layers`` maps variable names to layer names.
    """
    bindings = [(b.var, b.value) for block in main.body.blocks for b in block.bindings]
    bound = dict(bindings)
    uses = count_uses(main)
    chains: dict[relax.Var, Chain[Root]] = {}
    inner: set[relax.Var] = set()
    for var, value in bindings:
        root = match(var, value, bound)
        if root is not None:
            chains[var] = Chain(root, layers.get(var.name, ""), var)
            continue
        if not isinstance(value, relax.Call):
            continue
        sources = [a for a in value.args if isinstance(a, relax.Var) and a in chains]
        # the later of two chains takes the sum: the earlier one's value is ready by then
        for source in reversed(sources):
            if uses[source] == 1 and _extend(chains[source], var, value):
                chain = chains[var] = chains.pop(source)
                # the name may be on the bias addition that TVM makes of a linear layer
                chain.layer = chain.layer or layers.get(var.name, "")
                inner.add(source)
                break
    return chains, inner


def count_uses(main: relax.Function) -> Counter[relax.Var]:
    """How often each variable of ``main`` is read; being returned counts."""
    uses: Counter[relax.Var] = Counter()
    for block in main.body.blocks:
        for binding in block.bindings:
            relax.analysis.post_order_visit(
                binding.value, lambda e: uses.update([e]) if isinstance(e, relax.Var) else None
            )
    uses.update([main.body.body] if isinstance(main.body.body, relax.Var) else [])
    return uses


@mutator
class ChainLowering(PyExprMutator):
    """Replaces every chain by ``emit(self, chain, result type)``, which returns its value."""

    def __init__(
        self,
        mod: tvm.IRModule,
        chains: tuple[Mapping[relax.Var, Chain[Root]], set[relax.Var]],
        emit: Callable[[PyExprMutator, Chain[Root], relax.TensorType], relax.Expr],
    ) -> None:
        super().__init__(mod)
        (self._chains, self._inner), self._emit = chains, emit

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        if binding.var in self._inner:
            return
        chain = self._chains.get(binding.var)
        if chain is None:
            super().visit_var_binding_(binding)
            return
        value = self._emit(self, chain, binding.var.ty)
        new = self.builder_.emit(value, binding.var.name)
        self.set_var_remap(binding.var, new)
