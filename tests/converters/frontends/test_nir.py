"""NIR graphs against the equations of their nodes, and against snnTorch's import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch.export_nir import export_to_nir
from torch import nn

import millijoule as mj
from millijoule.converters.frontends.module import convert_module
from millijoule.converters.frontends.nir import convert_nir
from millijoule.errors import MjError, ModelError, UnsupportedError, UsageError
from millijoule.targets import build
from millijoule.verification import verify

DT = 1e-4
WIDTH = 17


def uniform(low: float, high: float, size: int = WIDTH, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, size).astype(np.float32)


TAU, TAU_SYN = uniform(2e-4, 2e-3, seed=1), uniform(2e-4, 2e-3, seed=2)
R, LEAK = uniform(5, 20, seed=3), uniform(-0.5, 0.5, seed=4)
THRESHOLD, RESET = LEAK + uniform(0.5, 1.5, seed=5), LEAK - uniform(0, 0.5, seed=6)
W_IN = uniform(2, 5, seed=7)
FIRE: dict[str, Any] = {"v_threshold": THRESHOLD, "v_reset": RESET}

NEURONS = {
    "LIF": nir.LIF(tau=TAU, r=R, v_leak=LEAK, **FIRE),
    "LI": nir.LI(tau=TAU, r=R, v_leak=LEAK),
    "CubaLIF": nir.CubaLIF(tau_mem=TAU, tau_syn=TAU_SYN, r=R, v_leak=LEAK, w_in=W_IN, **FIRE),
    "CubaLI": nir.CubaLI(tau_mem=TAU, tau_syn=TAU_SYN, r=R, v_leak=LEAK, w_in=W_IN),
    "IF": nir.IF(r=R / 10, v_threshold=THRESHOLD - LEAK, v_reset=RESET - LEAK),
}


def euler(node: Any, x: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Spikes and potentials [B, N, C] by the differential equations, in float64."""
    x = x.astype(np.float64)
    integrates = isinstance(node, nir.IF)
    v = np.zeros_like(x[:, 0]) + (0 if integrates else node.v_leak)
    current, spikes, potentials = np.zeros_like(v), [], []
    for z in x.swapaxes(0, 1):
        if hasattr(node, "tau_syn"):
            current = current + dt / node.tau_syn * (node.w_in * z - current)
            z = current
        if integrates:
            v = v + node.r * z
        else:
            tau = node.tau_mem if hasattr(node, "tau_mem") else node.tau
            v = v + dt / tau * (node.v_leak - v + node.r * z)
        fires = v > getattr(node, "v_threshold", np.inf)
        v = np.where(fires, getattr(node, "v_reset", 0), v)
        spikes.append(fires)
        potentials.append(v)
    return np.stack(spikes, 1), np.stack(potentials, 1)


@pytest.mark.parametrize("kind", NEURONS)
@pytest.mark.parametrize("dt", [DT, 2e-4])
def test_neurons_follow_their_equations(kind: str, dt: float) -> None:
    node = NEURONS[kind]
    graph = nir.NIRGraph.from_list(node)
    model = convert_nir(graph, steps=30, batch=2, dt=dt)
    spikes, potentials = euler(node, model.sample_inputs["x"], dt)
    if kind.endswith("LI"):
        np.testing.assert_allclose(model.sample_outputs["membrane"], potentials, atol=2e-5)
    else:
        assert 0.02 < spikes.mean() < 0.98
        np.testing.assert_array_equal(model.sample_outputs["spikes"], spikes)
        np.testing.assert_array_equal(model.sample_outputs["counts"], spikes.sum(1))


def from_snntorch() -> nn.Sequential:
    """A network that snnTorch's exporter writes and importer reads back as it is."""
    now: dict[str, Any] = {
        "init_hidden": True,
        "reset_mechanism": "zero",
        "reset_delay": False,
    }

    def full(value: float, size: int) -> torch.Tensor:
        return torch.full((size,), value)

    return nn.Sequential(
        nn.Linear(12, 16),
        snn.Leaky(beta=full(0.8, 16), threshold=full(0.3, 16), **now),
        nn.Linear(16, 5, bias=False),
        snn.Synaptic(alpha=full(0.4, 5), beta=full(0.9, 5), threshold=full(0.2, 5), **now),
    )


