"""``lif`` and ``lif_record``: one step in ordinary operators, and a loop where there are more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tvm import relax

from millijoule.converters.importer import emit_composite, relax_type, tensor_type
from millijoule.converters.ops import VOCABULARY, LifRule, TensorType
from millijoule.converters.ops.lif.op import rule_of
from millijoule.targets.graph.forms.expansion import Expansion
from millijoule.targets.graph.walk import SCAN_KEY, STEP_KEY

op = relax.op


def lif(
    g: Expansion, attrs: dict[str, Any], operands: Sequence[relax.Expr]
) -> tuple[relax.Expr, ...]:
    """Spikes, state (and potentials) of a sequence; a sequence of one step needs no loop."""
    steps = tensor_type(operands[0]).shape[1]
    if steps > 1:
        return _loop(g, attrs, operands, steps)
    x = g(op.squeeze(operands[0], 1))
    state, *stacked = _step(g, attrs, x, *operands[1:])
    spikes, *rest = (g(op.expand_dims(value, 1)) for value in stacked)
    return (spikes, state, *rest)


def _step(
    g: Expansion,
    attrs: dict[str, Any],
    x: relax.Expr,
    params: relax.Expr,
    state: relax.Expr,
    valid: relax.Expr | None = None,
) -> list[relax.Expr]:
    """One step: the new state [B, S, C], spikes [B, C], and potentials [B, C] if recorded."""
    rule, record = rule_of(attrs), attrs.get("record")
    scale, shift, decay, threshold, reset, synapse = g.rows(params)
    z = g(op.add(g(op.multiply(x, scale)), shift))
    rows = [_row(g, state, i, rule) for i in range(rule.states)]
    v = rows[0]
    if rule.synaptic:
        z = g(op.add(g(op.multiply(synapse, rows[1])), z))
    u = _charge(g, rule, v, z, decay)
    before = _fires(g, v, threshold, rule)
    if rule.looks_back:
        u = _reset_before(g, rule, u, before, threshold)
    spike = _fires(g, u, threshold, rule)
    after = _reset_after(g, rule, u, spike, before, threshold, reset)
    spikes = g(op.astype(spike, "float32"))
    new = [after, z][: rule.states]
    if valid is not None:
        runs = g(op.not_equal(valid, relax.const(0, "int32")))
        spikes = g(op.where(runs, spikes, relax.const(0.0, "float32")))
        u = g(op.where(runs, u, v))
        new = [g(op.where(runs, n, old)) for n, old in zip(new, rows, strict=True)]
    stacked = [g(op.expand_dims(n, 1)) for n in new]
    out = [stacked[0] if len(stacked) == 1 else g(op.concat(stacked, 1)), spikes]
    return [*out, u if record == "before" else new[0]] if record else out


def _row(g: Expansion, state: relax.Expr, index: int, rule: LifRule) -> relax.Expr:
    """Row ``index`` of a state [B, S, C], as [B, C]."""
    if rule.states > 1:
        state = g(op.strided_slice(state, [1], [index], [index + 1]))
    return g(op.squeeze(state, 1))


def _charge(
    g: Expansion, rule: LifRule, v: relax.Expr, z: relax.Expr, decay: relax.Expr
) -> relax.Expr:
    if rule.charge == "blend":
        return g(op.add(v, g(op.multiply(g(op.subtract(z, v)), decay))))
    return g(op.add(g(op.multiply(decay, v)), z))


def _fires(g: Expansion, u: relax.Expr, threshold: relax.Expr, rule: LifRule) -> relax.Expr:
    return g((op.greater if rule.strict else op.greater_equal)(u, threshold))


def _select(g: Expansion, condition: relax.Expr, value: relax.Expr) -> relax.Expr:
    """``value`` where ``condition``, else 0."""
    return g(op.where(condition, value, relax.const(0.0, "float32")))


def _reset_before(
    g: Expansion, rule: LifRule, u: relax.Expr, before: relax.Expr, threshold: relax.Expr
) -> relax.Expr:
    if rule.reset == "zero":
        return g(op.where(before, relax.const(0.0, "float32"), u))
    return g(op.subtract(u, _select(g, before, threshold)))


def _reset_after(
    g: Expansion,
    rule: LifRule,
    u: relax.Expr,
    spike: relax.Expr,
    before: relax.Expr,
    threshold: relax.Expr,
    reset: relax.Expr,
) -> relax.Expr:
    """The potential that the next step sees (see `converters.ops.lif.op.after_reset`)."""
    if rule.delayed or rule.reset == "none":
        return u
    if rule.reset == "zero":
        return g(op.where(spike, reset, u))
    drop = _select(g, spike, threshold)
    if rule.reset == "settle":
        drop = g(op.subtract(drop, _select(g, before, threshold)))
    return g(op.subtract(u, drop))


def _loop(
    g: Expansion, attrs: dict[str, Any], operands: Sequence[relax.Expr], steps: int
) -> tuple[relax.Expr, ...]:
    """The op itself, marked with the function of one step for formats that have loops."""
    record = "record" in attrs
    kept = VOCABULARY["lif_record" if record else "lif"]
    result = emit_composite(g.builder, kept, {**attrs, "dtype": "float32"}, list(operands), g.layer)
    composite = g.builder.lookup_binding(result).op
    function = g.builder.get()[composite]
    sequences = {0: 1, 3: 0} if len(operands) == 4 else {0: 1}
    plan = {
        "step": _step_function(g, attrs, operands),
        "steps": steps,
        "sequences": sequences,
        "carried": [2],
        "results": [("stack", 0), ("carry", 0), *([("stack", 1)] if record else [])],
        "axis": 1,
    }
    g.builder.update_func(composite, function.with_attr(SCAN_KEY, json.dumps(plan)))
    return tuple(g(relax.TupleGetItem(result, i)) for i in range(2 + record))


def _step_function(g: Expansion, attrs: dict[str, Any], operands: Sequence[relax.Expr]) -> str:
    """Add the function of one step to the module; its name there."""
    x, params, state, *valid = (tensor_type(o) for o in operands)
    now = [TensorType((x.shape[0], x.shape[2]), "float32"), params, state]
    now += [TensorType((1,), v.dtype) for v in valid]
    inner = relax.BlockBuilder()
    names = [relax.Var(f"s{i}", relax_type(t)) for i, t in enumerate(now)]
    with inner.function("step", names):
        with inner.dataflow():
            nested = Expansion(inner, g.layer, lambda expr, _: inner.emit(expr))
            out = inner.emit_output(relax.Tuple(_step(nested, attrs, *names)))
        inner.emit_func_output(out)
    step = inner.get()["step"].with_attr(STEP_KEY, g.layer).without_attr("global_symbol")
    return str(g.builder.add_func(step, "mj_step").name_hint)
