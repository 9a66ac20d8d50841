"""``lmu_memory`` and ``lmu_step``: matrices, forms, gradient, and the passage to the recurrence."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch

from fixtures.kernels import run_naive
from fixtures.operands import (
    TAILS,
    int8,
    lmu_step_fixed_operands,
    lmu_step_operands,
    normal,
    spikes,
)
from millijoule.converters.ops import lmu_memory, lmu_step
from millijoule.converters.ops.lmu_memory import (
    MEMORY_BITS,
    impulse_response,
    legendre_delay,
    lmu_memory_reference,
    lmu_step_fixed_reference,
    lmu_step_reference,
)
from millijoule.converters.ops.lmu_memory.torch_op import lmu_memory_op, lmu_step_op


def inputs(dtype: str, steps: int, batch: int = 2) -> np.ndarray:
    return spikes((batch, steps)) if dtype == "uint8" else normal((batch, steps))


@pytest.mark.parametrize(("order", "theta"), [(1, 3.0), (6, 32.0), (32, 128.0), (24, 49.0)])
def test_matrices_are_the_zero_order_hold_of_the_legendre_delay(order: int, theta: float) -> None:
    a, b = np.zeros((order, order)), np.zeros((order, 1))
    for i in range(order):
        b[i] = (2 * i + 1) * (-1) ** i / theta
        for j in range(order):
            a[i, j] = (2 * i + 1) / theta * (-1 if i < j else (-1) ** (i - j + 1))
    system = (a, b, np.eye(order), np.zeros((order, 1)))
    expected_a, expected_b, *_ = scipy.signal.cont2discrete(system, dt=1.0, method="zoh")
    got_a, got_b = legendre_delay(order, theta)
    np.testing.assert_allclose(got_a, expected_a, atol=1e-12)
    np.testing.assert_allclose(got_b, expected_b[:, 0], atol=1e-12)


def test_the_memory_delays_its_input() -> None:
    """The last of the θ steps can be read back: Σ_i m_i P_i(1) = Σ_i m_i ≈ u(t − θ)."""
    theta, steps = 32, 200
    a, b = legendre_delay(12, theta)
    u = np.sin(np.arange(steps) / 15)[None]
    memory = lmu_memory_reference(u, impulse_response(a, b, steps))
    delayed = memory[0].sum(axis=-1)
    np.testing.assert_allclose(delayed[100:], u[0, 100 - theta : steps - theta], atol=0.05)


def test_impulse_response_is_the_recurrence() -> None:
    a, b = legendre_delay(8, 20.0)
    u, m = normal((1, 30)).astype(np.float64), np.zeros(8)
    memory = lmu_memory_reference(u, impulse_response(a, b, 30))
    for t in range(30):
        m = a @ m + b * u[0, t]
        np.testing.assert_allclose(memory[0, t], m, atol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("order", TAILS)
def test_the_three_forms_agree(dtype: str, order: int) -> None:
    u, impulse = inputs(dtype, 10), normal((12, order))
    expected = lmu_memory_reference(u, impulse)
    got = lmu_memory(torch.from_numpy(u), torch.from_numpy(impulse))
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)
    (naive,) = run_naive("lmu_memory", {}, [u, impulse])
    np.testing.assert_allclose(naive, expected, atol=1e-5)


def test_reference_is_the_sum_of_the_definition() -> None:
    u, impulse = inputs("float32", 7), normal((7, 3))
    expected = np.zeros((2, 7, 3), np.float32)
    for t in range(7):
        for k in range(t + 1):
            expected[:, t] += u[:, t - k, None] * impulse[k]
    np.testing.assert_allclose(lmu_memory_reference(u, impulse), expected, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_gradient(steps: int) -> None:
    u = torch.randn(2, steps, dtype=torch.float64, requires_grad=True)
    impulse = torch.randn(7, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: lmu_memory(x, impulse), (u,))


def test_gradient_in_single_precision() -> None:
    u = torch.randn(3, 40, requires_grad=True)
    impulse = torch.randn(40, 16)
    (lmu_memory(u, impulse) ** 2).sum().backward()
    twin = u.detach().clone().requires_grad_()
    lags = torch.arange(40)[:, None] - torch.arange(40)
    matrix = torch.where((lags >= 0)[..., None], impulse[lags.clamp(min=0)], torch.zeros(()))
    (torch.einsum("bs,tsm->btm", twin, matrix) ** 2).sum().backward()
    torch.testing.assert_close(u.grad, twin.grad, rtol=1e-4, atol=1e-2)


def test_longer_sequences_than_the_response_are_refused() -> None:
    with pytest.raises(RuntimeError, match="at most 4 steps, but has 5"):
        lmu_memory(torch.zeros(1, 5), torch.zeros(4, 3))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_torch_accepts_lmu_memory(dtype: torch.dtype) -> None:
    real = torch.float64 if dtype == torch.float64 else torch.float32
    u = torch.ones(2, 5).to(dtype)
    torch.library.opcheck(lmu_memory_op, (u, torch.randn(6, 3, dtype=real)))
    assert lmu_memory(u, torch.randn(6, 3, dtype=real)).dtype == real


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("now", "valid"), [(0, 1), (5, 1), (11, 1), (12, 1), (40, 1), (5, 0)])
def test_the_three_forms_of_a_step_agree(dtype: str, now: int, valid: int) -> None:
    operands = lmu_step_operands(17, 12, now, valid, dtype)
    expected = lmu_step_reference(*operands)
    for got in (
        [t.numpy() for t in lmu_step(*map(torch.from_numpy, operands))],
        run_naive("lmu_step", {}, operands),
    ):
        for mine, reference in zip(got, expected, strict=True):
            assert mine.dtype == reference.dtype
            np.testing.assert_allclose(mine, reference, atol=1e-5)


def test_an_invalid_step_moves_nothing() -> None:
    operands = lmu_step_operands(5, 8, 3, 0, "float32")
    out, history, m, t = lmu_step_reference(*operands)
    np.testing.assert_array_equal(out[:, 0], operands[5])
    for new, old in ((history, operands[4]), (m, operands[5]), (t, operands[6])):
        np.testing.assert_array_equal(new, old)


def test_steps_continue_where_the_finite_form_ends() -> None:
    """Beyond the L rows of H the recurrence takes over without a jump."""
    order, length, steps = 6, 10, 35
    a, b = legendre_delay(order, 10.0)
    impulse = impulse_response(a, b, steps).astype(np.float32)
    u = normal((1, steps))
    expected = lmu_memory_reference(u, impulse)
    history = np.zeros((1, length), np.float32)
    m, t = np.zeros((1, order), np.float32), np.zeros(1, np.int32)
    valid = np.ones(1, np.int32)
    for now in range(steps):
        out, history, m, t = lmu_step_reference(
            u[:, now : now + 1],
            impulse[:length],
            a.T.astype(np.float32),
            b.astype(np.float32),
            history,
            m,
            t,
            valid,
        )
        np.testing.assert_allclose(out[:, 0], expected[:, now], atol=2e-6)
    assert t.item() == steps


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("now", "valid"), [(3, 1), (20, 1), (3, 0)])
def test_torch_accepts_lmu_step(dtype: str, now: int, valid: int) -> None:
    operands = map(torch.from_numpy, lmu_step_operands(4, 8, now, valid, dtype))
    torch.library.opcheck(lmu_step_op, tuple(operands))


@pytest.mark.parametrize("order", TAILS)
def test_integer_form(order: int) -> None:
    u, impulse = inputs("uint8", 10), int8((12, order))
    (naive,) = run_naive("lmu_memory", {}, [u, impulse])
    expected = lmu_memory_reference(u, impulse.astype(np.float64)) * 2**MEMORY_BITS
    for m in (lmu_memory_reference(u, impulse), naive):
        assert m.dtype == np.int32
        np.testing.assert_array_equal(m, expected)


@pytest.mark.parametrize("order", [1, 17, 64])
@pytest.mark.parametrize(("now", "valid"), [(0, 1), (11, 1), (12, 1), (40, 1), (5, 0), (40, 0)])
def test_integer_step(order: int, now: int, valid: int) -> None:
    operands = lmu_step_fixed_operands(order, 12, now, valid)
    expected = lmu_step_fixed_reference(*operands)
    for mine, reference in zip(run_naive("lmu_step_fixed", {}, operands), expected, strict=True):
        assert mine.dtype == reference.dtype
        np.testing.assert_array_equal(mine, reference)


def test_integer_steps_continue_where_the_finite_form_ends() -> None:
    """A Legendre memory in fixed point follows the real one through the change of form."""
    order, length, steps = 4, 30, 90
    a, b = legendre_delay(order, 20.0)
    impulse = impulse_response(a, b, steps)
    scale = np.abs(impulse).max(axis=0) / 127  # of one column of H; m is in units of scale/256
    rounded = np.rint(impulse[:length] / scale).astype(np.int8)
    # in units: m'_i = Σ_j A_ij·scale_j/scale_i·m_j + u·b_i/scale_i·256
    matrix = a * scale / scale[:, None]
    right = np.floor(np.log2(32767 / np.abs(matrix).max(axis=1))).astype(np.int32)
    fixed = np.rint(matrix * 2.0 ** right[:, None]).T.astype(np.int16)
    drive = np.rint(b / scale * 2**MEMORY_BITS).astype(np.int32)
    u = spikes((1, steps))
    expected = lmu_memory_reference(u, impulse)
    history, m = np.zeros((1, length), np.uint8), np.zeros((1, order), np.int32)
    t, valid = np.zeros(1, np.int32), np.ones(1, np.int32)
    for now in range(steps):
        out, history, m, t = lmu_step_fixed_reference(
            u[:, now : now + 1], rounded, fixed, right, drive, history, m, t, valid
        )
        error = np.abs(out[0] * scale / 2**MEMORY_BITS - expected[:, now])
        assert error.max() < 0.02 * np.abs(expected).max(), now
