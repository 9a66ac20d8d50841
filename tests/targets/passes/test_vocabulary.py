"""Vocabulary calls become the target's kernels, or the naive functions where it has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import millijoule as mj
from fixtures.models import LMUFORMER
from millijoule.converters import convert
from millijoule.converters.ops import VOCABULARY
from millijoule.targets import build
from millijoule.targets.cpu.plan import make_plan
from millijoule.targets.kernels import CPU_KERNELS
from millijoule.targets.passes import pipeline
from millijoule.targets.target import get_target

SPIKING = LMUFORMER[1]


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streaming"])
def test_a_target_without_kernels_runs_the_naive_functions(
    streaming: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipeline, "CPU_KERNELS", {})
    model = convert(SPIKING.path, streaming=streaming)
    out = tmp_path / "naive.mjb"
    build(model, "host", out).close()
    with mj.load(out) as session:
        logits = session.run(SPIKING.inputs)["logits"]
    np.testing.assert_allclose(logits, SPIKING.outputs["logits"], rtol=0, atol=1e-5)


def test_every_call_says_whether_it_is_scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    model, target = convert(SPIKING.path), get_target("host")
    kernels = {name: k for name, k in CPU_KERNELS.items() if name != "spike_linear"}
    monkeypatch.setattr(pipeline, "CPU_KERNELS", kernels)
    calls = make_plan(pipeline.lower_for_cpu(model.module, target, model.layers)).calls
    scheduled = {c.meta.op: c.meta.scheduled for c in calls if c.meta.op in VOCABULARY}
    assert scheduled["spike_linear"] is False
    assert {op for op, yes in scheduled.items() if yes} == {"lif", "lmu_memory", "spike_conv"}


def test_layers_and_taps() -> None:
    model = convert(SPIKING.path)
    calls = make_plan(pipeline.lower_for_cpu(model.module, get_target("host"), model.layers)).calls
    neurons = {c.meta.tap: c.meta.layer for c in calls if c.meta.op == "lif"}
    assert set(neurons) == set(SPIKING.spikes())
    assert all(tap == f"spikes:{layer}" for tap, layer in neurons.items())


def test_every_vocabulary_op_has_a_kernel() -> None:
    assert set(CPU_KERNELS) == set(VOCABULARY)
