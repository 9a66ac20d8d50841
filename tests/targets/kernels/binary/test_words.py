"""Signs in words: what is packed can be counted, and gives the same integers as arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fixtures.bit_kernels import BINARY_ISAS, isa_name
from fixtures.kernels import call
from fixtures.operands import with_zeros
from millijoule.converters.ops import TensorType
from millijoule.targets.kernels.binary.planes import pack_planes, planes_of, planes_type
from millijoule.targets.kernels.binary.words import pack_bits, sign_planes, words_of
from millijoule.targets.target import Isa

ternary = st.integers(-1, 1)


@given(arrays(np.bool_, array_shapes(min_dims=1, max_dims=3, max_side=100)))
def test_bits_come_back(bits: np.ndarray) -> None:
    words = pack_bits(bits)
    assert words.shape == (*bits.shape[:-1], words_of(bits.shape[-1]))
    unpacked = (words[..., None] >> np.arange(32, dtype=np.uint32)) & 1
    flat = unpacked.reshape(*bits.shape[:-1], -1)
    np.testing.assert_array_equal(flat[..., : bits.shape[-1]], bits)
    assert not flat[..., bits.shape[-1] :].any()


@settings(deadline=None)
@given(st.data(), st.integers(1, 200))
def test_counting_is_multiplying(data: st.DataObject, inputs: int) -> None:
    """Σ a·w by the formula of `words`, with one plane of weights or two."""
    a = data.draw(arrays(np.int8, inputs, elements=ternary))
    w = data.draw(arrays(np.int8, inputs, elements=ternary))
    (negative, nonzero), weights = planes_of(a.astype(np.float32)[None])[0], sign_planes(w)
    copies = len(weights) // words_of(inputs)
    assert copies == (1 if w.all() else 2)
    differ = (np.tile(negative, copies) ^ weights) & np.tile(nonzero, copies)
    counts = [int(np.bitwise_count(p).sum()) for p in (nonzero, differ)]
    assert counts[0] - (2 // copies) * counts[1] == int(a.astype(int) @ w.astype(int))


@pytest.mark.parametrize("isa", BINARY_ISAS, ids=isa_name)
@pytest.mark.parametrize(("shape", "group"), [((2, 3, 65), None), ((17, 48), 24), ((3, 128), 64)])
def test_packing_floats(shape: tuple[int, ...], group: int | None, isa: Isa) -> None:
    x = with_zeros(shape, rate=0.2)
    x[0, :4].flat[:4] = (np.nan, -0.0, np.float32(1e-45), -np.inf)  # no sign, none, one each
    per_row = shape[-1] // (group or shape[-1]) * words_of(group or shape[-1])
    result = planes_type(x.size // shape[-1], per_row)
    form = pack_planes(TensorType(shape, "float32"), isa, group)
    (planes,) = call(form, [x], [result], isa)
    np.testing.assert_array_equal(planes, planes_of(np.nan_to_num(x, nan=0.0), group))
