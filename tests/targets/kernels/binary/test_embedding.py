"""Scheduled ``binary_embedding``: exact, ids out of range included."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.bit_kernels import rotated, signs
from fixtures.kernels import run_scheduled
from fixtures.operands import normal
from millijoule.converters.ops.binary_embedding import binary_embedding_reference
from millijoule.targets.target import Isa

SHAPES = [(1, 1), (5, 15), (3, 33), (9, 64), (20, 130)]


@pytest.mark.parametrize(("shape", "isa"), rotated(SHAPES))
@pytest.mark.parametrize("zeros", [0.0, 0.2], ids=["binary", "ternary"])
def test_embedding(shape: tuple[int, int], zeros: float, isa: Isa) -> None:
    rows, _ = shape
    ids = np.random.default_rng(0).integers(-1, rows + 1, (2, 4)).astype(np.int32)
    w, scale = signs(shape, zeros), normal((rows,))
    attrs = {"ternary": bool(zeros)}
    (y,) = run_scheduled("binary_embedding", attrs, [ids, w, scale], isa)
    np.testing.assert_array_equal(y, binary_embedding_reference(ids, w, scale))
