"""Resizing against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fixtures.kernels import ISAS, call, types_of
from fixtures.operands import normal
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels import form
from millijoule.targets.kernels.conv.resize import resize_f32, table
from millijoule.targets.target import Isa

NEAREST = ("nearest_neighbor", "asymmetric", "floor")


def resized(x: np.ndarray, size: tuple[int, int], isa: Isa, *how: str) -> np.ndarray:
    tables = [table(x.shape[a + 1], size[a], *how) for a in (0, 1)]
    arrays = [a for t in tables for a in (t.inputs, t.weights)]
    result = TensorType((x.shape[0], *size, x.shape[3]), "float32")
    kernel = resize_f32(types_of([x])[0], *tables, result, isa)
    return call(kernel, [x, *arrays], [result], isa)[0]


def in_torch(x: np.ndarray, size: tuple[int, int], **how: object) -> np.ndarray:
    y = F.interpolate(torch.tensor(x).permute(0, 3, 1, 2), size, **how)
    return y.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize("size", [(10, 12), (7, 3), (1, 1)])
def test_methods(size: tuple[int, int], isa: Isa, monkeypatch: pytest.MonkeyPatch) -> None:
    x = normal((2, 5, 6, 17))
    monkeypatch.setattr(form, "PARALLEL_OPERATIONS", 1 if isa.lanes == 8 else 1 << 30)
    np.testing.assert_array_equal(resized(x, size, isa, *NEAREST), in_torch(x, size))
    for coordinates, corners in (("half_pixel", False), ("align_corners", True)):
        got = resized(x, size, isa, "linear", coordinates, "")
        expected = in_torch(x, size, mode="bilinear", align_corners=corners)
        np.testing.assert_allclose(got, expected, atol=2e-6)


@pytest.mark.parametrize(
    "how",
    [
        ("cubic", "half_pixel", ""),
        ("linear", "tf_crop_and_resize", ""),
        ("nearest_neighbor", "half_pixel", "ceil"),
        ("nearest_neighbor", "half_pixel", "round"),  # 4 → 2 lies halfway everywhere
    ],
)
def test_what_it_leaves_alone(how: tuple[str, str, str]) -> None:
    assert table(4, 2, *how) is None
