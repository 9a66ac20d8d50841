"""Occupancy of an SM, against values worked out by hand from the published limits."""

from __future__ import annotations

import pytest

from millijoule.errors import UsageError
from millijoule.targets.jetson.multiprocessor import multiprocessor, occupancy


@pytest.mark.parametrize(
    ("sm", "threads", "registers", "shared", "share", "limit"),
    [
        (87, 256, 32, 0, 1.0, "warps"),
        (87, 32, 32, 0, 16 / 48, "blocks"),
        # 128 registers · 32 = 4096 a warp, 16 warps: two blocks of eight
        (87, 256, 128, 0, 16 / 48, "registers"),
        (87, 128, 32, 48 * 1024, 12 / 48, "shared"),  # 49 KiB with the system's: 3 of 164
        (110, 128, 32, 48 * 1024, 16 / 48, "shared"),  # 4 of 228
        (72, 128, 32, 48 * 1024, 8 / 64, "shared"),  # nothing for the system: 2 of 96
        (80, 1024, 32, 0, 1.0, "warps"),
    ],
)
def test_what_limits_a_kernel(
    sm: int, threads: int, registers: int, shared: int, share: float, limit: str
) -> None:
    found = occupancy(sm, threads, registers, shared)
    assert (found.share, found.limit) == (share, limit)


def test_a_block_that_does_not_fit() -> None:
    assert occupancy(87, 1024, 128, 0).share == 0
    assert occupancy(87, 64, 32, 200 * 1024).blocks == 0


def test_an_unknown_gpu() -> None:
    with pytest.raises(UsageError, match=r"compute capability must be one of 72, 75.*but is 53"):
        multiprocessor(53)