@pytest.mark.parametrize("streaming", [False, True])
def test_graphs_of_snntorch(streaming: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = from_snntorch()
    nir.write(tmp_path / "g.nir", export_to_nir(network, torch.randn(1, 12), ignore_dims=[0]))
    x = torch.randn(2, 20, 12)
    model = convert_nir(tmp_path / "g.nir", example_inputs=x, streaming=streaming)
    direct = convert_module(network, (torch.from_numpy(model.sample_inputs["x"]),))
    build(model, "host", tmp_path / "g.mjb").close()
    with mj.load(tmp_path / "g.mjb") as session:
        assert all(check.passed for check in verify(session))
        got = session.run(model.sample_inputs)
    assert direct.sample_outputs["counts"].any()
    np.testing.assert_array_equal(got["counts"], direct.sample_outputs["counts"])
    assert model.parameters == sum(p.numel() for p in network.parameters())
    assert model.reference_macs == {"0": 12 * 16 * 20, "2": 16 * 5 * 20}


def image_graph() -> nir.NIRGraph:
    """Convolutions, poolings, a scale, and two paths that add up."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    two, none = np.array([2, 2]), np.array([0, 0])
    threshold = np.full((3, 6, 6), 0.5, np.float32)
    nodes = {
        "input": nir.Input(np.array([1, 8, 8])),
        "conv": nir.Conv2d((8, 8), normal(3, 1, 3, 3), 1, 0, 1, 1, normal(3)),
        "if": nir.IF(r=np.ones_like(threshold), v_threshold=threshold),
        "sum": nir.SumPool2d(two, two, none),
        "avg": nir.AvgPool2d(two, two, none),
        "flat": nir.Flatten({"input": np.array([3, 3, 3])}, 0, -1),
        "scale": nir.Scale(normal(27)),
        "fc": nir.Affine(normal(4, 27), normal(4)),
        "output": nir.Output(np.array([4])),
    }
    edges = [
        ("input", "conv"), ("conv", "if"), ("if", "sum"), ("if", "avg"), ("sum", "flat"),
        ("avg", "flat"), ("flat", "scale"), ("scale", "fc"), ("fc", "output"),
    ]  # fmt: skip
    return nir.NIRGraph(nodes, edges, type_check=False)


def test_images_and_sums(tmp_path: Path) -> None:
    graph = image_graph()
    model = convert_nir(graph, steps=6, name="image")
    assert [name for name, _ in model.outputs] == ["y"]
    x = torch.from_numpy(model.sample_inputs["x"])
    conv, fc, scale = (graph.nodes[n] for n in ("conv", "fc", "scale"))
    weight, bias = torch.from_numpy(conv.weight), torch.from_numpy(conv.bias)
    current = nn.functional.conv2d(x[0], weight, bias).double()
    v, expected = torch.zeros_like(current[0]), []
    for z in current:
        v = v + z
        spikes = v > 0.5
        v = v.masked_fill(spikes, 0)
        pooled = nn.functional.avg_pool2d(spikes[None].double(), 2)[0] * 5  # sum and average
        expected.append(fc.weight @ (pooled.flatten().numpy() * scale.scale) + fc.bias)
    np.testing.assert_allclose(model.sample_outputs["y"][0], np.stack(expected), atol=1e-4)
    build(model, "host", tmp_path / "g.mjb").close()
    with mj.load(tmp_path / "g.mjb") as session:
        got = session.run(model.sample_inputs)
    np.testing.assert_allclose(got["y"], model.sample_outputs["y"], atol=1e-4)


def test_convolutions_along_one_axis() -> None:
    weight = uniform(-1, 1, 2 * 3 * 3).reshape(2, 3, 3)
    graph = nir.NIRGraph.from_list(
        nir.Input(np.array([3, 10])), nir.Conv1d(10, weight, 1, 1, 1, 1, np.zeros(2, np.float32))
    )
    model = convert_nir(graph, example_inputs=torch.ones(2, 4, 3, 10))
    assert model.outputs[0][1].shape == (2, 4, 2, 10)


def test_several_outputs_have_their_names() -> None:
    one = np.ones(3, np.float32)
    nodes = {
        "input": nir.Input(np.array([3])),
        "if": nir.IF(one, one),
        "spikes": nir.Output(np.array([3])),
        "currents": nir.Output(np.array([3])),
    }
    edges = [("input", "if"), ("if", "spikes"), ("input", "currents")]
    model = convert_nir(nir.NIRGraph(nodes, edges), steps=5)
    assert [name for name, _ in model.outputs] == ["spikes", "currents"]


def graph_of(nodes: dict[str, Any], edges: list[tuple[str, str]]) -> nir.NIRGraph:
    everything = {"input": nir.Input(np.array([3])), "output": nir.Output(np.array([3])), **nodes}
    return nir.NIRGraph(everything, edges, type_check=False)


ONE = np.ones(3, np.float32)
LINEAR = nir.Linear(np.eye(3, dtype=np.float32))
IF = nir.IF(ONE, ONE)


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (
            lambda: graph_of({"d": nir.Delay(ONE)}, [("input", "d"), ("d", "output")]),
            {},
            UnsupportedError,
            r"node 'd' is of type Delay, .*supported are Input, Output, Affine, AvgPool2d, ",
        ),
        (
            lambda: graph_of(
                {"a": IF, "w": LINEAR},
                [("input", "a"), ("a", "w"), ("w", "a"), ("a", "output")],
            ),
            {},
            UnsupportedError,
            "edges among .*'a', 'w' form a cycle; recurrent",
        ),
        (
            lambda: graph_of({"a": IF}, [("a", "output")]),
            {},
            ModelError,
            "nothing is connected to node 'a'",
        ),
        (
            lambda: graph_of({"a": IF}, [("input", "b"), ("a", "output")]),
            {},
            ModelError,
            "an edge names 'b'",
        ),
        (
            lambda: graph_of(
                {"w": nir.Linear(np.ones((3, 4), np.float32))}, [("input", "w"), ("w", "output")]
            ),
            {},
            ModelError,
            r"node 'w' \(Linear\) does not fit its input of shape \[3\]",
        ),
        (
            lambda: nir.NIRGraph.from_list(NEURONS["LIF"]),
            {"dt": 1e-2},
            ModelError,
            "tau must be at least dt = 0.01, but is",
        ),
        (lambda: nir.NIRGraph.from_list(IF), {"steps": 0}, UsageError, "must be positive"),
        (
            lambda: nir.NIRGraph.from_list(IF),
            {"example_inputs": torch.ones(1, 2, 4)},
            ModelError,
            r"example input must be \[B, N, 3\], but is \[1, 2, 4\]",
        ),
    ],
)
def test_what_is_refused(
    make: Callable[[], Any], options: dict[str, Any], error: type[MjError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        convert_nir(make(), **options)
    assert "\n" not in str(caught.value)


def test_a_graph_is_a_source() -> None:
    model = mj.convert(nir.NIRGraph.from_list(IF), example_inputs=torch.ones(2, 7, 3))
    assert model.inputs[0][1].shape == (2, 7, 3)
