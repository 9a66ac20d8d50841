"""Limits of one streaming multiprocessor (SM), and how many warps of a kernel fit on it at once.

Sources: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; for 11.0
and 12.0 the traits in NVIDIA's CCCL (``cuda/__device/arch_traits.h``). Registers are given out in
units of 256 per warp, shared memory in units of 128 bytes (256 before 8.0), 1 KiB of it to the
system for every block from 8.0 on: ``cuda_occupancy.h`` of the CUDA toolkit.
"""

from __future__ import annotations

from dataclasses import dataclass

from millijoule.errors import UsageError

WARP = 32
_REGISTERS_UNIT = 256  # given to a warp at once
_KIB = 1024


@dataclass(frozen=True)
class Multiprocessor:
    """What one SM of compute capability ``sm`` / 10 holds at most.

    ``shared``: bytes of shared memory. ``bit_mma``: tensor cores multiply one-bit matrices in
    hardware.
    """

    sm: int
    threads: int
    blocks: int
    shared: int
    bit_mma: bool
    registers: int = 65536

    @property
    def warps(self) -> int:
        """Warps that can be resident."""
        return self.threads // WARP

    @property
    def modern(self) -> bool:
        """Whether blocks give 1 KiB of shared memory to the system."""
        return self.sm >= 80


_TABLE = {
    gpu.sm: gpu
    for gpu in (
        Multiprocessor(72, 2048, 32, 96 * _KIB, bit_mma=False),
        Multiprocessor(75, 1024, 16, 64 * _KIB, bit_mma=False),
        Multiprocessor(80, 2048, 32, 164 * _KIB, bit_mma=True),
        Multiprocessor(86, 1536, 16, 100 * _KIB, bit_mma=True),
        Multiprocessor(87, 1536, 16, 164 * _KIB, bit_mma=True),
        Multiprocessor(89, 1536, 24, 100 * _KIB, bit_mma=True),
        # from here on the compiler writes the one-bit product out in ordinary instructions
        Multiprocessor(90, 2048, 32, 228 * _KIB, bit_mma=False),
        Multiprocessor(110, 1536, 24, 228 * _KIB, bit_mma=False),
        Multiprocessor(120, 1536, 24, 100 * _KIB, bit_mma=False),
    )
}


def multiprocessor(sm: int) -> Multiprocessor:
    """The limits of compute capability ``sm`` / 10; UsageError for one that is not in the table."""
    if sm not in _TABLE:
        known = ", ".join(str(k) for k in _TABLE)
        raise UsageError(f"[cuda] compute capability must be one of {known}, but is {sm}")
    return _TABLE[sm]


@dataclass(frozen=True)
class Occupancy:
    """Warps on an SM as a share of what it can hold, and what keeps it from holding more.

    ``limit``: "warps", "blocks", "registers" or "shared". An estimate from limits: how many warps a
    kernel needs to hide its latencies is another question.
    """

    share: float
    blocks: int
    limit: str


def occupancy(sm: int, threads: int, registers: int, shared: int) -> Occupancy:
    """Of blocks of ``threads`` threads with ``registers`` each and ``shared`` bytes together."""
    gpu = multiprocessor(sm)
    warps = -(-threads // WARP)
    per_warp = -(-max(registers, 1) * WARP // _REGISTERS_UNIT) * _REGISTERS_UNIT
    # four schedulers share the register file in equal parts, so warps are given out in fours
    warps_by_registers = gpu.registers // per_warp // 4 * 4
    unit = 128 if gpu.modern else 256
    memory = shared + (_KIB if gpu.modern else 0)
    fits = {
        "warps": gpu.warps // warps,
        "blocks": gpu.blocks,
        "registers": warps_by_registers // warps,
        "shared": gpu.shared // max(-(-memory // unit) * unit, 1),
    }
    limit = min(fits, key=lambda name: fits[name])
    return Occupancy(fits[limit] * warps / gpu.warps, fits[limit], limit)
