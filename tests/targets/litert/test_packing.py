"""Weights of two and four bits as LiteRT reads them."""

from __future__ import annotations

import numpy as np
import pytest

from millijoule.targets.litert.builder import pack


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 64, 65])
def test_packing(bits: int, count: int) -> None:
    rng = np.random.default_rng(count)
    values = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), count).astype(np.int8)
    packed = np.frombuffer(pack(values, bits), np.uint8)
    assert packed.size == -(-count * bits // 8)
    planes = np.stack([packed >> (bits * i) & ((1 << bits) - 1) for i in range(8 // bits)], 1)
    flat = planes.ravel()[:count].astype(np.int8)
    np.testing.assert_array_equal(np.where(flat >> (bits - 1), flat - (1 << bits), flat), values)
