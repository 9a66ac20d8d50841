"""Integer Legendre memories against the float ones."""

from __future__ import annotations

import numpy as np
import pytest

from millijoule.converters.ops.lmu_memory import (
    impulse_response,
    legendre_delay,
    lmu_memory_reference,
    lmu_step_fixed_reference,
)
from millijoule.errors import UnsupportedError
from millijoule.targets.passes.quantize.memory import fixed_memory, impulse_weights

SIZES = [(4, 10, 10), (16, 32, 32), (24, 49, 49), (128, 98, 98)]  # order, θ, length


def constants(order: int, theta: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a, b = legendre_delay(order, theta)
    return impulse_response(a, b, length), a, b


@pytest.mark.parametrize(("order", "theta", "length"), SIZES)
def test_finite_form(order: int, theta: int, length: int) -> None:
    """Each spike's row errs by half a unit of its column at most."""
    impulse, _, _ = constants(order, theta, length)
    weights, scale, bound = impulse_weights(impulse)
    u = (np.random.default_rng(0).random((2, length)) < 0.4).astype(np.uint8)
    m = lmu_memory_reference(u, weights.values)
    error = np.abs(m * scale - lmu_memory_reference(u, impulse))
    spikes = u.cumsum(1)[:, :, None]
    assert (error <= spikes * weights.scale / 2 * (1 + 1e-9)).all()
    assert np.abs(m).max() <= bound


@pytest.mark.parametrize(("order", "theta", "length"), SIZES)
def test_an_endless_stream_keeps_close(order: int, theta: int, length: int) -> None:
    """The recurrence does not drift from the float one, and stays in its bound."""
    impulse, a, b = constants(order, theta, length)
    memory = fixed_memory(impulse, a.T, b, "lmu")
    u = (np.random.default_rng(1).random(5 * length) < 0.4).astype(np.uint8)
    history = np.zeros((1, length), np.uint8)
    m, t, real = np.zeros((1, order), np.int32), np.zeros(1, np.int32), np.zeros(order)
    late = []
    for step, spike in enumerate(u):
        _, history, m, t = lmu_step_fixed_reference(
            np.array([[spike]], np.uint8),
            memory.impulse.values,
            memory.a_transposed,
            memory.right,
            memory.b,
            history,
            m,
            t,
            np.ones(1, np.int32),
        )
        real = a @ real + b * spike
        assert np.abs(m).max() <= memory.bound
        if step >= 3 * length:  # what the finite form left behind has decayed
            late.append(np.abs(m[0] * memory.scale - real).max())
    # 15 bits of transition, of which a row sums at most `order` terms
    assert max(late) <= order * 2.0**-14 * max(1.0, np.abs(real).max())


def test_a_memory_that_never_forgets_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"'cell\.lmu' does not forget"):
        fixed_memory(np.ones((4, 2)), np.eye(2), np.ones(2), "cell.lmu")


def test_a_transition_beyond_int16_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"'lmu' has a transition"):
        fixed_memory(np.ones((4, 2)), np.eye(2) * 1e6, np.ones(2), "lmu")
