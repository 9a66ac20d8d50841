"""Floors of kernels, with a machine of known speed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from mjbench.floors import floor_us

from millijoule.bundle import Kernel, SpikeInput


class _Machine:
    """Reads 100 GB/s from small buffers, 10 GB/s from large ones; 50 multiply-adds per ns."""

    def read_gb_per_s(self, nbytes: int) -> float:
        return 100.0 if nbytes <= 1 << 20 else 10.0

    def mac_per_ns(self) -> float:
        return 50.0


MACHINE: Any = _Machine()
DENSE = Kernel(
    name="k",
    op="linear",
    layer="l",
    multiplies=1_000_000,
    adds=1_000_000,
    binary_ops=0,
    weight_bytes=400_000,
    bytes_read=490_000,
    bytes_written=10_000,
    outputs=(),
    spike_input=None,
)


def test_many_rows_are_bound_by_arithmetic() -> None:
    assert floor_us(DENSE, {}, MACHINE, DENSE.weight_bytes) == pytest.approx(20)


def test_one_row_is_bound_by_the_cache_that_holds_all_weights() -> None:
    assert floor_us(DENSE, {}, MACHINE, 8_000_000) == pytest.approx(50)


def test_spikes_read_the_rows_that_they_add() -> None:
    spiking = replace(
        DENSE, op="spike_linear", multiplies=0, spike_input=SpikeInput("spikes:a", 256.0, 10_000)
    )
    # 25 spikes × 256 columns × 4 bytes
    assert floor_us(spiking, {"spikes:a": 25.0}, MACHINE, 400_000) == pytest.approx(0.256)


def test_the_memory_step_has_no_floor() -> None:
    assert floor_us(replace(DENSE, op="lmu_step"), {}, MACHINE, 400_000) == 0
