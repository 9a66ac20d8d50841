"""snnTorch networks against snnTorch itself, run step by step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from snntorch import utils
from torch import Tensor, nn

import millijoule as mj
from millijoule.converters.frontends.module import convert_module
from millijoule.converters.frontends.network import SpikingNet
from millijoule.converters.frontends.rebuild import rebuild
from millijoule.converters.frontends.snntorch import convert_snntorch
from millijoule.converters.frontends.snntorch_neurons import is_neuron, neuron_spec
from millijoule.converters.model import Model
from millijoule.converters.samples import random_candidates, robust_sample
from millijoule.errors import UnsupportedError
from millijoule.targets import build
from millijoule.verification import verify

WIDTHS = (1, 15, 16, 17, 65)
KINDS = list(product(("Leaky", "Synaptic"), ("subtract", "zero", "none"), (True, False)))


def neuron(kind: str, width: int, **options: Any) -> nn.Module:
    """A neuron with its own parameters per channel."""
    beta = torch.rand(width) * 0.5 + 0.4
    threshold = torch.rand(width) * 0.5 + 0.5
    if kind == "Leaky":
        return snn.Leaky(beta=beta, threshold=threshold, **options)
    alpha = torch.rand(width) * 0.5 + 0.2
    return snn.Synaptic(alpha=alpha, beta=beta, threshold=threshold, **options)


def chain(kind: str, reset: str, delay: bool, widths: tuple[int, ...], **last: Any) -> nn.Module:
    """Linear layers and neurons in turn."""
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        options = {"init_hidden": True, "reset_mechanism": reset, "reset_delay": delay}
        if index == len(widths) - 2:
            options |= last
        linear = nn.Linear(inputs, outputs)
        with torch.no_grad():
            linear.weight *= 3  # activity in every layer
        layers += [linear, neuron(kind, outputs, **options)]
    return nn.Sequential(*layers).eval()


def by_steps(module: nn.Module, x: np.ndarray) -> list[Any]:
    """What snnTorch computes, a step at a time."""
    utils.reset(module)
    for m in module.modules():
        if isinstance(m, snn.SpikingNeuron) and hasattr(m, "reset_mem"):
            m.mem = torch.zeros(0)
    with torch.no_grad():
        return [module(frame) for frame in torch.from_numpy(x).unbind(1)]


def rebuilt(module: nn.Module, x: Tensor) -> SpikingNet:
    """The network over sequences, before it is exported."""
    specs = {path: neuron_spec(path, m) for path, m in module.named_modules() if is_neuron(m)}
    return rebuild(module, x, specs).net


def check_spikes(model: Model, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(model.sample_outputs["spikes"], expected)
    np.testing.assert_array_equal(model.sample_outputs["counts"], expected.sum(1))


@pytest.mark.parametrize(("kind", "reset", "delay"), KINDS)
@pytest.mark.parametrize("width", WIDTHS)
def test_spikes_are_snntorchs(kind: str, reset: str, delay: bool, width: int) -> None:
    torch.manual_seed(width)
    module = chain(kind, reset, delay, (7, width, 5))
    net = rebuilt(module, torch.randn(2, 12, 7))
    x = robust_sample(net, random_candidates((2, 12, 7)))
    expected = torch.stack(by_steps(module, x.numpy()), 1)
    counts, spikes = net(x)
    assert torch.equal(spikes, expected)
    assert torch.equal(counts, expected.sum(1))


@pytest.mark.parametrize(("index", "case"), list(enumerate(KINDS)), ids=str)
def test_programs_spike_like_snntorch(
    index: int, case: tuple[str, str, bool], tmp_path: Path
) -> None:
    torch.manual_seed(index)
    width = WIDTHS[index % len(WIDTHS)]
    module = chain(*case, (6, width, 17), output=True)
    model = convert_module(module, (torch.randn(2, 20, 6),), name="net")
    every = by_steps(module, model.sample_inputs["x"])
    build(model, "host", tmp_path / "net.mjb").close()
    with mj.load(tmp_path / "net.mjb") as session:
        got = session.run(model.sample_inputs)
        assert all(check.passed for check in verify(session))
    spikes = torch.stack([results[0] for results in every], 1).numpy()
    np.testing.assert_array_equal(got["spikes"], spikes)
    membrane = torch.stack([results[-1] for results in every], 1).numpy()
    np.testing.assert_allclose(got["membrane"], membrane, atol=2e-5)


@pytest.mark.parametrize("case", KINDS[::5], ids=str)
def test_streams_spike_like_snntorch(case: tuple[str, str, bool], tmp_path: Path) -> None:
    torch.manual_seed(3)
    module = chain(*case, (6, 16, 5), output=True)
    model = convert_module(module, (torch.randn(1, 15, 6),), name="net", streaming=True)
    assert model.streaming is not None
    assert model.streaming.delay == 0
    every = by_steps(module, model.sample_inputs["x"])
    build(model, "host", tmp_path / "net.mjb").close()
    with mj.load(tmp_path / "net.mjb") as session, session.stream() as stream:
        total = np.zeros((1, 5), np.float32)
        for frame, results in zip(model.sample_inputs["x"].swapaxes(0, 1), every, strict=True):
            got = stream.step({"x": frame})
            total += results[0].numpy()
            np.testing.assert_array_equal(got["spikes"], results[0].numpy())
            np.testing.assert_array_equal(got["counts"], total)
            np.testing.assert_allclose(got["membrane"], results[-1].numpy(), atol=2e-5)
        assert stream.flush() == []


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    case=st.sampled_from(KINDS),
    widths=st.lists(st.sampled_from((1, 3, 17)), min_size=2, max_size=4),
    steps=st.integers(1, 9),
    batch=st.integers(1, 3),
    gain=st.sampled_from((1.0, 4.0)),
)
def test_any_chain(
    seed: int,
    case: tuple[str, str, bool],
    widths: list[int],
    steps: int,
    batch: int,
    gain: float,
) -> None:
    torch.manual_seed(seed)
    module = chain(*case, tuple(widths))
    model = convert_module(module, (torch.randn(batch, steps, widths[0]) * gain,), name="net")
    expected = torch.stack(by_steps(module, model.sample_inputs["x"]), 1).numpy()
    check_spikes(model, expected)


class Loop(nn.Module):
    """The form of snnTorch's tutorials: time first, states by hand."""

    def __init__(self, kind: str = "Leaky", **options: Any) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 16), nn.Linear(16, 4)
        self.lif1, self.lif2 = neuron(kind, 16, **options), neuron(kind, 4, **options)
        with torch.no_grad():
            self.fc1.weight *= 3
            self.fc2.weight *= 3


