"""Cost tables and estimates against numbers worked out by hand."""

from __future__ import annotations

import pytest

from millijoule.energy import EnergyEstimate, Work, cost_table, estimate
from millijoule.errors import UsageError

HOROWITZ = cost_table("horowitz-isscc14-45nm")
PAPERS = cost_table("snn-papers")


def run(work: list[Work], table: str = HOROWITZ.name, **sizes: int) -> EnergyEstimate:
    sizes = {"weight_bytes": 4 << 20, "arena_bytes": 8 << 10, **sizes}
    return estimate(work, cost_table(table), dtype="float32", **sizes)


def test_multiply_accumulate_and_accumulate() -> None:
    work = [Work("dense", 1000, 1000), Work("spiking", 0, 500)]
    result = run(work, "snn-papers")
    assert result.compute_mj.value == pytest.approx((1000 * 4.6 + 500 * 0.9) * 1e-9)
    assert result.compute_mj.status == "estimated"
    assert result.layers_mj["spiking"].value == pytest.approx(450e-9)
    assert result.memory_mj.reason == "snn-papers has no price for memory"
    assert result.total_mj.value is None
    assert "all memory traffic" in result.leaves_out


def test_memory_is_priced_by_where_the_data_fits() -> None:
    result = run([Work("a", 0, 0, weight_bytes=800, activation_bytes=80)])
    low, high = 800 * 162.5 + 80 * 1.25, 800 * 325.0 + 80 * 1.25
    assert result.memory_mj.value == pytest.approx((low + high) / 2 * 1e-9)
    assert result.memory_mj.uncertainty == pytest.approx((high - low) / 2 * 1e-9)
    assert "weights (4,194,304 bytes) live in DRAM at 162.5–325 pJ per byte" in result.assumptions
    assert result.total_mj.value == pytest.approx(result.memory_mj.value)


@pytest.mark.parametrize(
    ("size", "level"),
    [(1, "8 KB"), (8192, "8 KB"), (8193, "32 KB"), (1 << 20, "1 MB"), ((1 << 20) + 1, "DRAM")],
)
def test_memory_levels(size: int, level: str) -> None:
    found = HOROWITZ.level_for(size)
    assert found is not None
    assert found.name.startswith(level)


def test_binary_operations() -> None:
    work = [Work("bits", 0, 0, binary_ops=3200)]
    assert run(work).compute_mj.value == pytest.approx(20e-9)
    assert (
        run(work, "snn-papers").compute_mj.reason == "snn-papers has no price for 1-bit operations"
    )


def test_unpriced_dtype() -> None:
    result = estimate([Work("a", 1, 1)], HOROWITZ, dtype="float64", weight_bytes=1, arena_bytes=1)
    assert "no price for float64, only for float32, float16, int8" in result.compute_mj.reason


def test_unknown_table() -> None:
    with pytest.raises(UsageError, match="unknown cost table 'x'; use one of: horowitz"):
        cost_table("x")
