"""Linear layers and convolutions with constant weights → packed GEMM, elementwise tail fused.

A chain starts at a ``matmul`` or channels-last ``conv1d`` with constant weights and goes on as long
as its value has one consumer, elementwise and in the epilogue table. The whole chain becomes one
kernel, called where the chain ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import tensor_type
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels.epilogue import ASTYPE, BINARY, UNARY, Step
from millijoule.targets.kernels.gemm import GemmShape, choose_tile, gemm_f32, pack_weights
from millijoule.targets.kernels.gemm_s8 import gemm_s8, unit_of
from millijoule.targets.passes.match import constant, op_name
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.target import Isa

# dtypes of weights, input and result
_PRODUCTS = {("float32", "float32", "float32"), ("int8", "int8", "int32")}


@dataclass
class _Chain:
    """One GEMM and the elementwise steps behind it; ``last`` is the variable of the final value."""

    x: relax.Expr
    weights: np.ndarray  # [K, N]
    shape: GemmShape
    layer: str
    last: relax.Var
    steps: list[Step] = field(default_factory=list)
    operands: list[relax.Expr] = field(default_factory=list)


def lower_dense(isa: Isa, layers: Mapping[str, str]) -> tvm.transform.Pass:
    """The pass over function ``main``; ``layers`` maps variable names to layer names."""
    return rewrite_main(
        "LowerDense", lambda mod: _Lowering(mod, *_find_chains(mod["main"], layers), isa)
    )


def _match_root(
    var: relax.Var, call: relax.Expr, bound: dict[relax.Var, relax.Expr], layer: str
) -> _Chain | None:
    """The start of a chain, if ``call`` is a product that `gemm_f32` or `gemm_s8` computes."""
    name = op_name(call)
    if name not in ("relax.matmul", "relax.nn.conv1d"):
        return None
    w = constant(call.args[1], bound.get)
    x = call.args[0]
    if w is None or (str(w.dtype), str(x.ty.dtype), str(var.ty.dtype)) not in _PRODUCTS:
        return None
    dims = [int(d) for d in x.ty.shape]
    if name == "relax.matmul":
        if w.ndim != 2 or len(dims) < 2:
            return None
        rows = int(np.prod(dims[:-1]))
        return _Chain(x, w, GemmShape(1, rows, dims[-1], w.shape[1]), layer, var)
    attrs = call.attrs
    plain = all(int(v) == 1 for v in [*attrs.strides, *attrs.dilation, attrs.groups])
    padding = [int(p) for p in attrs.padding]
    if str(attrs.data_layout) != "NWC" or not plain or padding[0] != padding[-1]:
        return None
    outputs, channels, taps = w.shape  # OIW
    batch, steps, _ = dims
    shape = GemmShape(batch, steps, channels, outputs, taps, padding[0])
    flat = np.ascontiguousarray(w.transpose(2, 1, 0)).reshape(taps * channels, outputs)
    return _Chain(x, flat, shape, layer, var)


def _spread(operand: relax.Expr, result: TensorType) -> str | None:
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


def _extend(chain: _Chain, var: relax.Var, call: relax.Expr) -> bool:
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
        spread = _spread(other, result)
        if spread is None or (call.args[0].same_as(chain.last) and swapped):
            return False
        chain.steps.append(Step(name, len(chain.operands), spread, swapped))
        chain.operands.append(other)
    else:
        return False
    chain.last = var
    return True


def _find_chains(
    main: relax.Function, layers: Mapping[str, str]
) -> tuple[dict[relax.Var, _Chain], set[relax.Var]]:
    """Chains by the variable of their final value, and the variables inside them."""
    bindings = [(b.var, b.value) for block in main.body.blocks for b in block.bindings]
    bound = dict(bindings)
    uses: Counter[relax.Var] = Counter()
    for _, value in bindings:
        relax.analysis.post_order_visit(
            value, lambda e: uses.update([e]) if isinstance(e, relax.Var) else None
        )
    uses.update([main.body.body] if isinstance(main.body.body, relax.Var) else [])
    open_chains: dict[relax.Var, _Chain] = {}
    inner: set[relax.Var] = set()
    for var, value in bindings:
        root = _match_root(var, value, bound, layers.get(var.name, ""))
        if root is not None:
            open_chains[var] = root
            continue
        if not isinstance(value, relax.Call):
            continue
        sources = [a for a in value.args if isinstance(a, relax.Var) and a in open_chains]
        # the later of two chains takes the sum: the earlier one's value is ready by then
        for source in reversed(sources):
            if uses[source] == 1 and _extend(open_chains[source], var, value):
                chain = open_chains[var] = open_chains.pop(source)
                # the name may be on the bias addition that TVM makes of a linear layer
                chain.layer = chain.layer or layers.get(var.name, "")
                inner.add(source)
                break
    return open_chains, inner


@mutator
class _Lowering(PyExprMutator):
    def __init__(
        self,
        mod: tvm.IRModule,
        chains: dict[relax.Var, _Chain],
        inner: set[relax.Var],
        isa: Isa,
    ) -> None:
        super().__init__(mod)
        self._chains, self._inner, self._isa = chains, inner, isa

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        if binding.var in self._inner:
            return
        chain = self._chains.get(binding.var)
        if chain is None:
            super().visit_var_binding_(binding)
            return
        value = self._emit(chain, tensor_type(binding.var), binding.var.ty)
        new = self.builder_.emit(value, binding.var.name)
        self.set_var_remap(binding.var, new)

    def _emit(self, chain: _Chain, result: TensorType, ty: relax.TensorType) -> relax.Expr:
        integer = chain.weights.dtype == np.int8
        packed = (
            unit_of(self._isa).pack(chain.weights)
            if integer
            else pack_weights(chain.weights, choose_tile(chain.shape, self._isa))
        )
        x = self.visit_expr(chain.x)
        operands = [self.visit_expr(o) for o in chain.operands]
        form = (gemm_s8 if integer else gemm_f32)(
            chain.shape,
            tensor_type(x),
            TensorType(packed.shape, str(packed.dtype)),
            [tensor_type(o) for o in operands],
            result,
            chain.steps,
            self._isa,
        )
        args: Sequence[relax.Expr] = [x, relax.const(packed), *operands]
        return call_kernel(self.builder_, form, args, [ty], _meta(chain, result))


def _meta(chain: _Chain, result: TensorType) -> KernelMeta:
    """Counts: the products, plus one operation per binary epilogue step and element."""
    multiplies = adds = chain.shape.multiply_adds
    for step in chain.steps:
        if step.op in ("relax.multiply", "relax.divide"):
            multiplies += result.size
        elif step.op in ("relax.add", "relax.subtract"):
            adds += result.size
    op = "conv1d" if chain.shape.taps > 1 else "linear"
    return KernelMeta(op=op, layer=chain.layer, results=1, multiplies=multiplies, adds=adds)
