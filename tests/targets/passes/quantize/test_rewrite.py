"""Whole programs: which operators run on integers, and that they compute the same."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import nir
import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

import millijoule as mj
from fixtures.programs import model_of
from millijoule.converters.model import Model
from millijoule.converters.ops import lif, pack_params, spike_linear
from millijoule.errors import UnsupportedError
from millijoule.targets import build
from millijoule.targets.passes.quantize import prepare, quantize_module
from millijoule.targets.passes.quantize.graph import Graph
from millijoule.targets.quantization import quantize
from millijoule.verification import verify

STEPS, WIDTH = 12, 16


def spikes(seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return (torch.rand(1, STEPS, WIDTH, generator=rng) < 0.3).to(torch.uint8)


def weights(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.3


class Layer(nn.Module):
    """spike_linear under a function of its result."""

    def __init__(self, outputs: int = 24) -> None:
        super().__init__()
        self.register_buffer("w", weights(WIDTH, outputs))
        self.register_buffer("b", weights(outputs, seed=2))
        self.register_buffer("column", weights(outputs, seed=3).abs() + 0.5)

    def currents(self, s: Tensor) -> Tensor:
        return spike_linear(s, self.w, self.b)

    def neurons(self, x: Tensor) -> Tensor:
        params = pack_params(x.shape[-1], threshold=0.7)
        return lif(x, params, x.new_zeros(x.shape[0], 1, x.shape[-1]))[0]


class Affine(Layer):
    """Constants around a sum are folded into what an integer means."""

    def forward(self, s: Tensor) -> Tensor:
        y = (self.currents(s) * self.column + self.column) / 2.0 - 0.25
        return self.neurons(2.0 - y)


class Residual(Layer):
    """Sums of different scales meet in fixed point."""

    def forward(self, s: Tensor) -> Tensor:
        y = self.currents(s)
        return self.neurons(y + y * self.column - self.currents(s.flip(1)) * 0.5)


class Moved(Layer):
    """Rearranged channels keep their scales."""

    def forward(self, s: Tensor) -> Tensor:
        y = self.currents(s).reshape(1, STEPS, 4, 6).transpose(2, 3).reshape(1, STEPS, 24)
        return self.neurons(y)


class Products(Layer):
    """Products of spikes are counts."""

    def forward(self, s: Tensor) -> Tensor:
        q = self.neurons(self.currents(s)).float()
        return self.neurons(q @ (q.transpose(1, 2) @ q) * 0.2)


@pytest.mark.parametrize("kind", [Affine, Residual, Moved, Products], ids=lambda k: k.__name__)
def test_integers_all_the_way(kind: type[Layer], tmp_path: Path) -> None:
    model = model_of(kind(), spikes())
    integer = quantize(model)
    assert not integer.quantization["float_layers"]
    script = integer.module["main"].script()
    assert "lif_fixed" in script
    assert 'dtype="float32"' not in script
    want, got = model.sample_outputs["y0"], integer.sample_outputs["y0"]
    assert got.any()
    assert (got != want).mean() < 0.02  # int8 weights move potentials next to the threshold
    build(integer, "host", tmp_path / "m.mjb").close()
    with mj.load(tmp_path / "m.mjb") as session:
        assert all(check.max_abs_error == 0 for check in verify(session))


class Mean(Layer):
    """The mean over time is a sum, scaled once."""

    def forward(self, s: Tensor) -> Tensor:
        return self.currents(s).mean(dim=1)


class Shared(Layer):
    """One sum read as integers by neurons and as float by an output."""

    def forward(self, s: Tensor) -> tuple[Tensor, Tensor]:
        y = self.currents(s)
        return y.tanh(), self.neurons(y)


@pytest.mark.parametrize("kind", [Mean, Shared], ids=lambda k: k.__name__)
def test_real_outputs(kind: type[Layer]) -> None:
    model = model_of(kind(), spikes())
    integer = quantize(model)
    error = np.abs(integer.sample_outputs["y0"] - model.sample_outputs["y0"]).max()
    # half a unit for each of up to 16 weights
    assert error <= WIDTH * 0.5 * weights(WIDTH, 24).abs().max().item() / 127


class Counts(Layer):
    """Dense layers on spikes need no scale: a spike is one unit."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(24, 5)

    def forward(self, s: Tensor) -> Tensor:
        return self.head(self.neurons(self.currents(s)).float())


def test_dense_layers_on_spikes() -> None:
    integer = quantize(model_of(Counts(), spikes()))
    assert "mj_quantize" not in integer.module["main"].script()
    assert integer.quantization["layers"][-1]["input_scale"] == 1.0


