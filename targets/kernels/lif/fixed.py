"""Scheduled ``lif_fixed``: potentials of a block of channels in registers, exact integers.

Products are 64 bits wide. Floor per neuron and step on a Cortex-M: x, multiplier and shift in, the
potential in and out, the spike out (6), the product with its rounding and shift (SMULL, ADDS, ADC,
LSR, ORR), shift and blend (3), threshold and reset (4): about 18 instructions. Measured on M4 with
64 channels: 25 with one shift for all, 30 with shifts below 32 of their own, 54 with any.

Parameters are constants, and often one value for the whole layer; such a value becomes part of the
code (attribute ``known``: row name → value). A decay of ½ then needs no product: with D = 16384,
(d·D + 16384) >> 15 = (d + 1) >> 1 for every d.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import TensorType, tir
from millijoule.converters.ops.lif.op import after_reset, fires, reset_before, rule_of
from millijoule.converters.ops.lif_fixed.op import LIF_FIXED, ROWS, UNIT_BITS
from millijoule.converters.ops.vocabulary import Attrs
from millijoule.targets.kernels import simd
from millijoule.targets.kernels.fixed_point import scaled
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.target import Isa

KNOWN = "known"  # attribute: rows of params that hold one value
HALF_DECAY = 1 << (UNIT_BITS - 1)
_INT32 = "int32"


def lif_fixed(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """Form of ``lif_fixed`` for every vector unit."""
    batch, steps, channels = operands[0].shape
    results = LIF_FIXED.results(attrs, operands)
    with tir.kernel(f"lif_fixed_{isa.name}", operands, results) as k:
        scan = _Scan(k.buffers, len(operands) == 4, attrs)
        width = isa.lanes * (1 if isa.lanes > 1 else 2)
        with T.serial(0, batch) as b:

            def block(start: Any, size: int, b: Any = b) -> None:
                scan.block(b, start, size, steps, isa.lanes)

            simd.for_blocks(channels, width, block)
    return KernelForm(k.func)


def known_rows(params: Any) -> dict[str, int]:
    """The rows of constant ``params [7, C]`` that hold one value each."""
    return {
        name: int(row[0])
        for name, row in zip(ROWS, params, strict=True)
        if row.size and (row == row[0]).all()
    }


class _Scan:
    """The buffers of one kernel, and its loop over steps."""

    def __init__(self, buffers: Sequence[Any], gated: bool, attrs: Attrs) -> None:
        self._x, self._params, self._state_in = buffers[:3]
        self._valid = buffers[3] if gated else None
        self._spikes, self._state = buffers[-2:]
        self._rule, self._dtype = rule_of(attrs), attrs["dtype"]
        self._known: Mapping[str, int] = attrs.get(KNOWN, {})

    def block(self, b: Any, start: Any, width: int, steps: int, lanes: int) -> None:
        """All steps of ``width`` channels from ``start``."""
        state = simd.Accumulators(self._rule.states, width, lanes, _INT32)
        potential = simd.Accumulators(1, width, lanes, _INT32)
        state.fill(lambda row, vec: simd.load(self._state_in, [b, row], start + vec[0], vec[1]))
        with T.serial(0, steps) as t:
            if self._valid is None:
                self._steps(state, potential, b, t, start)
            else:
                with T.If(self._valid[t] != 0):
                    with T.Then():
                        self._steps(state, potential, b, t, start)
                    with T.Else():
                        for at, size in state.vectors:
                            nothing = simd.zeros(size, self._dtype)
                            simd.save(self._spikes, [b, t], start + at, size, nothing)
        for row in range(self._rule.states):
            for vec in state.vectors:
                simd.save(self._state, [b, row], start + vec[0], vec[1], state.get(row, vec))

    def _steps(
        self, state: simd.Accumulators, potential: simd.Accumulators, b: Any, t: Any, start: Any
    ) -> None:
        for vec in state.vectors:
            self._step(state, potential, b, t, start, vec)

    def _step(
        self,
        state: simd.Accumulators,
        potential: simd.Accumulators,
        b: Any,
        t: Any,
        start: Any,
        vec: tuple[int, int],
    ) -> None:
        """One step of one vector of neurons."""
        rule, column, lanes = self._rule, start + vec[0], vec[1]
        row = _Rows(self._params, self._known, column, lanes)
        threshold, zero = row("threshold"), simd.zeros(lanes, _INT32)
        x = simd.load(self._x, [b, t], column, lanes)
        # values used more than once go through a register of their own, or TVM computes them again
        product = scaled(x, row("multiplier"), row("right"), lanes)
        potential.set(0, vec, product + row("shift"))
        z = potential.get(0, vec)
        if rule.synaptic:
            current = _by_unit(state.get(1, vec), row("synapse"), None, lanes) + z
            state.set(1, vec, current)
            z = state.get(1, vec)
        v = state.get(0, vec)
        potential.set(0, vec, self._charged(v, z, row, lanes))
        potential.set(0, vec, reset_before(potential.get(0, vec), v, threshold, rule, zero))
        u = potential.get(0, vec)
        spike = simd.convert(fires(u, threshold, rule), self._dtype, lanes)
        simd.save(self._spikes, [b, t], column, lanes, spike)
        state.set(0, vec, after_reset(u, v, threshold, row("reset"), rule, zero))

    def _charged(self, v: Any, z: Any, row: _Rows, lanes: int) -> Any:
        decay, known = row("decay"), self._known.get("decay")
        if self._rule.charge == "blend":
            return v + _by_unit(z - v, decay, known, lanes)
        return _by_unit(v, decay, known, lanes) + z


class _Rows:
    """Parameters of some channels by name: loaded, or a constant where all channels share one."""

    def __init__(self, params: Any, known: Mapping[str, int], column: Any, lanes: int) -> None:
        self._params, self._known, self._column, self._lanes = params, known, column, lanes

    def __call__(self, name: str) -> Any:
        if name in self._known:
            return simd.splat(T.int32(self._known[name]), self._lanes)
        return simd.load(self._params, [ROWS.index(name)], self._column, self._lanes)


def _by_unit(value: Any, factor: Any, known: int | None, lanes: int) -> Any:
    """``value·factor / 2**15`` rounded to nearest, ties upwards."""
    one = simd.splat(T.int32(1), lanes)
    if known == HALF_DECAY:
        return T.shift_right(value + one, one)
    return scaled(value, factor, simd.splat(T.int32(UNIT_BITS), lanes), lanes)
