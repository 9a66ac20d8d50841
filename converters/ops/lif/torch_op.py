"""torch form of ``lif``: ``mj::lif`` with fake kernel and surrogate gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from millijoule.converters.ops.lif.rule import RECORDS, LifRule

SURROGATE_ALPHA = 4.0  # slope of the sigmoid surrogate, as LMUFormer trains with


def pack_params(
    channels: int,
    *,
    scale: Tensor | float = 1.0,
    shift: Tensor | float = 0.0,
    decay: Tensor | float = 0.5,
    threshold: Tensor | float = 1.0,
    reset: Tensor | float = 0.0,
    synapse: Tensor | float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Stack the six parameter rows, each a scalar or a [C] tensor, into [6, C]."""
    rows = [scale, shift, decay, threshold, reset, synapse]
    return torch.stack(
        [
            row.to(dtype).reshape(-1).expand(channels)
            if isinstance(row, Tensor)
            else torch.full((channels,), float(row), dtype=dtype)
            for row in rows
        ]
    )


def _fires(u: Tensor, threshold: Tensor, rule: LifRule) -> Tensor:
    return u > threshold if rule.strict else u >= threshold


def _scan(
    x: Tensor, params: Tensor, state: Tensor, valid: Tensor | None, rule: LifRule
) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]:
    """Run the recurrence: potentials before and after the immediate reset, spikes, state."""
    scale, shift, decay, threshold, reset, synapse = params
    v = state[:, 0]
    current = state[:, 1] if rule.synaptic else None
    potentials, kept, spikes = [], [], []
    for t in range(x.shape[1]):
        before_v, before_current = v, current
        z = torch.addcmul(shift, x[:, t], scale)
        if current is not None:
            current = synapse * current + z
            z = current
        u = v + (z - v) * decay if rule.charge == "blend" else decay * v + z
        fired = _fires(v, threshold, rule)
        if rule.looks_back:
            u = u.masked_fill(fired, 0.0) if rule.reset == "zero" else u - fired * threshold
        s = _fires(u, threshold, rule)
        potentials.append(u)
        if rule.delayed or rule.reset == "none":
            v = u
        elif rule.reset == "zero":
            v = torch.where(s, reset, u)
        elif rule.reset == "settle":
            v = u - (s.to(u.dtype) - fired.to(u.dtype)) * threshold
        else:
            v = u - s * threshold
        if valid is not None:
            runs = valid[t] != 0
            s = s & runs
            v = torch.where(runs, v, before_v)
            if current is not None and before_current is not None:
                current = torch.where(runs, current, before_current)
        spikes.append(s)
        kept.append(v)
    rows = [v] if current is None else [v, current]
    return potentials, kept, spikes, torch.stack(rows, dim=1)


@torch.library.custom_op("mj::lif", mutates_args=())
def lif_op(
    x: Tensor,
    params: Tensor,
    state: Tensor,
    valid: Tensor | None,
    charge: str,
    reset: str,
    delayed: bool,
    strict: bool,
    synaptic: bool,
    dtype: str,
) -> tuple[Tensor, Tensor]:
    """Eager reference; see `millijoule.converters.ops.lif` for operands and equations."""
    rule = LifRule(charge, reset, delayed, strict, synaptic)
    _, _, spikes, last = _scan(x, params, state, valid, rule)
    return torch.stack(spikes, dim=1).to(getattr(torch, dtype)), last


@lif_op.register_fake
def _(x, params, state, valid, charge, reset, delayed, strict, synaptic, dtype):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape, dtype=getattr(torch, dtype)), torch.empty_like(state)


def _setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    x, params, state, valid, charge, reset, delayed, strict, synaptic, _ = inputs
    ctx.save_for_backward(x, params, state)
    ctx.rule = LifRule(charge, reset, delayed, strict, synaptic)
    ctx.gated = valid is not None


