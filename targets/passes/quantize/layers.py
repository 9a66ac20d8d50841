"""Vocabulary ops and dense layers on integers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tvm
from tvm import relax

from millijoule.converters.importer import tensor_type
from millijoule.converters.ops.lif.op import rule_of
from millijoule.errors import UnsupportedError
from millijoule.targets.passes.quantize.graph import Composite, Root
from millijoule.targets.passes.quantize.memory import fixed_memory, impulse_weights
from millijoule.targets.passes.quantize.neurons import fixed_neurons
from millijoule.targets.passes.quantize.numbers import (
    FRACTION_BITS,
    INT32_LIMIT,
    Weights,
    quantize_weights,
)
from millijoule.targets.passes.quantize.values import (
    Affine,
    Plain,
    Value,
    affine,
    channels,
    fixed_point,
)

if TYPE_CHECKING:
    from millijoule.targets.passes.quantize.rewrite import Rewriter

Results = list[Value]
LayerRule = Callable[["Rewriter", relax.Call, Composite], "Results | None"]


def _const(array: np.ndarray) -> tvm.ir.Constant:
    return relax.const(np.ascontiguousarray(array))


def _spike_layer(rewriter: Rewriter, call: relax.Call, about: Composite) -> Results | None:
    """``spike_linear`` and ``spike_conv``: int8 columns are added; the bias waits for the scale."""
    spikes, w = rewriter.value(call.args[0]), rewriter.graph.constant(call.args[1])
    if not isinstance(spikes, Plain) or tensor_type(spikes.expr).dtype != "uint8" or w is None:
        return None
    weights = quantize_weights(w, -1)
    sums = np.abs(weights.values.astype(np.int64)).sum(axis=tuple(range(w.ndim - 1)))
    bound = int(sums.max(initial=0)) * spikes.bound
    _check_sum(bound, about.layer)
    bias = np.zeros(w.shape[-1])
    operands = [spikes.expr, _const(weights.values)]
    if about.op == "spike_linear":
        constant = rewriter.graph.constant(call.args[2])
        if constant is None:
            return None
        bias = constant.astype(np.float64)
        operands.append(_const(np.zeros(w.shape[-1], np.int32)))
    rewriter.note(about.layer, about.op, weights)
    expr = rewriter.emitter.op(about.op, json.loads(about.attrs), operands, about.layer)
    return [affine(expr, weights.scale, bias, bound)]


def _check_sum(bound: int, layer: str) -> None:
    if bound > INT32_LIMIT:
        raise UnsupportedError(
            f"[quantize] layer {layer!r} can sum up to {bound}, which is more than int32 holds; "
            "build it with dtype float32"
        )


def _lif(rewriter: Rewriter, call: relax.Call, about: Composite) -> Results | None:
    """``lif`` → ``lif_fixed`` where its input is integers."""
    x, params = rewriter.value(call.args[0]), rewriter.graph.constant(call.args[1])
    if not isinstance(x, Affine) or params is None or len(x.shape) != 3:
        return None
    attrs = json.loads(about.attrs)
    width = x.shape[-1]
    if channels(x.scale, width) is None or channels(x.bias, width) is None:
        x = rewriter.to_fixed(x, about.layer)
    scale, bias = channels(x.scale, width), channels(x.bias, width)
    assert scale is not None
    assert bias is not None
    steps = x.shape[1] if len(call.args) == 3 else 1
    neurons = fixed_neurons(params, scale, bias, x.bound, rule_of(attrs), steps, about.layer)
    state = rewriter.fixed_state(call.args[2], neurons.fraction)
    if state is None:
        return None
    operands = [rewriter.emitter.cast(x, "int32"), _const(neurons.params), state]
    operands += [rewriter.plain(arg) for arg in call.args[3:]]
    result = rewriter.emitter.op("lif_fixed", attrs, operands, about.layer)
    if neurons.fraction != FRACTION_BITS:
        rewriter.notes.fractions[about.layer] = neurons.fraction
    spikes, potential = rewriter.fields(result, 2)
    return [Plain(spikes, 1), fixed_point(potential, neurons.fraction, neurons.bound)]


def _memory(rewriter: Rewriter, call: relax.Call, about: Composite) -> Results | None:
    """``lmu_memory`` of spikes: int8 rows are added."""
    u, impulse = rewriter.value(call.args[0]), rewriter.graph.constant(call.args[1])
    if not isinstance(u, Plain) or tensor_type(u.expr).dtype != "uint8" or impulse is None:
        return None
    weights, scale, bound = impulse_weights(impulse)
    _check_sum(bound * u.bound, about.layer)
    rewriter.note(about.layer, about.op, weights)
    expr = rewriter.emitter.op("lmu_memory", {}, [u.expr, _const(weights.values)], about.layer)
    return [affine(expr, scale, 0.0, bound * u.bound)]


def _memory_step(rewriter: Rewriter, call: relax.Call, about: Composite) -> Results | None:
    """``lmu_step`` of spikes → ``lmu_step_fixed``."""
    u = rewriter.value(call.args[0])
    impulse, a_transposed, b = (rewriter.graph.constant(arg) for arg in call.args[1:4])
    if impulse is None or a_transposed is None or b is None:
        return None
    if not isinstance(u, Plain) or tensor_type(u.expr).dtype != "uint8" or u.bound != 1:
        return None
    memory = fixed_memory(impulse, a_transposed, b, about.layer)
    state = rewriter.owned_state(call.args[5])
    if state is None:
        return None
    rewriter.note(about.layer, "lmu_step_fixed", memory.impulse)
    constants = [memory.impulse.values, memory.a_transposed, memory.right, memory.b]
    operands = [u.expr, *map(_const, constants), rewriter.plain(call.args[4]), state]
    operands += [rewriter.plain(arg) for arg in call.args[6:]]
    result = rewriter.emitter.op("lmu_step_fixed", {}, operands, about.layer)
    out, history, m, t = rewriter.fields(result, 4)
    return [
        affine(out, memory.scale, 0.0, memory.bound),
        Plain(history, 1),
        affine(m, memory.scale, 0.0, memory.bound),
        Plain(t),
    ]


LAYER_RULES: dict[str, LayerRule] = {
    "lif": _lif,
    "lmu_memory": _memory,
    "lmu_step": _memory_step,
    "spike_conv": _spike_layer,
    "spike_linear": _spike_layer,
}


def dense(rewriter: Rewriter, root: Root, call: relax.Call, layer: str) -> Value:
    """A matrix product or convolution of int8 with int8 weights into int32."""
    x = rewriter.int8(root.x, rewriter.scales[root.var], layer)
    weights: Weights = quantize_weights(root.w, root.axis)
    inputs = tuple(a for a in range(root.w.ndim) if a != root.axis)
    sums = np.abs(weights.values.astype(np.int64)).sum(axis=inputs)
    bound = int(sums.max(initial=0)) * x.bound
    _check_sum(bound, layer)
    constant = _const(weights.values)
    name = root.var.name
    attrs: Any = call.attrs
    if root.axis == 1:
        expr = relax.op.matmul(x.expr, constant, out_dtype="int32")
    else:
        expr = relax.op.nn.conv1d(
            x.expr,
            constant,
            strides=attrs.strides,
            padding=attrs.padding,
            dilation=attrs.dilation,
            groups=attrs.groups,
            data_layout=attrs.data_layout,
            kernel_layout=attrs.kernel_layout,
            out_layout=attrs.out_layout,
            out_dtype="int32",
        )
    rewriter.note(layer, "linear" if root.axis == 1 else "conv1d", weights, x.scale.item())
    result = rewriter.emitter.emit(expr, name)
    rewriter.named(result, layer)
    return affine(result, weights.scale * x.scale.item(), 0.0, bound)
