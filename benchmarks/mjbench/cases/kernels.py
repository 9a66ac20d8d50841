"""Spike-driven kernels alone: does time fall with the spike rate, and how far is the floor?

Each kernel is the only one of a small bundle and is timed by the runtime's own clock around it. The
dense kernel of the same layer gets the same spikes as float32. The floor is what it takes to read
the weight rows of active inputs from the cache that holds them: their bytes over the bandwidth
measured in this run on a buffer of the weights' size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule import Session
from millijoule.converters.importer import import_program
from millijoule.converters.model import Model
from millijoule.converters.ops import TensorType, spike_conv, spike_linear
from millijoule.executors import aligned_empty
from millijoule.targets import build
from mjbench import models
from mjbench.checks import require_close
from mjbench.measure import Contender, interleave, ratio
from mjbench.result import CaseResult, Goal, Settings

RATES = (0.02, 0.10, 0.30, 1.00)
CALLS, WARMUP = 64, 16
PATTERNS = 32


@dataclass(frozen=True)
class Layer:
    """A layer with one row of output: ``taps`` × ``inputs`` → ``outputs``; taps 0 means linear."""

    name: str
    inputs: int
    outputs: int
    taps: int = 0

    @property
    def rows(self) -> int:
        """Weight rows, one per input and tap."""
        return self.inputs * max(self.taps, 1)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """[1, taps, inputs]: just the steps that one output step needs."""
        return 1, max(self.taps, 1), self.inputs


LAYERS = (
    Layer("spike_linear 256→1024", 256, 1024),
    Layer("spike_linear 1024→256", 1024, 256),
    Layer("spike_conv 256→256 k3", 256, 256, taps=3),
)


class _Spiking(nn.Module):
    def __init__(self, layer: Layer, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.layer, self.weight, self.bias = layer, nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, s: Tensor) -> Tensor:
        if self.layer.taps:
            return spike_conv(s, self.weight, padding=0)
        return spike_linear(s, self.weight, self.bias)


class _Dense(_Spiking):
    def forward(self, s: Tensor) -> Tensor:
        if self.layer.taps:
            kernel = self.weight.permute(2, 1, 0)
            return F.conv1d(s.transpose(1, 2), kernel).transpose(1, 2)
        return F.linear(s, self.weight.T, self.bias)


def run_kernels(settings: Settings) -> CaseResult:
    """Time every layer at every rate, against its dense form and the floor."""
    contenders: list[Contender] = []
    columns: dict[str, dict[str, str]] = {}
    floors: dict[str, float] = {}
    sessions = []
    bandwidth = {f"{kib} KiB": settings.loops.read_gb_per_s(kib << 10) for kib in (512, 8192)}
    for layer in LAYERS:
        gb_per_s = settings.loops.read_gb_per_s(4 * layer.rows * layer.outputs)
        bandwidth[layer.name] = gb_per_s
        spiking, dense = _build(layer, settings.work)
        sessions += [spiking, dense]
        contenders.append(
            Contender(f"{layer.name} dense", kernel_block(dense, _patterns(layer, 0.1, "float32")))
        )
        for rate in RATES:
            name = f"{layer.name} {rate:.0%}"
            contenders.append(
                Contender(name, kernel_block(spiking, _patterns(layer, rate, "uint8")))
            )
            floors[name] = _active(layer, rate) * 4 * layer.outputs / gb_per_s / 1e3
        floors[f"{layer.name} dense"] = floors[f"{layer.name} 100%"]
    timings = interleave(
        contenders, settings.rounds, lambda n: settings.progress(n, settings.rounds)
    )
    for session in sessions:
        session.close()
    ratios, goals = [], []
    for layer in LAYERS:
        per_rate = [timings[f"{layer.name} {rate:.0%}"] for rate in RATES]
        ratios += [ratio(timings[f"{layer.name} dense"], t) for t in per_rate]
        medians = [t.median_us for t in per_rate]
        rising = sum(a < b for a, b in pairwise(medians))
        goals.append(
            Goal(f"{layer.name}: time falls with the rate (steps)", rising, len(RATES) - 1)
        )
    for name, timing in timings.items():
        columns[name] = {
            "floor µs": f"{floors[name]:.2f}",
            "× floor": f"{timing.median_us / floors[name]:.2f}",
        }
    return CaseResult(
        name="kernels",
        title="Spike-driven kernels, one row, 1 thread",
        timings=timings,
        ratios=ratios,
        goals=goals,
        notes=["read bandwidth GB/s: " + ", ".join(f"{k} {v:.0f}" for k, v in bandwidth.items())],
        extra={"floor_us": floors, "read_gb_per_s": bandwidth},
        columns=columns,
    )


def _active(layer: Layer, rate: float) -> int:
    return round(layer.rows * rate)


def _patterns(layer: Layer, rate: float, dtype: str) -> list[np.ndarray]:
    """Random inputs with just the active number of spikes."""
    rng = np.random.default_rng(3)
    patterns = []
    for _ in range(PATTERNS):
        spikes = aligned_empty(layer.input_shape, dtype)
        spikes[...] = 0
        spikes.reshape(-1)[rng.permutation(layer.rows)[: _active(layer, rate)]] = 1
        patterns.append(spikes)
    return patterns


def _build(layer: Layer, work: Path) -> tuple[Session, Session]:
    """The layer spike-driven and dense, checked against each other."""
    generator = torch.Generator().manual_seed(4)
    shape: tuple[int, ...] = (layer.inputs, layer.outputs)
    if layer.taps:
        shape = (layer.taps, *shape)
    weight = torch.randn(shape, generator=generator) / layer.rows**0.5
    bias = torch.randn(layer.outputs, generator=generator)
    name = layer.name.replace(" ", "-").replace("→", "-")
    sessions = []
    for kind, module in (("spiking", _Spiking), ("dense", _Dense)):
        sample = torch.from_numpy(
            _patterns(layer, 0.1, "uint8" if kind == "spiking" else "float32")[0]
        )
        out = work / f"{name}-{kind}.mjb"
        build(
            module_model(f"{name}-{kind}", module(layer, weight, bias).eval(), sample), "host", out
        ).close()
        sessions.append(models.load(out))
    spikes = _patterns(layer, 0.3, "uint8")[0]
    spiking, dense = (s.run({"s": spikes.astype(s.inputs[0].dtype)})["y"] for s in sessions)
    require_close(layer.name, spiking, dense)
    return sessions[0], sessions[1]


def module_model(name: str, module: nn.Module, sample: Tensor) -> Model:
    """``module`` of one input ``s`` and one output ``y`` as a model."""
    program, layers = import_program(torch.export.export(module, (sample,)))
    with torch.no_grad():
        y = module(sample).numpy()
    spec = TensorType(tuple(sample.shape), str(sample.dtype).removeprefix("torch."))
    return Model(
        name=name,
        module=program,
        layers=layers,
        inputs=(("s", spec),),
        outputs=(("y", TensorType(tuple(y.shape), "float32")),),
        sample_inputs={"s": sample.numpy()},
        sample_outputs={"y": y},
    )


def kernel_block(session: Session, patterns: list[np.ndarray]) -> Any:
    """Kernel time per call, from the runtime's clock."""
    program = session.program
    out = [aligned_empty(s.shape, s.dtype) for s in session.outputs]

    def calls(count: int) -> Iterator[int]:
        for index in range(count):
            program.clear_kernel_ns()
            program.run([patterns[index % len(patterns)]], out)
            yield int(program.kernel_ns().sum())

    def block() -> list[int]:
        program.kernel_times(True)
        list(calls(WARMUP))
        return list(calls(CALLS))

    return block
