"""Chains: a product with constant weights and the elementwise operators that only it feeds.

A chain starts at a root (a linear layer, a convolution) and goes on as long as its value is read by
elementwise operators in the epilogue table alone. A value may be read again further down the chain,
as x is by x·sigmoid(x); a chain ends where nothing inside it is wanted outside. The whole chain
becomes one kernel, called where it ends.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import tensor_type
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels.epilogue import ASTYPE, BINARY, CLIP, OWN, UNARY, Step
from millijoule.targets.passes.match import op_name

Root = TypeVar("Root")
Bound = Mapping[relax.Var, relax.Expr]


@dataclass
class Chain(Generic[Root]):
    """One product and the elementwise steps behind it.

    ``values`` are the variables of the product and of the result of every step; ``columns``: steps
    may have operands with one value per column of the last axis.
    """

    root: Root
    layer: str
    values: list[relax.Var]
    steps: list[Step] = field(default_factory=list)
    operands: list[relax.Expr] = field(default_factory=list)
    columns: bool = True

    @property
    def last(self) -> relax.Var:
        """The variable of the chain's value."""
        return self.values[-1]

    def close(self, uses: Mapping[relax.Var, int]) -> None:
        """Cut the chain behind the last step where no earlier value is wanted outside.

        ``uses``: how often each variable is read.
        """
        reads: Counter[relax.Var] = Counter()
        closed = 0
        for number, step in enumerate(self.steps, 1):
            reads.update([self.values[number - 1]])
            if step.spread == OWN and step.operand is not None:
                reads.update([self.values[step.operand]])
            if all(reads[v] == uses[v] for v in self.values[:number]):
                closed = number
        del self.values[closed + 1 :], self.steps[closed:]
        operands = sum(s.operand is not None and s.spread != OWN for s in self.steps)
        del self.operands[operands:]

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
    if math.prod(shape) == 1:
        return "scalar"
    if shape[-1] == result.shape[-1] == math.prod(shape):
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
    elif name == CLIP and result.dtype == "float32":
        limits = [float(getattr(v, "value", v)) for v in call.args[1:]]
        chain.steps.append(Step(name, limits=(limits[0], limits[1])))
    elif name in BINARY and (result.dtype, name) != ("int32", "relax.divide"):
        swapped = not call.args[0].same_as(chain.last)
        if not _add_operand(chain, name, call.args[0 if swapped else 1], swapped):
            return False
    else:
        return False
    chain.values.append(var)
    return True


def _add_operand(chain: Chain[Root], name: str, other: relax.Expr, swapped: bool) -> bool:
    """A binary step with ``other``: a value of the chain itself, or an operand of the kernel."""
    own = [i for i, value in enumerate(chain.values) if value.same_as(other)]
    how = OWN if own else spread(other, tensor_type(chain.last))
    if how is None or (how == "column" and not chain.columns):
        return False
    chain.steps.append(Step(name, own[0] if own else len(chain.operands), how, swapped))
    chain.operands.extend([] if own else [other])
    return True


def find_chains(
    main: relax.Function, match: Match[Root], layers: Mapping[str, str], *, columns: bool = True
) -> tuple[dict[relax.Var, Chain[Root]], set[relax.Var]]:
    """Chains by the variable of their final value, and the variables inside them.

    ``layers`` maps variable names to layer names; ``columns`` is that of every chain.
    """
    bindings = [(b.var, b.value) for block in main.body.blocks for b in block.bindings]
    bound = dict(bindings)
    uses = count_uses(main)
    chains: dict[relax.Var, Chain[Root]] = {}
    for var, value in bindings:
        root = match(var, value, bound)
        if root is not None:
            chains[var] = Chain(root, layers.get(var.name, ""), [var], columns=columns)
            continue
        if not isinstance(value, relax.Call):
            continue
        sources = [a for a in value.args if isinstance(a, relax.Var) and a in chains]
        # the later of two chains takes the sum: the earlier one's value is ready by then
        sources.reverse()
        for source in sorted(sources, key=lambda s: uses[s] > 1):
            if _extend(chains[source], var, value):
                chains[var] = chains.pop(source)
                break
    for chain in chains.values():
        chain.close(uses)
        # the name may be on the bias addition that TVM makes of a linear layer
        names = (layers.get(v.name, "") for v in chain.values)
        chain.layer = next((name for name in names if name), "")
    inner = {value for chain in chains.values() for value in chain.values[:-1]}
    return {chain.last: chain for chain in chains.values()}, inner


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
