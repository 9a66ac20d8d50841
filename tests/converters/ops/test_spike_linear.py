"""``spike_linear``: reference, torch form, naive TIR and gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fixtures.kernels import run_naive
from fixtures.operands import TAILS, int8, normal, spikes
from millijoule.converters.ops import VOCABULARY, TensorType, spike_linear
from millijoule.converters.ops.spike_linear import spike_linear_reference
from millijoule.converters.ops.spike_linear.torch_op import spike_linear_op


@pytest.mark.parametrize("inputs", TAILS)
@pytest.mark.parametrize("outputs", [1, 17])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "counts"])
def test_the_three_forms_agree(inputs: int, outputs: int, binary: bool) -> None:
    s, w, bias = (
        spikes((2, 5, inputs), binary=binary),
        normal((inputs, outputs)),
        normal((outputs,)),
    )
    expected = s.astype(np.float64) @ w.astype(np.float64) + bias
    (naive,) = run_naive("spike_linear", {"binary": binary}, [s, w, bias])
    got = spike_linear(*map(torch.from_numpy, (s, w, bias)), binary=binary).numpy()
    for y in (spike_linear_reference(s, w, bias), got, naive):
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, expected, atol=2e-5)


def test_gradient() -> None:
    s = torch.randint(0, 2, (2, 3, 4)).double().requires_grad_()
    w = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: spike_linear(*a), (s, w, bias))


def test_integer_spikes_carry_no_gradient_but_weights_do() -> None:
    s = torch.from_numpy(spikes((2, 3, 4)))
    w, bias = torch.randn(4, 5, requires_grad=True), torch.randn(5, requires_grad=True)
    spike_linear(s, w, bias).sum().backward()
    torch.testing.assert_close(w.grad, s.sum((0, 1)).float()[:, None].expand(4, 5))
    torch.testing.assert_close(bias.grad, torch.full((5,), 6.0))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_torch_accepts_the_operator(dtype: torch.dtype) -> None:
    real = torch.float64 if dtype == torch.float64 else torch.float32
    s, w, bias = torch.ones(2, 3, 4).to(dtype), torch.randn(4, 5), torch.randn(5)
    torch.library.opcheck(spike_linear_op, (s, w.to(real), bias.to(real), True))
    torch.library.opcheck(
        spike_linear_op, (s, w.to(real).requires_grad_(), bias.to(real).requires_grad_(), False)
    )


def test_counts() -> None:
    op = VOCABULARY["spike_linear"]
    types = [TensorType((2, 3, 8), "uint8"), TensorType((8, 5), "float32")]
    types.append(TensorType((5,), "float32"))
    binary = op.counts({"binary": True}, types)
    assert (binary.multiplies, binary.adds, binary.adds_per_spike) == (0, 240, 5)
    assert op.counts({"binary": False}, types).multiplies == 240


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "counts"])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (17, 3), (300, 65)])
def test_integer_form(inputs: int, outputs: int, binary: bool) -> None:
    s = spikes((2, 5, inputs), binary=binary, rate=0.9)
    w = int8((inputs, outputs))
    bias = np.arange(outputs, dtype=np.int32) * 70000  # sums go beyond 16 bits
    expected = s.astype(np.int64) @ w.astype(np.int64) + bias
    (naive,) = run_naive("spike_linear", {"binary": binary}, [s, w, bias])
    for y in (spike_linear_reference(s, w, bias), naive):
        assert y.dtype == np.int32
        np.testing.assert_array_equal(y, expected)
