"""Scheduled ``lif`` and ``lif_record``: vectors over channels, potentials in registers.

Floor: every x is read once and every spike written once: 5 bytes per neuron and step. The chain
v → v costs about 12 cycles a step, so four independent vectors run side by side to hide it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import LifRule, TensorType, tir
from millijoule.converters.ops.lif.op import LIF, LIF_RECORD, after_reset, charged, fires, rule_of
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.form import KernelForm, parallel_chunks
from millijoule.targets.target import Isa

CHAINS = 4


def lif_f32(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """Vector form of ``lif``; same operands and results as the naive function."""
    rule = rule_of(attrs)
    batch, steps, channels = operands[0].shape
    op = LIF_RECORD if "record" in attrs else LIF
    results = op.results(attrs, operands)
    parallel = parallel_chunks(channels // (CHAINS * isa.lanes), 8 * operands[0].size) > 1
    with tir.kernel(f"{op.name}_f32_{isa.name}", operands, results) as k:
        buffers = _Buffers(k.buffers, len(operands), attrs.get("record"))
        with T.serial(0, batch) as b:

            def block(start: Any, width: int, b: Any = b) -> None:
                _scan_block(buffers, rule, attrs["dtype"], b, start, width, steps, isa)

            loop = T.parallel if parallel else T.serial
            simd.for_blocks(channels, CHAINS * isa.lanes, block, loop)
    return KernelForm(k.func)


class _Buffers:
    def __init__(self, buffers: list[Any], operands: int, record: str | None) -> None:
        self.x, self.params, self.state_in = buffers[:3]
        self.valid = buffers[3] if operands == 4 else None
        self.spikes, self.state = buffers[operands : operands + 2]
        self.record, self.membrane = record, buffers[-1]


def _scan_block(
    k: _Buffers, rule: LifRule, dtype: str, b: Any, start: Any, width: int, steps: int, isa: Isa
) -> None:
    """All steps of ``width`` channels from ``start``."""
    state = simd.Accumulators(rule.states, width, isa.lanes)
    potential = simd.Accumulators(1, width, isa.lanes)
    state.fill(lambda row, vec: simd.load(k.state_in, [b, row], start + vec[0], vec[1]))
    with T.serial(0, steps) as t:

        def run() -> None:
            for vec in state.vectors:
                _step(k, rule, dtype, state, potential, b, t, start, vec)

        if k.valid is None:
            run()
        else:
            with T.If(k.valid[t] != 0):
                with T.Then():
                    run()
                with T.Else():
                    for offset, lanes in state.vectors:
                        nothing = simd.splat(T.cast(0, dtype), lanes)
                        simd.save(k.spikes, [b, t], start + offset, lanes, nothing)
                        if k.record:
                            kept = state.get(0, (offset, lanes))
                            simd.save(k.membrane, [b, t], start + offset, lanes, kept)
    for row in range(rule.states):
        for vec in state.vectors:
            simd.save(k.state, [b, row], start + vec[0], vec[1], state.get(row, vec))


def _step(
    k: _Buffers,
    rule: LifRule,
    dtype: str,
    state: simd.Accumulators,
    potential: simd.Accumulators,
    b: Any,
    t: Any,
    start: Any,
    vec: tuple[int, int],
) -> None:
    """One step of one vector of neurons."""
    column, lanes = start + vec[0], vec[1]
    zero = simd.zeros(lanes)
    scale, shift, decay, threshold, reset, synapse = (
        simd.load(k.params, [row], column, lanes) for row in range(6)
    )
    z = simd.load(k.x, [b, t], column, lanes) * scale + shift
    if rule.synaptic:
        state.set(1, vec, synapse * state.get(1, vec) + z)
        z = state.get(1, vec)
    # the potential before the reset is stored first, so that spike and reset see the same rounding
    v = state.get(0, vec)
    potential.set(0, vec, charged(v, z, decay, threshold, rule, zero))
    u = potential.get(0, vec)
    spike = T.cast(fires(u, threshold, rule), dtype if lanes == 1 else f"{dtype}x{lanes}")
    simd.save(k.spikes, [b, t], column, lanes, spike)
    state.set(0, vec, after_reset(u, v, threshold, reset, rule, zero))
    if k.record:
        row = potential if k.record == "before" else state
        simd.save(k.membrane, [b, t], column, lanes, row.get(0, vec))
