"""Parameters and multiply-accumulates of the paper's models; graphs stay small."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fixtures.models import random_folder, random_module
from millijoule.converters import convert
from millijoule.converters.lmuformer.convert import _reference_macs
from millijoule.converters.macs import count_macs
from millijoule.converters.model import Model
from millijoule.targets.cpu.plan import make_plan
from millijoule.targets.passes.pipeline import lower_for_cpu
from millijoule.targets.target import get_target

# Speech Commands V2 with 35 classes, as in the paper
PAPER: dict[str, Any] = {
    "dim": 256,
    "in_channels": 128,
    "seq_len": 128,
    "num_classes": 35,
    "depth": 1,
    "mlp_ratio": 4,
}
MEMORY = {"plain": 256, "spiking-ms": 512}


@pytest.fixture(scope="module", params=["plain", "spiking-ms"])
def variant(request: pytest.FixtureRequest) -> str:
    """The two variants that the paper reports."""
    return request.param


def parameters(variant: str) -> int:
    module = random_module(variant, {**PAPER, "memory_size": MEMORY[variant]})
    return sum(p.numel() for p in module.parameters())


def test_parameters() -> None:
    assert parameters("plain") == 1_621_796
    assert parameters("spiking-ms") == 1_689_894


def by_part(macs: dict[str, int]) -> dict[str, float]:
    """Millions of MACs: convolutions, LMU cell and projection, MLP, head."""
    parts: Counter[str] = Counter()
    for layer, count in macs.items():
        parts[layer.split(".")[0] if "block" not in layer else layer.split(".")[2]] += count
    return {part: count / 1e6 for part, count in parts.items()}


def test_macs_of_the_plain_model() -> None:
    macs = _reference_macs(random_module("plain", PAPER))
    assert sum(macs.values()) / 1e6 == pytest.approx(206.7, abs=0.05)
    parts = by_part(macs)
    assert parts["patch_embed"] == pytest.approx(113.2, abs=0.05)
    assert parts["attn"] == pytest.approx(25.2, abs=0.05)
    assert parts["mlp"] == pytest.approx(67.1, abs=0.05)
    assert parts["head"] == pytest.approx(1.1, abs=0.05)


def test_attention_counts_its_convolutions() -> None:
    macs = _reference_macs(random_module("spiking-attention", {**PAPER, "num_heads": 8}))
    assert macs["block.0.attn.q_conv"] == 128 * 256 * 256


def test_macs_are_outputs_times_fan_in() -> None:
    net = nn.Sequential(nn.Conv1d(3, 8, 5), nn.BatchNorm1d(8), nn.Flatten(), nn.Linear(48, 2))
    macs = count_macs(net.eval(), lambda: net(torch.zeros(2, 3, 10)))
    assert macs == {"0": 2 * 8 * 6 * 15, "3": 2 * 2 * 48}
    assert not any(m._forward_hooks for m in net.modules())


@pytest.fixture(scope="module")
def paper_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """spiking-ms in the paper's size, with random weights."""
    folder: Path = tmp_path_factory.mktemp("paper") / "spiking-ms"
    return convert(random_folder(folder, "spiking-ms", PAPER))


def test_the_graph_does_not_unroll_time(paper_model: Model) -> None:
    bindings = sum(len(block.bindings) for block in paper_model.module["main"].body.blocks)
    assert bindings < 400
    assert paper_model.parameters == 1_689_894


def test_few_kernels(paper_model: Model) -> None:
    plan = make_plan(lower_for_cpu(paper_model.module, get_target("host"), paper_model.layers))
    assert len(plan.calls) < 100
    assert len(plan.kernels) <= len(plan.calls)
    spiking = [c.meta for c in plan.calls if c.meta.op in ("spike_linear", "spike_conv")]
    assert spiking
    assert all(meta.multiplies == 0 and meta.scheduled for meta in spiking)
