"""Scheduled ``quantize`` against its reference: exact."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.kernels import ISAS, run_scheduled
from fixtures.operands import TAILS, normal
from millijoule.converters.ops.quantize import quantize_reference
from millijoule.targets.target import Isa

by_isa = pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)


@by_isa
@pytest.mark.parametrize("width", TAILS)
def test_widths(width: int, isa: Isa) -> None:
    x = normal((2, 3, width))
    x[0, 0, 0], x[1, 2, -1] = 1e30, -np.inf
    x[0, 1] = np.rint(x[0, 1] / 0.02) * 0.02 + 0.01  # close to ties
    (q,) = run_scheduled("quantize", {"scale": 0.02}, [x], isa)
    np.testing.assert_array_equal(q, quantize_reference(x, 0.02))
