"""``lif``: reference, torch form, naive TIR and gradient against each other and against others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fixtures.kernels import run_naive
from fixtures.operands import LIF_RULES, VALID, lif_attrs, lif_operands
from millijoule.converters.ops import LifRule, lif, lif_record, pack_params
from millijoule.converters.ops.lif import lif_record_reference, lif_reference
from millijoule.converters.ops.lif.torch_op import lif_op, lif_record_op

by_rule = pytest.mark.parametrize("rule", LIF_RULES.values(), ids=LIF_RULES)


def run_torch(
    arrays: list[np.ndarray], rule: LifRule, valid: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    gate = None if valid is None else torch.from_numpy(valid)
    spikes, state = lif(*map(torch.from_numpy, arrays), rule, valid=gate)
    return spikes.numpy(), state.numpy()


@by_rule
@pytest.mark.parametrize("valid", [None, VALID], ids=["always", "gated"])
@pytest.mark.parametrize("channels", [1, 17, 65])
def test_the_three_forms_agree(rule: LifRule, valid: np.ndarray | None, channels: int) -> None:
    arrays = lif_operands(rule, channels)
    spikes, state = lif_reference(*arrays, valid, rule)
    assert 0 < spikes.mean() < 1
    gate = [] if valid is None else [valid]
    naive = run_naive("lif", lif_attrs(rule), [*arrays, *gate])
    for got_spikes, got_state in (run_torch(arrays, rule, valid), naive):
        assert got_spikes.dtype == np.uint8
        np.testing.assert_array_equal(got_spikes, spikes)
        np.testing.assert_allclose(got_state, state, rtol=1e-6, atol=2e-6)


@by_rule
@pytest.mark.parametrize("record", ["before", "after"])
@pytest.mark.parametrize("valid", [None, VALID], ids=["always", "gated"])
def test_the_three_forms_record_the_same(
    rule: LifRule, valid: np.ndarray | None, record: str
) -> None:
    arrays = lif_operands(rule, 17)
    spikes, state, membrane = lif_record_reference(*arrays, valid, rule, record)
    if record == "after":
        np.testing.assert_array_equal(membrane[:, -1], state[:, 0])
    gate = [] if valid is None else [valid]
    naive = run_naive("lif_record", {**lif_attrs(rule), "record": record}, [*arrays, *gate])
    flag = None if valid is None else torch.from_numpy(valid)
    recorded = lif_record(*map(torch.from_numpy, arrays), rule, valid=flag, record=record)
    for got in (naive, [t.numpy() for t in recorded]):
        np.testing.assert_array_equal(got[0], spikes)
        np.testing.assert_allclose(got[1], state, atol=2e-6)
        np.testing.assert_allclose(got[2], membrane, atol=2e-6)


def test_only_known_records() -> None:
    x, params, state = (torch.from_numpy(a) for a in lif_operands(LifRule(), 3))
    with pytest.raises(ValueError, match="record must be one of"):
        lif_record(x, params, state, record="during")


def test_settling_cannot_be_delayed() -> None:
    with pytest.raises(ValueError, match="delayed must be False"):
        LifRule(reset="settle", delayed=True)


@by_rule
def test_a_gate_leaves_out_steps(rule: LifRule) -> None:
    x, params, state = lif_operands(rule, 5)
    gated, last = lif_reference(x, params, state, VALID, rule)
    runs = VALID.astype(bool)
    dense, last_dense = lif_reference(x[:, runs], params, state, None, rule)
    np.testing.assert_array_equal(gated[:, runs], dense)
    assert not gated[:, ~runs].any()
    np.testing.assert_array_equal(last, last_dense)


@by_rule
def test_a_sequence_in_two_parts_is_the_same_sequence(rule: LifRule) -> None:
    x, params, state = (torch.from_numpy(a) for a in lif_operands(rule, 6))
    whole, last = lif(x, params, state, rule)
    first, middle = lif(x[:, :4], params, state, rule)
    second, last_of_two = lif(x[:, 4:], params, middle, rule)
    assert torch.equal(whole, torch.cat([first, second], dim=1))
    assert torch.equal(last, last_of_two)


def test_worked_example() -> None:
    # v: 0 → 0.75 → 1.125 fires, back to 0 → 0.75; threshold 1 is reached exactly by x = 2 from 0
    x = np.array([1.5, 1.5, 1.5, -0.75, 2.0], np.float32).reshape(1, 5, 1)
    params = pack_params(1).numpy()
    spikes, state = lif_reference(x, params, np.zeros((1, 1, 1), np.float32))
    assert spikes.ravel().tolist() == [0, 1, 0, 0, 1]
    assert state.item() == 0.0
    strict, state = lif_reference(
        np.full((1, 1, 1), 2, np.float32), params, np.zeros((1, 1, 1)), rule=LifRule(strict=True)
    )
    assert (strict.item(), state.item()) == (0, 1.0)  # 1 > 1 is false


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_leaky_is_snntorchs(reset: str) -> None:
    x = torch.randn(12, 3, 8, generator=torch.Generator().manual_seed(0)) * 1.5
    neuron = snntorch.Leaky(beta=0.8, threshold=0.75, reset_mechanism=reset)
    membrane, expected = neuron.reset_mem(), []
    for current in x:
        spike, membrane = neuron(current, membrane)
        expected.append(spike)
    params = pack_params(8, decay=0.8, threshold=0.75)
    # Leaky (unlike Synaptic) zeroes the old potential only, not the step's input: that is a reset
    # which happens at once, though the potential that it reports is the one before
    rule = LifRule("leak", reset, delayed=reset == "subtract", strict=True)
    spikes, state = lif(x.transpose(0, 1).contiguous(), params, torch.zeros(3, 1, 8), rule)
    assert torch.equal(spikes.transpose(0, 1).float(), torch.stack(expected))
    after = membrane * (1 - expected[-1]) if reset == "zero" else membrane
    torch.testing.assert_close(state[:, 0], after)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_synaptic_is_snntorchs(reset: str) -> None:
    x = torch.randn(12, 3, 8, generator=torch.Generator().manual_seed(1))
    neuron = snntorch.Synaptic(alpha=0.6, beta=0.8, threshold=0.75, reset_mechanism=reset)
    current, membrane = neuron.reset_mem()
    expected = []
    for drive in x:
        spike, current, membrane = neuron(drive, current, membrane)
        expected.append(spike)
    params = pack_params(8, decay=0.8, threshold=0.75, synapse=0.6)
    rule = LifRule("leak", reset, delayed=True, strict=True, synaptic=True)
    spikes, state = lif(x.transpose(0, 1).contiguous(), params, torch.zeros(3, 2, 8), rule)
    assert torch.equal(spikes.transpose(0, 1).float(), torch.stack(expected))
    torch.testing.assert_close(state, torch.stack([membrane, current], dim=1))


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_settle_is_snntorchs_subtraction_without_delay(scale: float) -> None:
    # currents beyond twice the threshold leave potentials beyond it, which is where it matters
    x = scale * torch.randn(40, 3, 8, generator=torch.Generator().manual_seed(2))
    neuron = snntorch.Leaky(beta=0.8, threshold=0.5, reset_delay=False)
    membrane, spikes, membranes = neuron.reset_mem(), [], []
    for current in x:
        spike, membrane = neuron(current, membrane)
        spikes.append(spike)
        membranes.append(membrane)
    params = pack_params(8, decay=0.8, threshold=0.5)
    rule = LifRule("leak", "settle", strict=True)
    batch_first = x.transpose(0, 1).contiguous()
    got, _, recorded = lif_record(batch_first, params, torch.zeros(3, 1, 8), rule)
    assert torch.equal(got.transpose(0, 1).float(), torch.stack(spikes))
    assert torch.equal(recorded.transpose(0, 1), torch.stack(membranes))


class SurrogateSpike(torch.autograd.Function):
    """Heaviside forwards, derivative of sigmoid(4 v) backwards."""

    @staticmethod
    def forward(ctx, v: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(v)
        return (v >= 0).to(v.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        (v,) = ctx.saved_tensors
        s = torch.sigmoid(4 * v)
        return grad * 4 * s * (1 - s)


def plain_lif(x: Tensor, params: Tensor, state: Tensor, reset_kind: str) -> tuple[Tensor, Tensor]:
    """The neuron in ordinary differentiable operations, with detached reset."""
    scale, shift, decay, threshold, reset, _ = params
    v, spikes = state[:, 0], []
    for t in range(x.shape[1]):
        u = v + (x[:, t] * scale + shift - v) * decay
        s = SurrogateSpike.apply(u - threshold)
        spikes.append(s)
        v = u if reset_kind == "none" else u * (1 - s.detach()) + reset * s.detach()
    return torch.stack(spikes, dim=1), v.unsqueeze(1)


@pytest.mark.parametrize("reset", ["zero", "none"])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_gradient_is_that_of_the_surrogate(reset: str, steps: int) -> None:
    rule = LifRule(reset=reset)
    arrays = lif_operands(rule, 7, steps=steps)
    weights = torch.randn(2, steps, 7, dtype=torch.float64)
    last_weights = torch.randn(2, 1, 7, dtype=torch.float64)

    def gradients(run: Callable[..., tuple[Tensor, Tensor]]) -> list[Tensor]:
        leaves = [torch.from_numpy(a).double().requires_grad_() for a in arrays]
        spikes, state = run(*leaves)
        ((spikes * weights).sum() + (state * last_weights).sum()).backward()
        return [leaf.grad for leaf in leaves if leaf.grad is not None]

    mine = gradients(lambda *a: lif(*a, rule, dtype=torch.float64))
    plain = gradients(lambda *a: plain_lif(*a, reset))
    torch.testing.assert_close(mine[0], plain[0])
    torch.testing.assert_close(mine[1][:2], plain[1][:2])  # scale and shift: what batch norm trains
    torch.testing.assert_close(mine[2], plain[2])


@pytest.mark.parametrize(
    "rule",
    [
        LifRule("leak"),
        LifRule(delayed=True),
        LifRule(synaptic=True),
        LifRule(reset="subtract"),
        LifRule(reset="settle"),
    ],
)
def test_neurons_without_gradient_say_so(rule: LifRule) -> None:
    x, params, state = (torch.from_numpy(a) for a in lif_operands(rule, 3))
    spikes, _ = lif(x.requires_grad_(), params, state, rule, dtype=torch.float32)
    with pytest.raises(RuntimeError, match="has no gradient for"):
        spikes.sum().backward()


def test_a_gated_step_has_no_gradient() -> None:
    rule = LifRule()
    x, params, state = (torch.from_numpy(a) for a in lif_operands(rule, 3))
    gate = torch.from_numpy(VALID)
    spikes, _ = lif(x.requires_grad_(), params, state, rule, valid=gate, dtype=torch.float32)
    with pytest.raises(RuntimeError, match="gated"):
        spikes.sum().backward()


@by_rule
def test_torch_accepts_the_operator(rule: LifRule) -> None:
    x, params, state = (torch.from_numpy(a) for a in lif_operands(rule, 3))
    attrs = lif_attrs(rule).values()
    torch.library.opcheck(lif_op, (x, params, state, None, *attrs))
    torch.library.opcheck(lif_op, (x, params, state, torch.from_numpy(VALID), *attrs))
    torch.library.opcheck(lif_record_op, (x, params, state, None, *attrs, "before"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_double_precision(dtype: torch.dtype) -> None:
    rule = LifRule()
    x, params, state = (torch.from_numpy(a).double() for a in lif_operands(rule, 9))
    spikes, last = lif(x, params, state, rule, dtype=dtype)
    assert (spikes.dtype, last.dtype) == (dtype, torch.float64)
    expected, _ = lif_reference(x.numpy(), params.numpy(), state.numpy())
    np.testing.assert_array_equal(spikes.numpy(), expected)


@pytest.mark.parametrize(("field", "value"), [("charge", "fast"), ("reset", "never")])
def test_rules_are_checked(field: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be one of"):
        LifRule(**{field: value})


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 3),
    steps=st.integers(1, 12),
    channels=st.integers(1, 5),
    rule=st.sampled_from(list(LIF_RULES.values())),
)
def test_torch_is_the_reference(
    seed: int, batch: int, steps: int, channels: int, rule: LifRule
) -> None:
    """In float64, where rounding next to a threshold is out of the question."""
    arrays = [
        a.astype(np.float64)
        for a in lif_operands(rule, channels, batch=batch, steps=steps, seed=seed)
    ]
    spikes, state = lif_reference(*arrays, rule=rule)
    got, last = lif(*map(torch.from_numpy, arrays), rule)
    np.testing.assert_array_equal(got.numpy(), spikes)
    np.testing.assert_allclose(last.numpy(), state, atol=1e-6)
