"""The part of a manifest that only programs for NVIDIA GPUs have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .fields import Fields

__all__ = [
    "CUDA_ENTRY",
    "CUDA_SOURCE",
    "STATIC_CUDA",
    "CudaKernel",
    "CudaLaunch",
    "CudaProgram",
]

#: ``program.kind`` of a shared library whose kernels run on an NVIDIA GPU.
STATIC_CUDA = "static-cuda"
#: Members: CUDA C of every kernel, and the C tables of launches that are compiled into the library.
CUDA_SOURCE, CUDA_ENTRY = "program/kernels.cu", "program/entry.c"

_MAX_GRID, _MAX_BLOCK, _MAX_SHARED = (1 << 31) - 1, 1024, 1 << 20
_MAX_LAUNCHES = 1 << 16
_LIMITS = ("warps", "blocks", "registers", "shared")


@dataclass(frozen=True)
class CudaLaunch:
    """One launch. ``call``: index into ``kernels`` of the manifest; several may belong to one.

    ``grid`` in blocks and ``block`` in threads, along x, y and z; ``shared``: bytes of dynamic
    shared memory.
    """

    call: int
    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int = 0

    @classmethod
    def from_json(cls, value: Any, where: str) -> CudaLaunch:
        """Read one entry of ``cuda.launches``."""
        with Fields(value, where) as fields:
            launch = cls(
                fields.integer("call", 0, _MAX_LAUNCHES),
                fields.text("kernel"),
                fields.shape("grid", 3),
                fields.shape("block", 3),
                fields.integer("shared", 0, _MAX_SHARED),
            )
            for name, sizes, limit in (
                ("grid", launch.grid, _MAX_GRID),
                ("block", launch.block, _MAX_BLOCK),
            ):
                if len(sizes) != 3 or not all(1 <= s <= limit for s in sizes):
                    fields.fail(name, f"three sizes of 1 to {limit}")
            return launch


@dataclass(frozen=True)
class CudaKernel:
    """What the assembler says of one kernel's machine code for compute capability ``sm`` / 10.

    ``registers`` per thread; bytes: ``shared`` (static and dynamic) per block, ``spill_bytes`` and
    ``stack`` per thread. ``occupancy``: warps on a multiprocessor as a share of what it holds,
    estimated from limits, and ``limit``, which of them it is: warps, blocks, registers or shared.
    """

    name: str
    sm: int
    registers: int
    shared: int
    spill_bytes: int
    stack: int
    occupancy: float
    limit: str

    @classmethod
    def from_json(cls, value: Any, where: str) -> CudaKernel:
        """Read one entry of ``cuda.kernels``."""
        with Fields(value, where) as fields:
            return cls(
                name=fields.text("name"),
                sm=fields.integer("sm", 1, 1 << 12),
                registers=fields.integer("registers", 0, 255),
                shared=fields.integer("shared", 0, _MAX_SHARED),
                spill_bytes=fields.integer("spill_bytes"),
                stack=fields.integer("stack"),
                occupancy=fields.real("occupancy"),
                limit=fields.choice("limit", _LIMITS),
            )


@dataclass(frozen=True)
class CudaProgram:
    """``sms``: compute capabilities × 10 that the library has machine code for.

    ``scheduled``: how many kernel calls have a schedule; the others run in one thread.
    """

    sms: tuple[int, ...]
    launches: tuple[CudaLaunch, ...]
    kernels: tuple[CudaKernel, ...]
    scheduled: int

    @classmethod
    def from_json(cls, fields: Fields) -> CudaProgram:
        """Read ``cuda``."""
        with fields:
            return cls(
                fields.shape("sms", 16),
                fields.items("launches", _MAX_LAUNCHES, CudaLaunch.from_json),
                fields.items("kernels", _MAX_LAUNCHES, CudaKernel.from_json),
                fields.integer("scheduled", 0, _MAX_LAUNCHES),
            )
