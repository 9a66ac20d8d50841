"""Concatenation as copies: every axis, dtypes, tails, and more inputs than two."""

from __future__ import annotations

import numpy as np
import pytest
import tvm

from millijoule.converters.ops import TensorType
from millijoule.targets.kernels.concat import Part, concat
from millijoule.targets.target import AVX2, AVX512, Isa, get_target


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda isa: isa.name)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int32"])
@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        ([(5,), (1,)], 0),
        ([(1, 2, 17), (1, 1, 17)], 1),
        ([(2, 3, 64), (2, 3, 65), (2, 3, 1)], 2),
        ([(3, 2, 16), (1, 2, 16)], 0),
    ],
)
def test_equals_numpy(shapes: list[tuple[int, ...]], axis: int, dtype: str, isa: Isa) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 100, shape).astype(dtype) for shape in shapes]
    expected = np.concatenate(arrays, axis=axis)
    parts = [Part.whole(TensorType(a.shape, dtype), axis) for a in arrays]
    np.testing.assert_array_equal(run(parts, arrays, expected, axis, isa), expected)


@pytest.mark.parametrize("isa", [AVX512, AVX2], ids=lambda isa: isa.name)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_parts_of_operands(axis: int, isa: Isa) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 100, (4, 5, 37)).astype("uint8") for _ in range(2)]
    cuts = [np.take(a, range(1, a.shape[axis] - i), axis) for i, a in enumerate(arrays)]
    expected = np.concatenate(cuts, axis=axis)
    parts = [Part(TensorType(a.shape, "uint8"), 1, a.shape[axis] - i) for i, a in enumerate(arrays)]
    np.testing.assert_array_equal(run(parts, arrays, expected, axis, isa), expected)


def run(
    parts: list[Part], arrays: list[np.ndarray], like: np.ndarray, axis: int, isa: Isa
) -> np.ndarray:
    form = concat(parts, TensorType(like.shape, str(like.dtype)), axis, isa)
    module = tvm.IRModule({"k": form.func.with_attr("global_symbol", "k")})
    library = tvm.compile(module, target=get_target("host").tvm())
    out = tvm.runtime.tensor(np.zeros_like(like))
    library["k"](*(tvm.runtime.tensor(a) for a in arrays), out)
    return out.numpy()
