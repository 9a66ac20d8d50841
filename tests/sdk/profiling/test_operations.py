"""Dense counts from the manifest, actual accumulates from real spikes."""

from __future__ import annotations

import numpy as np
import pytest

import millijoule as mj
from fixtures.tiny_model.build import samples, scale
from millijoule.profiling.operations import count_operations, layer_group
from millijoule.profiling.workload import Workload


def test_actual_accumulates_are_adds_per_spike_times_spikes(plain: mj.Session) -> None:
    inputs, _ = samples("plain")
    spikes = np.count_nonzero(scale(inputs["x"]))
    operations = count_operations(plain.manifest, Workload(plain.manifest, plain.program, inputs))
    scaled, summed = operations.kernels
    spike = plain.manifest.kernels[1].spike_input
    assert spike is not None
    assert summed.adds == pytest.approx(spike.adds_per_spike * spikes)
    assert summed.dense_adds == summed.macs == spike.dense_adds
    assert summed.spike_rate == pytest.approx(spikes / 8)
    assert scaled.spike_rate is None
    assert operations.taps["spikes:scale"].spikes == spikes


def test_streams_average_over_frames(streaming: mj.Session) -> None:
    inputs, _ = samples("streaming")
    workload = Workload(streaming.manifest, streaming.program, inputs)
    operations = count_operations(streaming.manifest, workload)
    spikes = np.count_nonzero(scale(inputs["x"]))
    assert operations.calls == 6
    assert operations.taps["spikes:scale"].spikes == pytest.approx(spikes / 6)


def test_silence_costs_no_accumulates(plain: mj.Session) -> None:
    workload = Workload(plain.manifest, plain.program, {"x": np.zeros((2, 4), np.float32)})
    operations = count_operations(plain.manifest, workload)
    assert operations.kernels[1].adds == 0.0
    assert operations.kernels[1].work().weight_bytes == 0.0


def test_totals_add_up(plain: mj.Session) -> None:
    workload = Workload(plain.manifest, plain.program, samples("plain")[0])
    data = count_operations(plain.manifest, workload).to_dict()
    for field in ("macs", "multiplies", "dense_adds", "adds"):
        for view in ("kernels", "layers", "groups"):
            assert sum(row[field] for row in data[view]) == pytest.approx(data["totals"][field])


@pytest.mark.parametrize(
    ("layer", "group"),
    [
        ("block.0.attn.lmu.W_h", "block.0.attn"),
        ("block.12.mlp", "block.12.mlp"),
        ("patch_embed.proj_conv1", "patch_embed"),
        ("head", "head"),
        ("(glue)", "(glue)"),
        ("layers.3", "layers.3"),
    ],
)
def test_layer_groups(layer: str, group: str) -> None:
    assert layer_group(layer) == group
