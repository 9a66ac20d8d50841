"""A compiled `Model` → the manifest of its bundle, for every kind of program."""

from __future__ import annotations

from typing import Any

from millijoule.bundle import Arena, Manifest, Program
from millijoule.bundle import Target as TargetInfo
from millijoule.converters.model import Model
from millijoule.targets import versions
from millijoule.targets.compilers import Toolchain
from millijoule.targets.cpu.codegen import Memory
from millijoule.targets.cpu.manifest import describe_kernels
from millijoule.targets.cpu.plan import Plan
from millijoule.targets.describe import (
    batch_of,
    io_specs,
    model_info,
    streaming_info,
    tolerance_of,
)
from millijoule.targets.target import Target

WEIGHTS = "program/weights.bin"
ABI_VERSION = 1  # MJ_ABI_VERSION of millijoule.h


def describe(
    model: Model,
    target: Target,
    plan: Plan,
    memory: Memory,
    library: str,
    threads: int,
    cc: Toolchain,
    *,
    half: bool = False,
    tuning: dict[str, Any] | None = None,
) -> Manifest:
    """The manifest of ``model`` as compiled by ``cc``; ``library``: the member with the program.

    ``half``: the program stores its numbers in float16. ``tuning``: which kernel has the schedule
    of which tuning record, if there were any to choose from.
    """
    dtype = "int8" if model.quantization else "float16" if half else "float32"
    inputs, outputs = io_specs(model)
    return Manifest(
        model=model_info(model),
        target=TargetInfo(
            name=target.name,
            kind=target.kind,
            triple=target.triple,
            cpu=target.cpu,
            features=target.features(),
            dtype=dtype,
            threads=threads,
        ),
        inputs=inputs,
        outputs=outputs,
        program=Program(target.kind, library, WEIGHTS, ABI_VERSION),
        arena=Arena(
            memory.total, memory.planned, memory.workspace, memory.states, memory.alignment
        ),
        kernels=describe_kernels(plan, batch_of(model), model.aliases),
        streaming=streaming_info(model, model.states),
        quantization=dict(model.quantization) if model.quantization else None,
        toolchain=versions.toolchain(cc) | ({} if tuning is None else {"tuning": tuning}),
        tolerance=tolerance_of(model, "float16" if half else "float32"),
        dims=model.dims,
    )
