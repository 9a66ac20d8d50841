"""``lif``, ``lif_record``, ``lif_fixed`` for GPUs: a thread is a neuron, its potential a register.

Neighbouring threads are neighbouring channels, so every step of a warp reads and writes whole
lines. The inputs of eight steps are loaded ahead of their scan: they do not wait for one another.

Floor: 5 bytes per neuron and step (x read, spike written) over the bandwidth of memory; on Orin
(204.8 GB/s, NVIDIA's data sheet) 24 ns for 1000 neurons and steps. Below some 10,000 neurons there
are too few threads for that, and a step costs the latency of its chain, about 20 cycles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm.script.ir_builder.tirx as T

from millijoule.converters.ops import LifRule, TensorType, tir
from millijoule.converters.ops.lif.op import (
    LIF,
    LIF_RECORD,
    after_reset,
    charged,
    fires,
    reset_before,
    rule_of,
)
from millijoule.converters.ops.lif_fixed.op import LIF_FIXED, ROWS, scaled
from millijoule.converters.ops.vocabulary import Attrs, VocabularyOp
from millijoule.targets.kernels.form import KernelForm
from millijoule.targets.kernels.threads import Registers, ceil_div, launch, when
from millijoule.targets.target import Isa

THREADS = 64  # few per block, so that small layers reach several multiprocessors
AHEAD = 8  # steps whose inputs are loaded together


def lif_gpu(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """Form of ``lif`` and ``lif_record``."""
    return _scan(LIF_RECORD if "record" in attrs else LIF, attrs, operands, _Real)


def lif_fixed_gpu(attrs: Attrs, operands: Sequence[TensorType], isa: Isa) -> KernelForm:
    """Form of ``lif_fixed``."""
    return _scan(LIF_FIXED, attrs, operands, _Fixed)


class _Real:
    """The neuron in float32."""

    dtype = "float32"

    def __init__(self, params: Any, c: Any, rule: LifRule) -> None:
        names = ("scale", "shift", "decay", "threshold", "reset", "synapse")
        self._p = {name: params[i, c] for i, name in enumerate(names)}
        self._rule, self.zero = rule, T.float32(0)
        self.threshold, self.reset = self._p["threshold"], self._p["reset"]

    def affine(self, x: Any) -> Any:
        """The input as the membrane sees it."""
        return x * self._p["scale"] + self._p["shift"]

    def current(self, i: Any, z: Any) -> Any:
        """The synaptic current behind ``z``."""
        return self._p["synapse"] * i + z

    def charged(self, v: Any, z: Any) -> Any:
        """The potential before the immediate reset."""
        return charged(v, z, self._p["decay"], self.threshold, self._rule, self.zero)


class _Fixed:
    """The neuron in integers."""

    dtype = "int32"

    def __init__(self, params: Any, c: Any, rule: LifRule) -> None:
        self._p = {name: params[i, c] for i, name in enumerate(ROWS)}
        self._rule, self.zero = rule, T.int32(0)
        self.threshold, self.reset = self._p["threshold"], self._p["reset"]

    def affine(self, x: Any) -> Any:
        """The input as the membrane sees it."""
        return scaled(x, self._p["multiplier"], self._p["right"]) + self._p["shift"]

    def current(self, i: Any, z: Any) -> Any:
        """The synaptic current behind ``z``."""
        return scaled(i, self._p["synapse"]) + z

    def charged(self, v: Any, z: Any) -> Any:
        """The potential before the immediate reset."""
        decay = self._p["decay"]
        u = v + scaled(z - v, decay) if self._rule.charge == "blend" else scaled(v, decay) + z
        return reset_before(u, v, self.threshold, self._rule, self.zero)


def _scan(
    op: VocabularyOp, attrs: Attrs, operands: Sequence[TensorType], neuron: type[_Real | _Fixed]
) -> KernelForm:
    batch, steps, channels = operands[0].shape
    results = op.results(attrs, operands)
    with tir.kernel(f"{op.name}_{neuron.dtype}_gpu", operands, results) as k:
        blocks = ceil_div(channels, THREADS), batch
        with launch(blocks, [THREADS]) as ((bx, b), (tx,)):
            c = bx * THREADS + tx
            with when(c < channels if channels % THREADS else True):
                _Neuron(k.buffers, len(operands), attrs, neuron, b, c).run(steps)
    return KernelForm(k.func)


class _Neuron:
    """The code of one thread."""

    def __init__(
        self, buffers: list[Any], operands: int, attrs: Attrs, neuron: Any, b: Any, c: Any
    ) -> None:
        self._x, params, self._state_in = buffers[:3]
        self._valid = buffers[3] if operands == 4 else None
        self._spikes, self._state = buffers[operands : operands + 2]
        self._record, self._membrane = attrs.get("record"), buffers[-1]
        self._rule, self._dtype = rule_of(attrs), attrs["dtype"]
        self._b, self._c, self._neuron = b, c, neuron(params, c, self._rule)
        self._ahead = Registers(AHEAD, neuron.dtype)
        self._v, self._i, self._u, self._z = (Registers(1, neuron.dtype) for _ in range(4))

    def run(self, steps: int) -> None:
        """Load the state, scan, store the state."""
        b, c, rule = self._b, self._c, self._rule
        self._v[0] = self._state_in[b, 0, c]
        if rule.synaptic:
            self._i[0] = self._state_in[b, 1, c]
        whole, rest = divmod(steps, AHEAD)
        if whole:
            with T.serial(0, whole) as i:
                self._steps(i * AHEAD, AHEAD)
        if rest:
            self._steps(whole * AHEAD, rest)
        tir.store(self._state, [b, 0, c], self._v[0])
        if rule.synaptic:
            tir.store(self._state, [b, 1, c], self._i[0])

    def _steps(self, first: Any, count: int) -> None:
        for j in range(count):
            self._ahead[j] = self._x[self._b, first + j, self._c]
        for j in range(count):
            self._gated(first + j, j)

    def _gated(self, t: Any, j: int) -> None:
        if self._valid is None:
            self._step(t, j)
            return
        with T.If(self._valid[t] != 0):
            with T.Then():
                self._step(t, j)
            with T.Else():
                tir.store(self._spikes, [self._b, t, self._c], T.cast(0, self._dtype))
                if self._record:
                    tir.store(self._membrane, [self._b, t, self._c], self._v[0])

    def _step(self, t: Any, j: int) -> None:
        rule, neuron, at = self._rule, self._neuron, [self._b, t, self._c]
        self._z[0] = neuron.affine(self._ahead[j])
        if rule.synaptic:
            self._i[0] = neuron.current(self._i[0], self._z[0])
            self._z[0] = self._i[0]
        v = self._v[0]
        self._u[0] = neuron.charged(v, self._z[0])
        u = self._u[0]
        if self._record == "before":
            tir.store(self._membrane, at, u)
        spike = T.cast(fires(u, neuron.threshold, rule), self._dtype)
        tir.store(self._spikes, at, spike)
        self._v[0] = after_reset(u, v, neuron.threshold, neuron.reset, rule, neuron.zero)
        if self._record == "after":
            tir.store(self._membrane, at, self._v[0])
