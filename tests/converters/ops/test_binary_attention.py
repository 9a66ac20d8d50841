"""``binary_attention``: three rules in three forms, gradients, and what a threshold replaces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.kernels import run_naive
from fixtures.operands import attention_operands
from millijoule.converters.ops import VOCABULARY, TensorType, binary_attention
from millijoule.converters.ops.binary_attention import binary_attention_reference, int_threshold
from millijoule.converters.ops.binary_attention.torch_op import binary_attention_op

CASES = [("bool", False), ("bool", True), ("threshold", False), ("softmax", False)]
CASES += [("softmax", True)]
# (steps, heads, head size): one token, tails of words, sizes of BERT
SHAPES = [(1, 1, 1), (15, 2, 15), (16, 1, 24), (33, 3, 24), (65, 1, 64), (50, 2, 65)]

cases = pytest.mark.parametrize(("rule", "masked"), CASES)


def attrs(rule: str, heads: int, maps: bool = True) -> dict[str, Any]:
    """Attributes of a call."""
    return {"rule": rule, "heads": heads, "maps": maps}


@cases
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_three_forms_agree(rule: str, masked: bool, shape: tuple[int, int, int]) -> None:
    steps, heads, d = shape
    operands = attention_operands(rule, steps, heads, d, masked=masked)
    context, a = binary_attention_reference(**operands, rule=rule, heads=heads)
    naive = run_naive("binary_attention", attrs(rule, heads), list(operands.values()))
    tensors = {name: torch.from_numpy(value) for name, value in operands.items()}
    eager = [t.numpy() for t in binary_attention(**tensors, rule=rule, heads=heads)]
    # without the softmax rule's scales, contexts are integers
    tolerance = 1e-5 if rule == "softmax" else 0
    for got_context, got_map in (naive, eager):
        np.testing.assert_array_equal(got_map, a)
        np.testing.assert_allclose(got_context, context, rtol=0, atol=tolerance)
    if steps > 1:
        assert 0.02 < a.mean() < 0.98
        hidden = operands["mask"] < 0 if masked else np.zeros((2, steps), bool)
        assert not a.transpose(0, 3, 1, 2)[hidden].any()


@pytest.mark.parametrize("d", [1, 2, 8, 15, 24, 32, 64, 65, 128, 192])
def test_the_threshold_replaces_softmax(d: int) -> None:
    """A = softmax(s/√d) ≥ ¼ of the row's maximum, for every difference that can occur."""
    below = np.arange(2 * d + 1)
    ratio = np.exp(-below / math.sqrt(d))  # of a probability to the largest in its row
    np.testing.assert_array_equal(below <= int_threshold(d), ratio >= 0.25)


def test_bool_is_strict() -> None:
    """Orthogonal signs score 0, which is not attention."""
    q = np.array([[[1, 1]]], np.float32)
    k = np.array([[[1, -1]]], np.float32)
    _, a = binary_attention_reference(q, k, q, rule="bool", heads=1)
    (context, naive) = run_naive("binary_attention", attrs("bool", 1), [q, k, q])
    assert (a.item(), naive.item(), *context.ravel()) == (0, 0, 0, 0)


@cases
def test_gradient(rule: str, masked: bool) -> None:
    """Away from kinks, the gradient is that of the stand-ins in place of sign and step."""
    heads, d = 2, 5
    operands = attention_operands(rule, 7, heads, d, masked=masked)
    tensors = {n: torch.from_numpy(v).double().requires_grad_() for n, v in operands.items()}
    context, a = binary_attention(**tensors, rule=rule, heads=heads)
    assert not a.requires_grad
    upstream = torch.randn(context.shape, dtype=torch.float64)
    learned = [t for n, t in tensors.items() if n != "mask"]
    grads = torch.autograd.grad(context, learned, upstream)
    assert all(bool(g.isfinite().all()) and float(g.abs().max()) > 0 for g in grads)
    # v enters through a straight-through sign only: A's columns summed over the queries
    scale = tensors["scales"].detach()[1:].prod() if rule == "softmax" else 1.0
    split = upstream.unflatten(-1, (heads, d)).transpose(1, 2)
    through = (a.double().transpose(-1, -2) @ split).transpose(1, 2).flatten(2) * scale
    torch.testing.assert_close(grads[2], through * (tensors["v"].abs() <= 1))


@cases
def test_torch_accepts_the_operator(rule: str, masked: bool) -> None:
    operands = attention_operands(rule, 5, 2, 3, masked=masked)
    tensors = {n: torch.from_numpy(v) for n, v in operands.items()}
    names = ("q", "k", "v", "low", "scales", "mask")
    arguments = tuple(tensors.get(n) for n in names)
    torch.library.opcheck(binary_attention_op, (*arguments, rule, 2, True))
    for tensor in tensors.values():
        tensor.requires_grad_()
    utilities = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(binary_attention_op, (*arguments, rule, 2, True), test_utils=utilities)


def test_operands_must_belong_to_the_rule() -> None:
    q = torch.zeros(1, 2, 4)
    with pytest.raises(ValueError, match="rule must be one of"):
        binary_attention(q, q, q, rule="hard", heads=1)
    with pytest.raises(ValueError, match="takes no mask"):
        binary_attention(q, q, q, rule="threshold", heads=1, mask=torch.zeros(1, 2))
    with pytest.raises(ValueError, match="belong to rule 'softmax'"):
        binary_attention(q, q, q, rule="softmax", heads=1)


def test_counts_and_taps() -> None:
    op = VOCABULARY["binary_attention"]
    types = [TensorType((2, 5, 6), "float32")] * 3
    counts = op.counts(attrs("bool", 2), types)
    assert (counts.multiplies, counts.adds, counts.binary_ops) == (0, 0, 2 * 2 * 5 * 5 * 6)
    assert op.second_tap is not None
    assert op.second_tap(attrs("bool", 2)) == "map"
    assert op.second_tap(attrs("bool", 2, maps=False)) is None
    low = [TensorType((2, 5, 5), "float32"), TensorType((3,), "float32")]
    assert op.counts(attrs("softmax", 2), [*types, *low]).multiplies == 6 * 100 + 60
