"""What the manifest says of a program for GPUs: machine code, launches, resources, occupancy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from millijoule.bundle import CudaKernel, CudaLaunch, CudaProgram, Manifest
from millijoule.converters.model import Model
from millijoule.targets.compilers import Toolchain
from millijoule.targets.cpu.codegen import Memory
from millijoule.targets.cpu.describe import describe
from millijoule.targets.cpu.plan import Plan
from millijoule.targets.jetson.cuda import CudaSource, Launch
from millijoule.targets.jetson.nvrtc import Cubin
from millijoule.targets.target import Target


def describe_cuda(
    model: Model,
    target: Target,
    plan: Plan,
    memory: Memory,
    library: str,
    cc: Toolchain,
    source: CudaSource,
    cubins: Sequence[Cubin],
) -> Manifest:
    """The manifest of ``model`` as compiled for ``target``."""
    manifest = describe(model, target, plan, memory, library, 1, cc)
    launches = tuple(
        CudaLaunch(index, made.kernel, made.grid, made.block, made.shared)
        for index, call in enumerate(plan.calls)
        for made in source.functions[call.symbol].calls
    )
    first: dict[str, Launch] = {}
    for function in source.functions.values():
        for made in function.calls:
            first.setdefault(made.kernel, made)
    kernels = tuple(_kernel(cubin, name, first[name]) for cubin in cubins for name in sorted(first))
    compilers = {f"nvrtc sm_{c.sm}": c.compiler for c in cubins}
    scheduled = sum(call.meta.scheduled for call in plan.calls)
    return replace(
        manifest,
        toolchain={**manifest.toolchain, **compilers},
        cuda=CudaProgram(tuple(c.sm for c in cubins), launches, kernels, scheduled),
    )


def _kernel(cubin: Cubin, name: str, launch: Launch) -> CudaKernel:
    found = cubin.kernels[name]
    threads = launch.block[0] * launch.block[1] * launch.block[2]
    room = found.occupancy(cubin.sm, threads, launch.shared)
    return CudaKernel(
        name=name,
        sm=cubin.sm,
        registers=found.registers,
        shared=found.shared + launch.shared,
        spill_bytes=found.spills,
        stack=found.stack,
        occupancy=round(room.share, 4),
        limit=room.limit,
    )