class TimeFirst(Loop):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, potentials = [], []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step].view(x.shape[1], -1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            potentials.append(mem2)
        return torch.stack(spikes, dim=0), torch.stack(potentials)


class BatchFirst(Loop):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        syn1, mem1 = self.lif1.reset_mem()
        syn2, mem2 = self.lif2.reset_mem()
        total = 0
        for frame in x.permute(1, 0, 2):
            spk1, syn1, mem1 = self.lif1(self.fc1(frame), syn1, mem1)
            spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
            total = total + spk2
        return {"total": total, "last": mem2}


class Static(Loop):
    steps = 9

    def forward(self, x: Tensor) -> Tensor:
        mem1 = torch.zeros(x.shape[0], 16)
        mem2 = torch.zeros(x.shape[0], 4)
        record = []
        for _ in range(self.steps):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            record.append(spk2)
        return torch.stack(record, 1)


class Hidden(Loop):
    """Neurons that keep their state, indexed along the second axis, rates in the end."""

    def forward(self, x: Tensor) -> Tensor:
        utils.reset(self)
        record = [self.lif2(self.fc2(self.lif1(self.fc1(x[:, t])))) for t in range(x.shape[1])]
        return torch.stack(record).mean(0)


@pytest.mark.parametrize(
    ("make", "shape", "names", "streams"),
    [
        (lambda: TimeFirst(), (8, 3, 6), ("y0", "y1"), True),
        (lambda: TimeFirst(reset_mechanism="zero"), (8, 1, 6), ("y0", "y1"), True),
        (lambda: TimeFirst(graded_spikes_factor=0.5), (8, 3, 6), ("y0", "y1"), True),
        (lambda: BatchFirst("Synaptic"), (3, 8, 6), ("total", "last"), True),
        (lambda: Static(reset_delay=False), (3, 6), ("y",), True),
        (lambda: Hidden(init_hidden=True), (3, 8, 6), ("y",), False),
    ],
)
def test_loops_over_time(
    make: Callable[[], nn.Module],
    shape: tuple[int, ...],
    names: tuple[str, ...],
    streams: bool,
    tmp_path: Path,
) -> None:
    torch.manual_seed(5)
    module = make()
    x = torch.randn(shape)
    model = convert_module(module, (x,), name="loop")
    assert tuple(name for name, _ in model.outputs) == names
    time_first = isinstance(module, TimeFirst)
    sample = torch.from_numpy(model.sample_inputs["x"])
    with torch.no_grad():
        returned = module(sample.transpose(0, 1) if time_first else sample)
    expected = list(returned.values()) if isinstance(returned, dict) else returned
    expected = [expected] if isinstance(expected, Tensor) else list(expected)
    build(model, "host", tmp_path / "loop.mjb").close()
    with mj.load(tmp_path / "loop.mjb") as session:
        got = session.run(model.sample_inputs)
        assert all(check.passed for check in verify(session))
    for name, want in zip(names, expected, strict=True):
        want = want.transpose(0, 1) if time_first else want
        np.testing.assert_allclose(got[name], want.numpy(), atol=2e-5)
    if not streams:
        with pytest.raises(UnsupportedError, match="computed from all steps at once"):
            convert_module(module, (x,), streaming=True)
        return
    streaming = convert_module(module, (x,), streaming=True)
    build(streaming, "host", tmp_path / "stream.mjb").close()
    with mj.load(tmp_path / "stream.mjb") as session:
        assert all(check.passed for check in verify(session))


class Explicit(Loop):
    """One step; states are arguments and results."""

    def forward(self, x: Tensor, mem1: Tensor, mem2: Tensor) -> tuple[Tensor, ...]:
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
        return spk2, mem1, mem2


def test_a_step_with_explicit_states() -> None:
    torch.manual_seed(6)
    module = Explicit()
    model = convert_module(module, (torch.randn(2, 9, 6),))
    assert [name for name, _ in model.outputs] == ["counts", "spikes", "membrane"]
    mem1, mem2, every = module.lif1.reset_mem(), module.lif2.reset_mem(), []
    with torch.no_grad():
        for frame in torch.from_numpy(model.sample_inputs["x"]).unbind(1):
            spk, mem1, mem2 = module(frame, mem1, mem2)
            every.append((spk, mem2))
    check_spikes(model, torch.stack([s for s, _ in every], 1).numpy())
    potentials = torch.stack([m for _, m in every], 1).numpy()
    np.testing.assert_allclose(model.sample_outputs["membrane"], potentials, atol=1e-6)


def convolutional() -> nn.Module:
    """Images per step, with what such networks are made of."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        snn.Leaky(beta=0.8, init_hidden=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3),
        snn.Leaky(beta=0.7, threshold=torch.tensor(0.3), init_hidden=True, reset_delay=False),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4, 3),
        snn.Leaky(beta=0.5, threshold=0.1, init_hidden=True, reset_mechanism="zero"),
    ).eval()


@pytest.mark.parametrize("streaming", [False, True])
def test_convolutions_per_step(streaming: bool, tmp_path: Path) -> None:
    torch.manual_seed(7)
    module = convolutional()
    model = convert_module(module, (torch.randn(2, 6, 1, 8, 8) * 2,), streaming=streaming)
    build(model, "host", tmp_path / "conv.mjb").close()
    with mj.load(tmp_path / "conv.mjb") as session:
        assert all(check.passed for check in verify(session))
        got = session.run(model.sample_inputs)
    expected = torch.stack(by_steps(module, model.sample_inputs["x"]), 1).numpy()
    assert expected.any()
    np.testing.assert_array_equal(got["counts"], expected.sum(1))


def test_linear_layers_behind_spikes_add_columns() -> None:
    module = chain("Leaky", "subtract", True, (6, 16, 16, 5))
    model = convert_module(module, (torch.randn(1, 4, 6),))
    composites = [str(f.attrs.get("Composite")) for f in model.module.functions.values() if f.attrs]
    assert composites.count("mj.spike_linear") == 2
    assert composites.count("mj.lif") == 3
    assert model.reference_macs == {"0": 6 * 16 * 4, "2": 16 * 16 * 4, "4": 16 * 5 * 4}
    assert model.parameters == sum(p.numel() for p in module.parameters())


def test_the_module_stays_as_it_was() -> None:
    module = chain("Leaky", "subtract", True, (6, 5)).train()
    module(torch.randn(2, 6, requires_grad=True))  # leaves a state with a gradient behind
    state, spikes = module[1].mem, len(snn.SpikingNeuron.instances)
    before = {name: p.clone() for name, p in module.state_dict().items()}
    convert_module(module, (torch.randn(2, 4, 6),))
    assert module[1].mem is state
    assert module.training
    assert len(snn.SpikingNeuron.instances) == spikes
    assert all(torch.equal(v, before[name]) for name, v in module.state_dict().items())


@pytest.mark.parametrize("batch", [2, 5])
def test_batch(batch: int) -> None:
    for module, x in (
        (chain("Leaky", "zero", True, (6, 5)), torch.randn(3, 4, 6)),
        (TimeFirst(), torch.randn(4, 3, 6)),
    ):
        model = convert_module(module, (x,), batch=batch)
        assert model.inputs[0][1].shape == (batch, 4, 6)


class Recurrent(Loop):
    def forward(self, x: Tensor) -> Tensor:
        mem1, spk1, record = self.lif1.reset_mem(), torch.zeros(x.shape[1], 16), []
        for frame in x:
            spk1, mem1 = self.lif1(self.fc1(frame) + spk1, mem1)
            record.append(spk1)
        return torch.stack(record)


class MixesBatch(Loop):
    def forward(self, x: Tensor) -> Tensor:
        mem1, record = self.lif1.reset_mem(), []
        for frame in x:
            cur = self.fc1(frame)
            spk1, mem1 = self.lif1(cur - cur.mean(0), mem1)
            record.append(spk1)
        return torch.stack(record)


class DependsOnStep(Loop):
    def forward(self, x: Tensor) -> Tensor:
        mem1, record = self.lif1.reset_mem(), []
        for t, frame in enumerate(x):
            spk1, mem1 = self.lif1(self.fc1(frame) * t, mem1)
            record.append(spk1)
        return torch.stack(record)


class Backwards(Loop):
    def forward(self, x: Tensor) -> Tensor:
        mem1, record = self.lif1.reset_mem(), []
        for t in reversed(range(x.shape[0])):
            spk1, mem1 = self.lif1(self.fc1(x[t]), mem1)
            record.append(spk1)
        return torch.stack(record)


class ForgetsState(Loop):
    def forward(self, x: Tensor) -> Tensor:
        record = []
        for frame in x:
            spk1, _ = self.lif1(self.fc1(frame), torch.zeros(x.shape[1], 16))
            record.append(spk1)
        return torch.stack(record)


class LooksAtValues(Loop):
    def forward(self, x: Tensor) -> Tensor:
        mem1, record = self.lif1.reset_mem(), []
        for frame in x:
            if frame.sum() > 0:
                spk1, mem1 = self.lif1(self.fc1(frame), mem1)
                record.append(spk1)
        return torch.stack(record)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Recurrent, "recurrent connections"),
        (MixesBatch, "another 'y' than the module"),
        (DependsOnStep, "take different values at different steps"),
        (Backwards, "take a value of another step"),
        (ForgetsState, "do not take their own mem"),
        (LooksAtValues, "forward runs neither on the example"),
    ],
)
def test_other_structures_are_refused(make: type[nn.Module], message: str) -> None:
    torch.manual_seed(8)
    with pytest.raises(UnsupportedError, match=message) as caught:
        convert_module(make(), (torch.randn(5, 3, 6),))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: snn.RLeaky(beta=0.5, linear_features=5), "of type RLeaky; supported are Leaky, "),
        (lambda: snn.Alpha(alpha=0.9, beta=0.8), "of type Alpha"),
        (lambda: snn.Leaky(beta=0.5, state_quant=torch.round), "state_quant"),
        (lambda: snn.Leaky(beta=0.5, graded_spikes_factor=0.0), "graded_spikes_factor of 0"),
        (
            lambda: snn.Leaky(beta=0.5, spike_grad=torch.sigmoid),
            "do not spike as 0 or 1",
        ),
        (
            lambda: snn.Leaky(beta=0.5, threshold=-1, reset_mechanism="zero", reset_delay=False),
            "negative threshold",
        ),
    ],
)
def test_other_neurons_are_refused(make: Callable[[], nn.Module], message: str) -> None:
    module = nn.Sequential(nn.Linear(6, 5), make())
    with pytest.raises(UnsupportedError, match=message):
        convert_snntorch(module, (torch.randn(2, 4, 6),), name="net")


@pytest.mark.filterwarnings("ignore:Inhibition")
def test_inhibition_is_refused() -> None:
    module = nn.Sequential(nn.Linear(6, 5), snn.Leaky(beta=0.5, inhibition=True))
    with pytest.raises(UnsupportedError, match="inhibition"):
        convert_snntorch(module, (torch.randn(2, 4, 6),), name="net")


def test_parameters_may_have_a_batch_axis() -> None:
    module = nn.Sequential(nn.Linear(6, 5), snn.Leaky(beta=torch.rand(1, 5), init_hidden=True))
    model = convert_module(module, (torch.randn(2, 4, 6),))
    expected = torch.stack(by_steps(module, model.sample_inputs["x"]), 1).numpy()
    check_spikes(model, expected)
