"""``binary_embedding``: reference, torch form, naive TIR and gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fixtures.kernels import run_naive
from fixtures.operands import TAILS, normal, ternary
from millijoule.converters.ops import VOCABULARY, TensorType, binary_embedding
from millijoule.converters.ops.binary_embedding import binary_embedding_reference
from millijoule.converters.ops.binary_embedding.torch_op import binary_embedding_op


@pytest.mark.parametrize("width", TAILS)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_the_three_forms_agree(width: int, dtype: type) -> None:
    ids = np.random.default_rng(0).integers(0, 9, (2, 5)).astype(dtype)
    w, scale = ternary((9, width)), np.abs(normal((9,), 3))
    (naive,) = run_naive("binary_embedding", {}, [ids, w, scale])
    got = binary_embedding(*map(torch.from_numpy, (ids, w, scale))).numpy()
    for y in (binary_embedding_reference(ids, w, scale), got, naive):
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, w[ids] * scale[ids][..., None])


def test_wrong_ids_stay_inside_the_table() -> None:
    ids = np.array([[-1, 2**40, 3, -(2**62)]])
    w, scale = ternary((4, 3)), np.arange(1, 5, dtype=np.float32)
    expected = (w * scale[:, None])[[0, 3, 3, 0]][None]
    (naive,) = run_naive("binary_embedding", {}, [ids, w, scale])
    got = binary_embedding(*map(torch.from_numpy, (ids, w, scale))).numpy()
    for y in (binary_embedding_reference(ids, w, scale), got, naive):
        np.testing.assert_array_equal(y, expected)


def test_gradient_and_registration() -> None:
    ids, w = torch.tensor([[0, 2, 2]]), torch.from_numpy(ternary((3, 4)))
    scale = torch.rand(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: binary_embedding(ids, w, s), (scale,))
    torch.library.opcheck(binary_embedding_op, (ids, w, torch.rand(3)))


def test_counts() -> None:
    types = [TensorType((2, 5), "int64"), TensorType((9, 8), "int8"), TensorType((9,), "float32")]
    assert VOCABULARY["binary_embedding"].counts({}, types).multiplies == 80
