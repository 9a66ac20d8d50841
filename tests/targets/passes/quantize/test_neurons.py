"""Fixed-point neurons: they follow the float ones, and never leave their range."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from millijoule.converters.ops.lif import LifRule, lif_record_reference, lif_reference
from millijoule.converters.ops.lif_fixed import lif_fixed_reference
from millijoule.errors import UnsupportedError
from millijoule.targets.passes.quantize.neurons import fixed_neurons, potential_bound

RULES = [
    LifRule(charge, reset, delayed, strict=charge == "leak", synaptic=synaptic)
    for charge, reset, delayed, synaptic in product(
        ("blend", "leak"), ("zero", "subtract", "settle", "none"), (False, True), (False, True)
    )
    if not (delayed and reset == "settle")
]
every_rule = pytest.mark.parametrize("rule", RULES, ids=str)
STEPS, WIDTH, BOUND = 40, 24, 3000


def operands(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Integers [1, N, C], their scales and biases [C], and float parameters [6, C]."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-BOUND, BOUND + 1, (1, STEPS, WIDTH)).astype(np.int32)
    scale = rng.uniform(2e-4, 2e-3, WIDTH) * rng.choice([-1, 1], WIDTH)
    params = [
        rng.uniform(0.5, 2, WIDTH),
        rng.uniform(0, 0.5, WIDTH),
        rng.uniform(0.3, 0.95, WIDTH),
        rng.uniform(0.4, 1.2, WIDTH),
        rng.uniform(-0.2, 0.2, WIDTH),
        rng.uniform(0.1, 0.9, WIDTH),
    ]
    return x, scale, rng.uniform(-0.1, 0.1, WIDTH), np.stack(params)


@every_rule
def test_spikes_follow_the_float_neuron(rule: LifRule) -> None:
    """They differ only where a potential was within a few units of the threshold."""
    x, scale, bias, params = operands(1)
    neurons = fixed_neurons(params, scale, bias, BOUND, rule, STEPS, "n")
    state = np.zeros((1, rule.states, WIDTH), np.int32)
    got, potential = lif_fixed_reference(x, neurons.params, state, rule=rule)
    real, start = x * scale + bias, state.astype(np.float64)
    want, _, before = lif_record_reference(real, params, start, rule=rule, record="before")
    _, _, after = lif_record_reference(real, params, start, rule=rule, record="after")
    # per step half a unit of input and of charge each, and the decay itself to 2⁻¹⁶ of a potential
    # below 16; all of it kept at most 20-fold by a leak of 0.95, and 10-fold by a synapse of 0.9
    tolerance = 20 * 10 * (2 + 16) * 2.0**-17
    near = np.minimum(np.abs(before - params[3]), np.abs(after - params[3])) < tolerance
    for channel in range(WIDTH):
        differs = np.flatnonzero(got[0, :, channel] != want[0, :, channel])
        first = differs[0] if differs.size else STEPS
        assert not differs.size or near[0, : first + 1, channel].any(), f"channel {channel}"
    assert (got != want).mean() < 0.02
    assert got.any()
    assert np.abs(potential).max() <= neurons.bound


@every_rule
def test_potentials_stay_in_range(rule: LifRule) -> None:
    """The worst inputs: as large as they can be, one sign for long, then the other."""
    _, scale, bias, params = operands(2)
    neurons = fixed_neurons(params, scale, bias, BOUND, rule, STEPS, "n")
    for sign in (1, -1):
        x = np.full((1, STEPS, WIDTH), sign * BOUND) * np.sign(scale).astype(int)
        x[:, STEPS // 2 :] *= -1
        state = np.zeros((1, rule.states, WIDTH), np.int32)
        for _ in range(3):
            _, state = lif_fixed_reference(x.astype(np.int32), neurons.params, state, rule=rule)
            assert np.abs(state).max() <= neurons.bound < 2**31


def test_the_bound_is_tight_without_resets() -> None:
    """A constant drive of 1 charges to 1 (blend) or to 1 / (1 − k) (leak)."""
    params = np.array([[1.0], [0.0], [0.75], [0.0], [0.0], [0.0]])
    drive = np.ones(1)
    blend = potential_bound(drive, params, LifRule("blend", "none"), 100)
    leak = potential_bound(drive, params, LifRule("leak", "none"), 100)
    assert blend.item() == pytest.approx(1.0)
    assert leak.item() == pytest.approx(4.0)


def test_without_a_leak_the_steps_count() -> None:
    params = np.array([[1.0], [0.0], [1.0], [0.0], [0.0], [0.0]])
    assert potential_bound(np.ones(1), params, LifRule("leak", "none"), 50).item() == 50


def test_a_large_range_takes_fraction_bits() -> None:
    x, scale, bias, params = operands(3)
    factor = 3000.0
    params[[3, 4]] *= factor
    neurons = fixed_neurons(params, scale * factor, bias, BOUND, LifRule(), STEPS, "n")
    assert neurons.fraction < 16
    state = np.zeros((1, 1, WIDTH), np.int32)
    got, _ = lif_fixed_reference(x, neurons.params, state)
    want, _ = lif_reference(x * scale * factor + bias, params, state.astype(np.float64))
    assert (got != want).mean() < 0.01  # potentials of thousands in steps of 1/64 … 1/1024


def test_a_range_that_no_fixed_point_holds_is_refused() -> None:
    _, scale, bias, params = operands(4)
    with pytest.raises(UnsupportedError, match=r"neurons 'block\.lif' .* fraction bits"):
        fixed_neurons(params, scale * 1e9, bias, BOUND, LifRule(), STEPS, "block.lif")


def test_a_decay_beyond_its_format_is_refused() -> None:
    _, scale, bias, params = operands(5)
    params[2] = 1e5
    with pytest.raises(UnsupportedError, match="'n'"):
        fixed_neurons(params, scale, bias, BOUND, LifRule("leak"), STEPS, "n")
