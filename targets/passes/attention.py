"""softmax(q·kᵀ·scale + bias)·v → one kernel that reads and writes through strides.

The chain is found from its second product backwards, as the importer writes it for
``scaled_dot_product_attention`` and as models spell it out: scores scaled before or after the
product, additive masks of any broadcast shape, or ``where(mask, scores, −∞)``. Slices, reshapes and
transposes in front of q, k and v become strides of what they are cut from, such as the result of a
fused projection; a transpose behind becomes the order in which the result is written.

A chain whose scores or probabilities have another use stays as it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from millijoule.converters.importer import relax_type, tensor_type
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels.attention import AttentionShape, attention_f32
from millijoule.targets.passes.chain import count_uses
from millijoule.targets.passes.match import op_name
from millijoule.targets.passes.meta import KernelMeta, call_kernel
from millijoule.targets.passes.rewrite_main import rewrite_main
from millijoule.targets.passes.strided import (
    as_result,
    flat_operands,
    neighbours,
    order_of,
    result_view,
    whole_view,
    with_batch,
)
from millijoule.targets.passes.views import TensorView, scalar_of, view_of
from millijoule.targets.target import Isa

# A masked score at most this low is as good as −∞: its exponential is 0
_MASKED = -1e9


def lower_attention(
    isa: Isa, layers: Mapping[str, str], *, half: bool = False
) -> tvm.transform.Pass:
    """The pass over function ``main``; ``layers`` maps variable names to layer names.

    ``half``: multiply in float16 where the vector unit can.
    """
    isa = isa.in_half() if half else isa
    return rewrite_main("LowerAttention", lambda mod: _Lowering(mod, isa, layers))


@dataclass(frozen=True)
class _Match:
    """Views of shape [batch…, row, column]; ``mask``: condition and choices of a bias to make."""

    q: TensorView
    k: TensorView
    v: TensorView
    scale: float
    bias: relax.Expr | None = None
    mask: tuple[relax.Expr, ...] | None = None
    causal: bool = False

    @property
    def masked(self) -> bool:
        """Whether something is added to the scores."""
        return self.bias is not None or self.mask is not None or self.causal


class _Matcher:
    """Finds the chain that ends in a product."""

    def __init__(self, main: relax.Function) -> None:
        self.bound = {b.var: b.value for block in main.body.blocks for b in block.bindings}
        self.uses: Counter[relax.Var] = count_uses(main)

    def match(self, call: relax.Expr) -> _Match | None:
        """The parts of attention, if ``call`` is its second product."""
        if op_name(call) != "relax.matmul" or not _is_float(call):
            return None
        probabilities = self._through(call.args[0])
        softmax = self._value(probabilities)
        if softmax is None or op_name(softmax) != "relax.nn.softmax":
            return None
        if not self._once(probabilities):
            return None
        shape = tensor_type(softmax).shape
        if int(softmax.attrs.axis) % len(shape) != len(shape) - 1 or len(shape) < 2:
            return None
        found = self._scores(softmax.args[0])
        if found is None:
            return None
        batch = shape[:-2]
        v = neighbours(call.args[1], view_of(call.args[1], self.bound))
        # a product of fewer dimensions stands between reshapes: its batch is that of the softmax
        views = [with_batch(view, batch) for view in (found.q, found.k, v)]
        if any(view is None for view in views) or tensor_type(call).size != (
            math.prod(batch) * shape[-2] * v.shape[-1]
        ):
            return None
        q, k, v = (view for view in views if view is not None)
        return replace(found, q=q, k=k, v=v)

    def _value(self, expr: relax.Expr) -> relax.Expr | None:
        return self.bound.get(expr) if isinstance(expr, relax.Var) else expr

    def _through(self, expr: relax.Expr) -> relax.Expr:
        """What lies behind reshapes; a variable with more uses than one is not looked through."""
        if not self._once(expr):
            return expr
        value = self._value(expr)
        plain = ("relax.reshape", "relax.broadcast_to", "relax.squeeze", "relax.expand_dims")
        if isinstance(value, relax.Var):
            return self._through(value)
        if (
            value is not None
            and op_name(value) in plain
            and tensor_type(value).size == tensor_type(value.args[0]).size
        ):
            rows = [tensor_type(e).shape[-2:] for e in (value, value.args[0])]
            if rows[0] == rows[1]:
                return self._through(value.args[0])
        return expr

    def _once(self, expr: relax.Expr) -> bool:
        return not isinstance(expr, relax.Var) or self.uses[expr] == 1

    def _scores(self, expr: relax.Expr) -> _Match | None:
        """q, k, scale and bias of what is put into the softmax."""
        expr = self._through(expr)
        value = self._value(expr)
        if not self._once(expr) or not isinstance(value, relax.Call):
            return None
        name = op_name(value)
        if name == "relax.matmul":
            return self._product(value)
        if name in ("relax.multiply", "relax.divide"):
            return self._scaled(name, value)
        if name == "relax.add":
            return self._biased(value)
        if name == "relax.where":
            return self._filled(value)
        return None

    def _product(self, call: relax.Call) -> _Match | None:
        q = neighbours(call.args[0], view_of(call.args[0], self.bound, scaled=True))
        turned = view_of(call.args[1], self.bound, scaled=True)
        if any(isinstance(v.base, tvm.ir.Constant) for v in (q, turned)) or len(q.shape) < 2:
            return None
        if len(turned.shape) != len(q.shape):
            return None
        order = [*range(len(q.shape) - 2), len(q.shape) - 1, len(q.shape) - 2]
        k = replace(
            turned,
            shape=tuple(turned.shape[a] for a in order),
            strides=tuple(turned.strides[a] for a in order),
        )
        return _Match(q, k, k, q.scale * k.scale)

    def _scaled(self, name: str, call: relax.Call) -> _Match | None:
        for scores, other in (call.args, list(call.args)[::-1]):
            factor = scalar_of(other, self.bound)
            if factor is None or (name == "relax.divide" and not other.same_as(call.args[1])):
                continue
            found = self._scores(scores)
            if found is None or found.masked:
                return None
            factor = 1 / factor if name == "relax.divide" else factor
            return replace(found, scale=found.scale * factor)
        return None

    def _biased(self, call: relax.Call) -> _Match | None:
        for scores, bias in (call.args, list(call.args)[::-1]):
            if tensor_type(scores).shape != tensor_type(call).shape:
                continue
            found = self._scores(scores)
            if found is None:
                continue
            if found.masked:
                return None
            if self._is_causal(bias):
                return replace(found, causal=True)
            return replace(found, bias=bias)
        return None

    def _filled(self, call: relax.Call) -> _Match | None:
        """``where`` between scores and one very low value."""
        condition, *choices = call.args
        for i, scores in enumerate(choices):
            low = scalar_of(choices[1 - i], self.bound)
            if low is None or low > _MASKED:
                continue
            if tensor_type(scores).shape != tensor_type(call).shape:
                return None
            found = self._scores(scores)
            if found is None or found.masked:
                return None
            zero = relax.const(0.0, "float32")
            both = (zero, choices[1]) if i == 0 else (choices[0], zero)
            return replace(found, mask=(condition, *both))
        return None

    def _is_causal(self, bias: relax.Expr) -> bool:
        """Whether a constant lets every query see itself and what is before it, and no more."""
        value = self._value(bias)
        if not isinstance(value, tvm.ir.Constant):
            return False
        matrix = value.value.numpy()
        if matrix.ndim < 2 or matrix.size != np.prod(matrix.shape[-2:]):
            return False
        matrix = matrix.reshape(matrix.shape[-2:])
        later = np.triu(np.ones(matrix.shape, bool), 1)
        return bool((matrix[later] <= _MASKED).all() and (matrix[~later] == 0).all())


def _is_float(call: relax.Call) -> bool:
    types = [call.ty, *(a.ty for a in call.args)]
    return all(isinstance(t, relax.TensorType) and str(t.dtype) == "float32" for t in types)


@mutator
class _Lowering(PyExprMutator):
    def __init__(self, mod: tvm.IRModule, isa: Isa, layers: Mapping[str, str]) -> None:
        super().__init__(mod)
        self._isa, self._layers = isa, layers
        self._matcher = _Matcher(mod["main"])

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        match = self._matcher.match(binding.value)
        if match is None:
            super().visit_var_binding_(binding)
            return
        value = self._emit(match, binding.var)
        self.set_var_remap(binding.var, self.builder_.emit(value, binding.var.name))

    def _emit(self, match: _Match, var: relax.Var) -> relax.Expr:
        """The call, and what makes its result look like the product that it replaces."""
        (*batch, queries, width), (keys, value_width) = match.q.shape, match.v.shape[-2:]
        scale, causal = match.scale, match.causal
        shape = AttentionShape(tuple(batch), queries, keys, width, value_width, scale, causal)
        views = [match.q, match.k, match.v]
        bias = self._bias(match)
        if bias is not None:
            views.append(bias.broadcast((*batch, queries, keys)))
        strided, operands = flat_operands(self, views)
        order = order_of(var, self._matcher.bound, self._matcher.uses)
        written, y_view = result_view((*batch, queries, value_width), order)
        result = TensorType((math.prod(written),), "float32")
        types = [tensor_type(o) for o in operands]
        form = attention_f32(shape, strided, y_view, types, result, self._isa)
        layer, products = self._layers.get(var.name, ""), shape.multiply_adds
        in_half = self._isa.product == "float16"
        meta = KernelMeta("attention", layer, 1, products, products, half=in_half)
        call = call_kernel(self.builder_, form, operands, [relax_type(result)], meta)
        y = self.builder_.emit(call)
        return as_result(self.builder_, y, written, order, tensor_type(var).shape)

    def _bias(self, match: _Match) -> TensorView | None:
        if match.bias is not None:
            view = view_of(match.bias, self._matcher.bound)
            if view.strides[-1] in (0, 1) or view.shape[-1] == 1:
                return replace(view, base=self.visit_expr(view.base))
            bias = self.visit_expr(match.bias)
        elif match.mask is not None:
            condition, *choices = match.mask
            bias = self.builder_.emit(
                relax.op.where(self.visit_expr(condition), *map(self.visit_expr, choices))
            )
        else:
            return None
        return whole_view(bias)
