"""Vocabulary ops in ordinary operators, against their references; spikes exactly."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.graphs import assert_close, model_of, normal, run_onnx
from millijoule.converters.ops import (
    LifRule,
    lif,
    lif_record,
    lmu_memory,
    lmu_step,
    pack_params,
    spike_conv,
    spike_linear,
)
from millijoule.converters.ops.lif import lif_record_reference
from millijoule.converters.ops.lmu_memory import impulse_response, legendre_delay
from millijoule.targets.onnx import onnx_graph

RULES = [
    LifRule(charge, reset, delayed, strict, synaptic)
    for charge, reset, delayed, strict, synaptic in itertools.product(
        ("blend", "leak"),
        ("zero", "subtract", "settle", "none"),
        (False, True),
        (False, True),
        (False, True),
    )
    if not (delayed and reset == "settle") and strict == synaptic  # half of them: they are alike
]


def run(function: Any, *examples: torch.Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ONNX Runtime makes of ``function`` as a graph, and what torch does."""
    model = model_of(function, *examples)
    data = onnx_graph(model).to_bytes()
    return run_onnx(data, model.sample_inputs), dict(model.sample_outputs)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_neurons(rule: LifRule) -> None:
    """Sixteenths everywhere, so that every sum is exact and no spike hangs on a rounding."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.integers(-16, 32, (2, 9, 5)).astype(np.float32) / 16)
    params = pack_params(5, scale=0.5, shift=0.25, decay=0.5, synapse=0.5, threshold=0.5)
    state = torch.zeros(2, rule.states, 5)

    def record(x: torch.Tensor) -> Any:
        return lif_record(x, params, state, rule)

    got, _ = run(record, x)
    spikes, after, membrane = lif_record_reference(
        x.numpy(), params.numpy(), state.numpy(), None, rule
    )
    np.testing.assert_array_equal(got["y0"], spikes)
    np.testing.assert_array_equal(got["y1"], after)
    np.testing.assert_array_equal(got["y2"], membrane)
    assert 0 < spikes.mean() < 1


@pytest.mark.parametrize("steps", [1, 7])
def test_steps_that_do_not_happen(steps: int) -> None:
    x, params, state = normal(1, steps, 3), pack_params(3), normal(1, 1, 3, seed=1)
    valid = torch.tensor([0, 1, 1, 0, 1, 0, 0][:steps], dtype=torch.int32)

    def gated(x: torch.Tensor, valid: torch.Tensor) -> Any:
        return lif(x, params, state, valid=valid)

    assert_close(*run(gated, x, valid))


@pytest.mark.parametrize(("batch", "steps"), [(1, 1), (1, 16), (3, 17)])
def test_memory(batch: int, steps: int) -> None:
    a, b = legendre_delay(6, 16)
    impulse = torch.from_numpy(impulse_response(a, b, 20)).float()

    def memory(u: torch.Tensor) -> Any:
        return lmu_memory(u, impulse)

    assert_close(*run(memory, normal(batch, steps)))


@pytest.mark.parametrize(("now", "valid"), [(0, 1), (3, 1), (7, 1), (8, 1), (40, 1), (3, 0)])
def test_memory_step(now: int, valid: int) -> None:
    """Before, at and behind the length of the impulse response, and a step that does not happen."""
    a, b = legendre_delay(6, 8)
    impulse = torch.from_numpy(impulse_response(a, b, 8)).float()
    matrix, column = (torch.from_numpy(np.asarray(v, np.float32)) for v in (a.T.copy(), b.ravel()))
    history = normal(2, 8, seed=1) * (torch.arange(8) < now)
    m = normal(2, 6, seed=2)
    t, runs = torch.tensor([now], dtype=torch.int32), torch.tensor([valid], dtype=torch.int32)

    def step(u: torch.Tensor, t: torch.Tensor, runs: torch.Tensor) -> Any:
        return lmu_step(u, impulse, matrix, column, history, m, t, runs)

    assert_close(*run(step, normal(2, 1), t, runs))


def test_layers_on_spikes() -> None:
    spikes = (normal(2, 9, 6) > 0).to(torch.uint8)
    w, bias, kernel = normal(6, 5), normal(5), normal(3, 6, 5)

    def layers(s: torch.Tensor) -> Any:
        return spike_linear(s, w, bias), spike_conv(s, kernel, padding=1)

    assert_close(*run(layers, spikes))
