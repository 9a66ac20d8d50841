"""The single step equals the parallel form, for every variant that has one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fixtures.models import SMALL, STREAMABLE, random_module
from millijoule.converters.lmuformer.convert import prefix_logits
from millijoule.converters.samples import robust_sample, spikes_of
from millijoule.converters.stream import Stream, StreamStep, Temporal, name_states

by_variant = pytest.mark.parametrize("variant", STREAMABLE)


def random_inputs(module: nn.Module, batch: int) -> Tensor:
    shape = (batch, module.seq_len, module.features)
    rng = torch.Generator().manual_seed(3)
    return robust_sample(module, (torch.randn(shape, generator=rng) for _ in range(24)))


def run_stream(step: StreamStep, x: Tensor) -> Tensor:
    """Logits after every frame, [N, B, classes]; the delay line filled and drained."""
    states, answers = step.initial_states(), []
    batch, steps, features = x.shape
    for t in range(steps + step.delay):
        real = t < steps
        frame = x[:, t] if real else torch.zeros(batch, features)
        with torch.no_grad():
            logits, *states = step(frame, torch.tensor([int(real)], dtype=torch.int32), *states)
        answers.append(logits)
    return torch.stack(answers[step.delay :])


@by_variant
@pytest.mark.parametrize("batch", [1, 2])
def test_stream_is_the_parallel_form(variant: str, batch: int) -> None:
    module = random_module(variant, SMALL[variant])
    x = random_inputs(module, batch)
    step = StreamStep(module, module.delay, batch, module.features)
    got = run_stream(step, x)
    with torch.no_grad():
        expected = torch.from_numpy(prefix_logits(module, x))
        whole = module(x)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(got[-1], whole, rtol=0, atol=1e-5)
    spikes = spikes_of(module, lambda m: m(x))[1]
    assert all(0.01 < s.float().mean() < 0.99 for s in spikes.values()), "not a test of anything"


@by_variant
def test_prefix_logits_are_causal_up_to_the_delay(variant: str) -> None:
    """The answer for t frames is that of the sequence which ends there."""
    module = random_module(variant, SMALL[variant])
    x = random_inputs(module, 1)
    step = StreamStep(module, module.delay, 1, module.features)
    every = run_stream(step, x)
    cut = 9
    torch.testing.assert_close(run_stream(step, x[:, :cut])[: cut - step.delay],
                               every[: cut - step.delay], rtol=0, atol=0)  # fmt: skip


@by_variant
def test_states(variant: str) -> None:
    module = random_module(variant, SMALL[variant])
    step = StreamStep(module, module.delay, 2, module.features)
    names = [state.name for state in step.states]
    assert len(set(names)) == len(names)
    for state, value in zip(step.states, step.initial_states(), strict=True):
        assert tuple(value.shape) == state.shape
        assert not value.any()
        assert state.dtype in ("float32", "int32", "uint8")


def test_names_and_shapes_of_states() -> None:
    module = random_module("spiking-ms", SMALL["spiking-ms"])
    step = StreamStep(module, module.delay, 2, module.features)
    states = {state.name: (state.shape, state.dtype) for state in step.states}
    line = [name for name in states if name.startswith("valid_line")]
    assert line == [f"valid_line.{place}" for place in range(5)]
    assert states["valid_line.4"] == ((1,), "int32")
    assert states["patch_embed.proj_conv.window"] == ((2, 3, 20), "float32")
    assert states["patch_embed.proj_conv1.window"] == ((2, 3, 16), "uint8")
    assert states["patch_embed.residual"] == ((2, 1, 16), "float32")
    assert states["block.0.attn.lmu.history"] == ((2, 24), "uint8")
    assert states["block.0.attn.lmu.m"] == ((2, 32), "float32")
    assert states["block.0.attn.lmu.t"] == ((1,), "int32")
    assert states["block.0.attn.lmu.f_h.v"] == ((2, 1, 16), "float32")
    assert states["logits.sum"] == ((2, 7), "float32")


def test_psmnist_needs_no_delay() -> None:
    module = random_module("psmnist-plain", SMALL["psmnist-plain"])
    step = StreamStep(module, module.delay, 1, 1)
    assert step.delay == 0
    assert not [state for state in step.states if state.name.startswith("valid_line")]


def test_a_wrong_delay_is_noticed() -> None:
    module = random_module("plain", SMALL["plain"])
    with pytest.raises(ValueError, match="delays by 5 steps, but declares 6"):
        StreamStep(module, 6, 1, module.features)


def test_delay_line_of_validity() -> None:
    seen = []
    states = {f"valid_line.{place}": torch.zeros(1, dtype=torch.int32) for place in range(2)}
    for valid in (1, 1, 1, 0, 0):
        stream = Stream(torch.tensor([valid], dtype=torch.int32), states, 2)
        row = [int(stream.valid)]
        for _ in range(2):
            stream.later()
            row.append(int(stream.valid))
        assert stream.depth == 2
        seen.append(row)
        states = stream.written
    assert seen == [[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 1, 1], [0, 0, 1]]


def test_windows_and_delays() -> None:
    states: dict[str, Tensor] = {"w": torch.zeros(1, 3, 1), "d": torch.zeros(1, 1, 1)}
    windows, delayed = [], []
    for value in (1.0, 2.0, 3.0, 4.0):
        stream = Stream(torch.ones(1, dtype=torch.int32), states, 0)
        x = torch.full((1, 1, 1), value)
        windows.append(stream.window("w", x, 3).flatten().tolist())
        delayed.append(stream.delayed("d", x).item())
        states = stream.written
    assert windows == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert delayed == [0, 1, 2, 3]


def test_states_are_named_after_their_modules() -> None:
    class Leaf(Temporal):
        pass

    tree = nn.Sequential(nn.Sequential(Leaf()), Leaf())
    name_states(tree)
    assert [m.path for m in tree.modules() if isinstance(m, Temporal)] == ["0.0", "1"]