def _backward(ctx, grad_spikes, grad_state):  # type: ignore[no-untyped-def]
    """Back-propagation through time with the sigmoid surrogate; the reset is detached.

    Of the parameters, scale and shift learn; decay, threshold and reset are constants (gradient 0).

    Defined for the neurons that this project trains: blend charge, immediate reset to a constant or
    none, no synapse, no gate. Others raise: train them in their own framework and convert.
    """
    rule: LifRule = ctx.rule
    trained = rule.charge == "blend" and rule.reset in ("zero", "none")
    if not trained or rule.delayed or rule.synaptic:
        raise RuntimeError(f"mj::lif has no gradient for {rule}; train this neuron in snnTorch")
    if ctx.gated:
        raise RuntimeError("mj::lif has no gradient through a streaming (gated) step")
    x, params, state = ctx.saved_tensors
    scale, _, decay, threshold, *_ = params
    with torch.no_grad():
        potentials, _, spikes, _ = _scan(x, params, state, None, rule)
        u = torch.stack(potentials, dim=1)
        fired = torch.stack(spikes, dim=1)
        sigmoid = torch.sigmoid(SURROGATE_ALPHA * (u - threshold))
        through_spike = grad_spikes * SURROGATE_ALPHA * sigmoid * (1 - sigmoid)
        keep = (1 - decay) * (~fired if rule.reset == "zero" else torch.ones_like(fired))
        carry = grad_state[:, 0] * (~fired[:, -1] if rule.reset == "zero" else 1.0)
        grad_u = torch.empty_like(x)
        for t in reversed(range(x.shape[1])):
            # carry holds d loss / d u[t] through the next step's charge
            grad_u[:, t] = through_spike[:, t] + carry
            if t:
                carry = grad_u[:, t] * keep[:, t - 1]
        grad_z = grad_u * decay
        grad_params = torch.zeros_like(params)
        grad_params[0] = (grad_z * x).sum((0, 1))
        grad_params[1] = grad_z.sum((0, 1))
        grad_v0 = (grad_u[:, 0] * (1 - decay)).unsqueeze(1)
    return grad_z * scale, grad_params, grad_v0, *([None] * 7)


lif_op.register_autograd(_backward, setup_context=_setup)


@torch.library.custom_op("mj::lif_record", mutates_args=())
def lif_record_op(
    x: Tensor,
    params: Tensor,
    state: Tensor,
    valid: Tensor | None,
    charge: str,
    reset: str,
    delayed: bool,
    strict: bool,
    synaptic: bool,
    dtype: str,
    record: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Eager reference of ``lif_record``; it has no gradient."""
    rule = LifRule(charge, reset, delayed, strict, synaptic)
    before, after, spikes, last = _scan(x, params, state, valid, rule)
    if valid is not None:  # a step that does not happen has no potential before a reset
        before = [torch.where(g != 0, u, v) for g, u, v in zip(valid, before, after, strict=True)]
    membrane = torch.stack(before if record == "before" else after, dim=1)
    return torch.stack(spikes, dim=1).to(getattr(torch, dtype)), last, membrane


@lif_record_op.register_fake
def _(x, params, state, valid, charge, reset, delayed, strict, synaptic, dtype, record):  # type: ignore[no-untyped-def]
    spikes = x.new_empty(x.shape, dtype=getattr(torch, dtype))
    return spikes, torch.empty_like(state), x.new_empty(x.shape)


def lif(
    x: Tensor,
    params: Tensor,
    state: Tensor,
    rule: LifRule = LifRule(),  # noqa: B008 - frozen dataclass
    *,
    valid: Tensor | None = None,
    dtype: torch.dtype = torch.uint8,
) -> tuple[Tensor, Tensor]:
    """Scan a layer of neurons over ``x [B, N, C]``; returns (spikes [B, N, C], state').

    ``dtype`` is the spikes' type: uint8 to deploy, float32 to train (integers carry no gradient).
    """
    return lif_op(
        x,
        params,
        state,
        valid,
        rule.charge,
        rule.reset,
        rule.delayed,
        rule.strict,
        rule.synaptic,
        str(dtype).removeprefix("torch."),
    )


def lif_record(
    x: Tensor,
    params: Tensor,
    state: Tensor,
    rule: LifRule = LifRule(),  # noqa: B008 - frozen dataclass
    *,
    valid: Tensor | None = None,
    record: str = "after",
) -> tuple[Tensor, Tensor, Tensor]:
    """`lif` that also returns the potentials of every step: (spikes, state', membrane [B, N, C]).

    ``record``: "before" or "after" the immediate reset.
    """
    if record not in RECORDS:
        raise ValueError(f"record must be one of {RECORDS}, but is {record!r}")
    rules = (rule.charge, rule.reset, rule.delayed, rule.strict, rule.synaptic)
    return lif_record_op(x, params, state, valid, *rules, "uint8", record)
