"""``spike_conv``: reference, torch form, naive TIR and gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fixtures.kernels import run_naive
from fixtures.operands import TAILS, int8, normal, spikes
from millijoule.converters.ops import VOCABULARY, TensorType, spike_conv
from millijoule.converters.ops.spike_conv import spike_conv_reference
from millijoule.converters.ops.spike_conv.torch_op import spike_conv_op


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("channels", TAILS)
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "counts"])
def test_the_three_forms_agree(padding: int, channels: int, binary: bool) -> None:
    s, w = spikes((2, 6, channels), binary=binary), normal((3, channels, 5))
    expected = F.conv1d(
        torch.from_numpy(s).double().transpose(1, 2),
        torch.from_numpy(w).double().permute(2, 1, 0),
        padding=padding,
    )
    expected = expected.transpose(1, 2).numpy()
    attrs = {"binary": binary, "padding": padding}
    (naive,) = run_naive("spike_conv", attrs, [s, w])
    got = spike_conv(*map(torch.from_numpy, (s, w)), padding=padding, binary=binary).numpy()
    for y in (spike_conv_reference(s, w, padding), got, naive):
        assert y.shape == (2, 4 + 2 * padding, 5)
        np.testing.assert_allclose(y, expected, atol=3e-5)


@pytest.mark.parametrize("steps", [1, 2])
def test_sequences_shorter_than_the_filter(steps: int) -> None:
    s, w = spikes((1, steps, 4), rate=0.8), normal((3, 4, 5))
    (naive,) = run_naive("spike_conv", {"binary": True, "padding": 1}, [s, w])
    np.testing.assert_allclose(naive, spike_conv_reference(s, w, 1), atol=1e-6)


@pytest.mark.parametrize("padding", [0, 1])
def test_gradient(padding: int) -> None:
    s = torch.randint(0, 2, (2, 5, 3)).double().requires_grad_()
    w = torch.randn(3, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: spike_conv(*a, padding=padding), (s, w))


def test_integer_spikes_carry_no_gradient_but_weights_do() -> None:
    s = torch.from_numpy(spikes((2, 5, 3)))
    w = torch.randn(3, 3, 4, requires_grad=True)
    spike_conv(s, w, padding=1).sum().backward()
    twin = w.detach().clone().requires_grad_()
    F.conv1d(s.float().transpose(1, 2), twin.permute(2, 1, 0), padding=1).sum().backward()
    torch.testing.assert_close(w.grad, twin.grad)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("padding", [0, 1])
def test_torch_accepts_the_operator(dtype: torch.dtype, padding: int) -> None:
    real = torch.float64 if dtype == torch.float64 else torch.float32
    s, w = torch.ones(2, 5, 3).to(dtype), torch.randn(3, 3, 4, dtype=real)
    torch.library.opcheck(spike_conv_op, (s, w, padding, True))
    torch.library.opcheck(spike_conv_op, (s, w.requires_grad_(), padding, False))


def test_counts() -> None:
    types = [TensorType((2, 6, 8), "uint8"), TensorType((3, 8, 5), "float32")]
    counts = VOCABULARY["spike_conv"].counts({"binary": True, "padding": 1}, types)
    assert (counts.multiplies, counts.adds) == (0, 2 * 6 * 3 * 8 * 5)
    assert counts.adds_per_spike == 15


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "counts"])
def test_integer_form(padding: int, binary: bool) -> None:
    s, w = spikes((2, 6, 65), binary=binary, rate=0.9), int8((3, 65, 17))
    padded = np.pad(s, ((0, 0), (padding, padding), (0, 0))).astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1)
    expected = np.einsum("btck,kco->bto", windows, w.astype(np.int64))
    (naive,) = run_naive("spike_conv", {"binary": binary, "padding": padding}, [s, w])
    for y in (spike_conv_reference(s, w, padding), naive):
        assert y.dtype == np.int32
        np.testing.assert_array_equal(y, expected)