class Convolutions(nn.Module):
    """Two-dimensional convolutions have no integer form yet: said, not hidden."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(1, 3, 3), nn.Linear(3 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu().flatten(1))


def test_what_stays_float_is_listed() -> None:
    record = quantize(model_of(Convolutions(), torch.randn(1, 1, 6, 6))).quantization
    assert [layer["layer"] for layer in record["layers"]] == ["head"]
    assert record["float_layers"] == ["conv"]


class Huge(Layer):
    def forward(self, s: Tensor) -> Tensor:
        return self.neurons(self.currents(s) * 1e12)


def test_a_range_beyond_fixed_point_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"\[quantize\] neurons .* dtype float32"):
        quantize(model_of(Huge(), spikes()))


def network(reset: str, delay: bool, synaptic: bool) -> nn.Module:
    torch.manual_seed(1)

    def neurons(**last: bool) -> nn.Module:
        options = {"init_hidden": True, "reset_mechanism": reset, "reset_delay": delay, **last}
        if synaptic:
            return snn.Synaptic(alpha=0.7, beta=0.8, **options)
        return snn.Leaky(beta=0.85, **options)

    layers = [nn.Linear(10, 32), neurons(), nn.Linear(32, 24), neurons()]
    return nn.Sequential(*layers, nn.Linear(24, 5), neurons(output=True)).eval()


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streaming"])
@pytest.mark.parametrize(
    ("reset", "delay", "synaptic"),
    [
        ("subtract", True, False),
        ("subtract", False, True),
        ("zero", False, True),
        ("none", True, False),
    ],
)
def test_snntorch(reset: str, delay: bool, synaptic: bool, streaming: bool, tmp_path: Path) -> None:
    """Hidden layers run on integers; the read-out, whose potential is an output, stays float."""
    x = torch.rand(1, 20, 10, generator=torch.Generator().manual_seed(2)) * 3
    model = mj.convert(network(reset, delay, synaptic), example_inputs=(x,), streaming=streaming)
    integer = quantize(model)
    assert integer.quantization["float_layers"] == ["5"]
    assert [layer["op"] for layer in integer.quantization["layers"]] == [
        "linear",
        "spike_linear",
        "spike_linear",
    ]
    if streaming:
        assert [t.dtype for _, t in integer.states][:2] == ["int32", "int32"]
    build(integer, "host", tmp_path / "m.mjb").close()
    with mj.load(tmp_path / "m.mjb") as session:
        for check in verify(session):
            # the read-out's potential is float, and its multiply-adds may be rounded once or twice
            assert check.max_abs_error <= (1e-6 if check.name == "membrane" else 0), check.name
    counts = integer.quantization["accuracy"]["outputs"]["counts"]
    assert counts["max_error"] <= 2  # of 20 steps


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streaming"])
def test_nir(streaming: bool, tmp_path: Path) -> None:
    """Spiking outputs have no potential to read, so the whole graph runs on integers."""
    rng = np.random.default_rng(0)

    def ones(width: int, value: float) -> np.ndarray:
        return np.full(width, value)

    nodes = {
        "in": nir.Input({"input": np.array([12])}),
        "a": nir.Affine(rng.standard_normal((16, 12)) * 0.5, rng.standard_normal(16) * 0.1),
        "b": nir.LIF(ones(16, 1e-3), ones(16, 1.0), ones(16, 0.0), ones(16, 0.1)),
        "c": nir.Linear(rng.standard_normal((4, 16)) * 0.6),
        "d": nir.CubaLIF(
            tau_mem=ones(4, 1e-3),
            tau_syn=ones(4, 5e-4),
            r=ones(4, 1.0),
            v_leak=ones(4, 0.0),
            v_threshold=ones(4, 0.1),
        ),
        "out": nir.Output({"output": np.array([4])}),
    }
    names = list(nodes)
    graph = nir.NIRGraph(nodes, list(pairwise(names)))
    x = torch.rand(1, 40, 12, generator=torch.Generator().manual_seed(0))
    integer = quantize(mj.convert(graph, example_inputs=x, streaming=streaming, name="graph"))
    assert integer.quantization["float_layers"] == []
    assert all(t.dtype == "int32" for name, t in integer.states if name.endswith(".state"))
    build(integer, "host", tmp_path / "m.mjb").close()
    with mj.load(tmp_path / "m.mjb") as session:
        assert all(check.max_abs_error == 0 for check in verify(session))


class Accumulator(nn.Module):
    """Exports a state that grows without bound, written as the sum of itself and a spike sum."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("w", weights(WIDTH, 3))

    def forward(self, s: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        new = total + spike_linear(s, self.w, torch.zeros(3))
        return new * 1.0, new


def stepping(module: nn.Module, *inputs: Tensor) -> Model:
    """``module`` as the step of a stream whose last input and output is a state."""
    model = model_of(module, *inputs)
    name, kind = model.inputs[-1]
    model.inputs, model.states = model.inputs[:-1], ((name, kind),)
    model.outputs = model.outputs[:-1]
    return model


def test_sums_without_a_bound_stay_float() -> None:
    model = stepping(Accumulator(), spikes(), torch.zeros(1, STEPS, 3))
    rewritten = quantize_module(prepare(model.module), model.layers, [], 1)
    assert rewritten.states[0].dtype == "float32"
    assert rewritten.meanings[0].scale is None


class Delay(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("w", weights(WIDTH, 3))

    def forward(self, s: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        now = spike_linear(s, self.w, torch.zeros(3))
        return old + now, now * 1.0


def test_a_delayed_sum_is_kept_as_integers() -> None:
    model = stepping(Delay(), spikes(), torch.zeros(1, STEPS, 3))
    rewritten = quantize_module(prepare(model.module), model.layers, [], 1)
    assert rewritten.states[0].dtype == "int32"
    scale = rewritten.meanings[0].scale
    assert scale is not None
    peak = weights(WIDTH, 3).abs().amax(0).numpy()
    np.testing.assert_allclose(scale, peak / 127)


def test_extra_outputs_come_before_the_states() -> None:
    model = stepping(Delay(), spikes(), torch.zeros(1, STEPS, 3))
    graph = Graph(prepare(model.module))
    wide = Graph(graph.with_outputs([graph.main.params[0]], 1))
    assert wide.outputs[1].same_as(wide.main.params[0])
    assert len(wide.outputs) == len(graph.outputs) + 1
