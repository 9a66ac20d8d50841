"""Operation counts: dense from the manifest, actual from the spikes that really occur.

A spike-driven kernel accumulates ``adds_per_spike`` times per spike in the tensor it reads (its
*tap*), so its actual accumulates are ``adds_per_spike × spikes``, averaged over the given inputs.
One MAC is one multiply with one add; a spike-driven kernel counts its dense accumulates as MACs,
which is how papers count the network it replaces.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from ..bundle import Kernel, KernelOutput, Manifest, layer_group
from ..energy import Work
from .layers import GLUE
from .one_bit import OneBit, one_bit
from .workload import Workload

MAX_CALLS = 2048

# In an int8 program these work on int8 weights; what gives float works on float, the rest on int32.
_INT8_OPS = {"conv1d", "linear", "lmu_memory", "lmu_step_fixed", "spike_conv", "spike_linear"}


@dataclass(frozen=True)
class Tap:
    """Spikes in one tensor.

    Attributes:
        spikes: Mean number of spikes per program call.
        positions: Number of places where a spike can be.
    """

    spikes: float
    positions: int

    @property
    def rate(self) -> float:
        """Share of positions with a spike."""
        return self.spikes / self.positions


@dataclass(frozen=True)
class KernelOperations:
    """What one kernel does per program call; ``adds`` is the actual number, ``macs`` is dense.

    ``dtype``: what it computes on.
    """

    name: str
    op: str
    layer: str
    macs: int
    multiplies: int
    dense_adds: int
    adds: float
    binary_ops: int
    weight_bytes: int
    activation_bytes: int
    spike_rate: float | None
    dtype: str

    def work(self) -> Work:
        """For the energy estimate: columns of inactive inputs are not read either."""
        share = 1.0 if self.spike_rate is None else self.spike_rate
        return Work(
            layer=self.layer,
            multiplies=self.multiplies,
            adds=self.adds,
            binary_ops=self.binary_ops,
            weight_bytes=self.weight_bytes * share,
            activation_bytes=self.activation_bytes,
            dtype=self.dtype,
        )

    def dense_work(self) -> Work:
        """The same kernel with every input active, each accumulate still one add."""
        return Work(
            self.layer,
            self.multiplies,
            self.dense_adds,
            self.binary_ops,
            self.weight_bytes,
            self.activation_bytes,
            self.dtype,
        )

    def mac_work(self) -> Work:
        """The conventional network in its place: every dense accumulate is a full MAC."""
        multiplies = self.macs if self.spike_rate is not None else self.multiplies
        return replace(self.dense_work(), multiplies=multiplies)


@dataclass(frozen=True)
class Operations:
    """Counts per program call.

    Attributes:
        kernels: In program order.
        taps: By tap name.
        calls: Program calls over which spikes were averaged; 0 when nothing spikes.
        published: The model's dense MACs per sample (for a stream: per whole sequence) by group, as
            papers count them, whatever the program does instead.
        one_bit: Of a program with one-bit operations.
    """

    kernels: tuple[KernelOperations, ...]
    taps: dict[str, Tap]
    calls: int
    published: dict[str, int]
    one_bit: OneBit | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON. Dense counts are exact; spike rates are measured on the inputs."""
        return {
            "status": "measured",
            "source": "manifest counts; spikes counted over the inputs",
            "calls": self.calls,
            "published_macs": self.published,
            **({"one_bit": self.one_bit.to_dict()} if self.one_bit else {}),
            "totals": _sums(self.kernels),
            "groups": self._by(lambda kernel: layer_group(kernel.layer)),
            "layers": self._by(lambda kernel: kernel.layer),
            "kernels": [asdict(kernel) for kernel in self.kernels],
            "taps": [
                {"name": name, "spikes": t.spikes, "positions": t.positions, "spike_rate": t.rate}
                for name, t in self.taps.items()
            ],
        }

    def _by(self, key: Any) -> list[dict[str, Any]]:
        groups: dict[str, list[KernelOperations]] = {}
        for kernel in self.kernels:
            groups.setdefault(key(kernel), []).append(kernel)
        return [{"name": name, **_sums(members)} for name, members in groups.items()]


def count_operations(manifest: Manifest, workload: Workload) -> Operations:
    """Count one pass over the inputs (at most 2048 calls)."""
    tensors = {out.name: out for _, out in manifest.taps() if out.name is not None}
    wanted = {k.spike_input.tap for k in manifest.kernels if k.spike_input}
    names = [name for name in tensors if name in wanted]
    taps, calls = _count_spikes(workload, {name: tensors[name] for name in names})
    kernels = tuple(_kernel(k, taps, manifest.target.dtype) for k in manifest.kernels)
    published = manifest.model.published_macs()
    return Operations(kernels, taps, calls, published, one_bit(manifest))


def _count_spikes(
    workload: Workload, tensors: dict[str, KernelOutput]
) -> tuple[dict[str, Tap], int]:
    if not tensors:
        return {}, 0
    spikes = dict.fromkeys(tensors, 0)
    calls = 0
    for call in islice(workload.calls, MAX_CALLS):
        workload.prepare(call)
        for name, values in workload.tap(call, list(tensors)).items():
            spikes[name] += int(np.count_nonzero(values))
        calls += 1
    return {
        name: Tap(spikes[name] / calls, int(np.prod(tensor.shape)))
        for name, tensor in tensors.items()
    }, calls


def _dtype(kernel: Kernel, program: str) -> str:
    """What a kernel of a program of that dtype computes on.

    Kernels of our own that multiply in float16 say so in their names; the others only store it.
    """
    if program == "float16" and kernel.name.startswith("mjk_"):
        return program if kernel.name.endswith("_f16") else "float32"
    if program != "int8" or kernel.op in _INT8_OPS:
        return program
    first = kernel.outputs[0].dtype if kernel.outputs else ""
    return "float32" if first == "float32" or kernel.op == "quantize" else "int32"


def _kernel(kernel: Kernel, taps: dict[str, Tap], program: str) -> KernelOperations:
    spike = kernel.spike_input
    tap = taps.get(spike.tap) if spike else None
    adds = float(kernel.adds)
    if spike and tap:
        adds += spike.adds_per_spike * tap.spikes - spike.dense_adds
    return KernelOperations(
        name=kernel.name,
        op=kernel.op,
        layer=kernel.layer or GLUE,
        macs=spike.dense_adds if spike else min(kernel.multiplies, kernel.adds),
        multiplies=kernel.multiplies,
        dense_adds=kernel.adds,
        adds=adds,
        binary_ops=kernel.binary_ops,
        weight_bytes=kernel.weight_bytes,
        activation_bytes=kernel.bytes_read + kernel.bytes_written,
        spike_rate=tap.rate if tap else None,
        dtype=_dtype(kernel, program),
    )


def _sums(kernels: Iterable[KernelOperations]) -> dict[str, float]:
    fields = ("macs", "multiplies", "dense_adds", "adds", "binary_ops", "weight_bytes")
    rows = list(kernels)
    sums: dict[str, float] = {name: sum(getattr(k, name) for k in rows) for name in fields}
    return {**sums, "activation_bytes": sum(k.activation_bytes for k in rows)}
