"""Scheduled ``rescale`` against its reference: exact."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.kernels import ISAS, run_scheduled
from fixtures.operands import TAILS, rescale_operands
from millijoule.converters.ops.rescale import rescale_reference
from millijoule.targets.target import Isa


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize("right", [1, 22, 32, 45])
@pytest.mark.parametrize("width", TAILS)
def test_widths(width: int, right: int, isa: Isa) -> None:
    operands = rescale_operands((2, 3, width), right)
    (y,) = run_scheduled("rescale", {"right": right}, operands, isa)
    np.testing.assert_array_equal(y, rescale_reference(*operands, right))
