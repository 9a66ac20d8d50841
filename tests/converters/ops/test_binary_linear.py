"""``binary_linear`` and its weights: reference, torch form, naive TIR and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fixtures.kernels import run_naive
from fixtures.operands import TAILS, normal, ternary, with_zeros
from millijoule.converters.ops import (
    VOCABULARY,
    TensorType,
    binarize,
    binarize_ste,
    binary_linear,
)
from millijoule.converters.ops.binary_linear import binary_linear_reference
from millijoule.converters.ops.binary_linear.torch_op import binary_linear_op


@pytest.mark.parametrize("inputs", TAILS)
@pytest.mark.parametrize("per_row", [True, False], ids=["rows", "layer"])
@pytest.mark.parametrize("activations", ["sign", "real"])
def test_the_three_forms_agree(inputs: int, per_row: bool, activations: str) -> None:
    outputs = 17
    x, w, bias = with_zeros((2, 3, inputs)), ternary((outputs, inputs), 3), normal((outputs,), 4)
    scale = np.abs(normal((outputs if per_row else 1,), 5))
    (naive,) = run_naive("binary_linear", {"activations": activations}, [x, w, scale, bias])
    tensors = map(torch.from_numpy, (x, w, scale, bias))
    got = binary_linear(*tensors, activations=activations).numpy()
    a = np.sign(x) if activations == "sign" else x
    expected = np.einsum("bnk,ok->bno", a.astype(np.float64), w.astype(np.float64)) * scale + bias
    for y in (binary_linear_reference(x, w, scale, bias, activations), got, naive):
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, expected, rtol=0, atol=2e-5)


def test_sums_of_signs_are_exact() -> None:
    """With scale 1 and bias 0 results are integers, whatever the form."""
    x, w = with_zeros((4, 3000)), ternary((5, 3000), 3)
    one, zero = np.ones(1, np.float32), np.zeros(5, np.float32)
    expected = np.sign(x).astype(np.int64) @ w.T.astype(np.int64)
    (naive,) = run_naive("binary_linear", {"activations": "sign"}, [x, w, one, zero])
    got = binary_linear(*map(torch.from_numpy, (x, w, one, zero))).numpy()
    for y in (binary_linear_reference(x, w, one, zero), got, naive):
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("span", ["row", "all"])
def test_weights_are_centred_signs_and_the_scale_is_of_uncentred_ones(span: str) -> None:
    weight = normal((5, 7)) + 0.3
    weight[2] = 0.25  # all equal their mean: signs of nothing
    axis = 1 if span == "row" else None
    w, scale = binarize(torch.from_numpy(weight), centre=span, scale=span)
    mean = weight.astype(np.float64).mean(axis=axis, keepdims=True)
    np.testing.assert_array_equal(w.numpy(), np.sign(weight - mean.astype(np.float32)))
    np.testing.assert_allclose(scale.numpy(), np.abs(weight).mean(axis=axis).ravel(), rtol=1e-6)
    assert w.dtype == torch.int8
    assert (w[2] == 0).all() == (span == "row")


def test_training_weights_have_the_same_values_and_a_gradient() -> None:
    weight = torch.from_numpy(normal((5, 7))).requires_grad_()
    signs, scale = binarize_ste(weight)
    w, alpha = binarize(weight)
    assert scale is not None
    torch.testing.assert_close(signs, w.float(), rtol=0, atol=0)
    torch.testing.assert_close(scale, alpha)
    upstream = torch.from_numpy(normal((5, 7), 9))
    (grad,) = torch.autograd.grad(signs, weight, upstream)
    centred = weight.detach() - weight.detach().mean(1, keepdim=True)
    through = upstream * (centred.abs() <= 1)
    torch.testing.assert_close(grad, through - through.mean(1, keepdim=True))
    with pytest.raises(ValueError, match="span must be one of"):
        binarize(weight, centre="column")


@pytest.mark.parametrize("activations", ["sign", "real"])
@pytest.mark.parametrize("per_row", [True, False], ids=["rows", "layer"])
def test_gradient(activations: str, per_row: bool) -> None:
    """That of the layer with sign(x) replaced by clip(x, −1, 1) in the backward pass only."""
    x = torch.from_numpy(normal((2, 3, 9))).double().requires_grad_()
    w, bias = torch.from_numpy(ternary((4, 9))), torch.randn(4, dtype=torch.float64)
    scale = torch.rand(4 if per_row else 1, dtype=torch.float64).requires_grad_()
    bias.requires_grad_()
    upstream = torch.randn(2, 3, 4, dtype=torch.float64)
    y = binary_linear(x, w, scale, bias, activations=activations)
    got = torch.autograd.grad(y, (x, scale, bias), upstream)
    clipped = x.clamp(-1, 1) if activations == "sign" else x
    a = clipped + (x.sign() - clipped).detach() if activations == "sign" else x
    plain = (a @ w.double().T) * scale + bias
    wanted = torch.autograd.grad(plain, (x, scale, bias), upstream)
    for mine, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("activations", ["sign", "real"])
def test_torch_accepts_the_operator(activations: str) -> None:
    x, w = torch.randn(2, 3, 9), torch.from_numpy(ternary((4, 9)))
    torch.library.opcheck(binary_linear_op, (x, w, torch.rand(4), torch.randn(4), activations))
    learned = torch.rand(1, requires_grad=True)
    arguments = (x.requires_grad_(), w, learned, torch.randn(4), activations)
    # the gradient is straight through, not numeric
    utilities = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(binary_linear_op, arguments, test_utils=utilities)


def test_counts() -> None:
    types = [TensorType((2, 3, 8), "float32"), TensorType((5, 8), "int8")]
    types += [TensorType((5,), "float32")] * 2
    counts = VOCABULARY["binary_linear"].counts
    signs, real = counts({"activations": "sign"}, types), counts({"activations": "real"}, types)
    assert (signs.multiplies, signs.adds, signs.binary_ops) == (30, 30, 240)
    assert (real.multiplies, real.adds, real.binary_ops) == (30, 270, 0)
