"""torch forms: ``mj::lmu_memory`` (differentiable) and ``mj::lmu_step`` (inference)."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("mj::lmu_memory", mutates_args=())
def lmu_memory_op(u: Tensor, impulse: Tensor) -> Tensor:
    """m [B, N, M]: causal convolution of u [B, N] with impulse [L, M], by FFT."""
    steps = u.shape[1]
    if steps > impulse.shape[0]:
        raise RuntimeError(
            f"[lmu_memory] a sequence may have at most {impulse.shape[0]} steps, but has {steps}"
        )
    n = 2 * steps
    spectrum = torch.fft.rfft(u.to(impulse.dtype), n=n)[:, :, None]
    spectrum = spectrum * torch.fft.rfft(impulse[:steps], n=n, dim=0)[None]
    return torch.fft.irfft(spectrum, n=n, dim=1)[:, :steps].contiguous()


@lmu_memory_op.register_fake
def _(u, impulse):  # type: ignore[no-untyped-def]
    return impulse.new_empty((*u.shape, impulse.shape[1]))


def _setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(inputs[1])


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    # grad_u[s] = Σ_t H[t−s]·grad[t]: a correlation, i.e. the same convolution backwards in time
    (impulse,) = ctx.saved_tensors
    steps = grad.shape[1]
    n = 2 * steps
    flipped = torch.fft.rfft(grad.flip(1), n=n, dim=1)
    kernel = torch.fft.rfft(impulse[:steps], n=n, dim=0)[None]
    grad_u = torch.fft.irfft((flipped * kernel).sum(-1), n=n)[:, :steps].flip(1)
    return grad_u, None


lmu_memory_op.register_autograd(_backward, setup_context=_setup)


@torch.library.custom_op("mj::lmu_step", mutates_args=())
def lmu_step_op(
    u: Tensor,
    impulse: Tensor,
    a_transposed: Tensor,
    b: Tensor,
    history: Tensor,
    m: Tensor,
    t: Tensor,
    valid: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step of a stream; see the package docstring."""
    if not int(valid[0]):
        return m[:, None].clone(), history.clone(), m.clone(), t.clone()
    now = int(t[0])
    history = history.clone()
    if now < impulse.shape[0]:
        history[:, now] = u[:, 0]
        new = history[:, : now + 1].to(m.dtype) @ impulse[: now + 1].flip(0)
    else:
        new = m @ a_transposed + u.to(m.dtype) * b
    return new[:, None].clone(), history, new, t + 1


@lmu_step_op.register_fake
def _(u, impulse, a_transposed, b, history, m, t, valid):  # type: ignore[no-untyped-def]
    return m.new_empty((m.shape[0], 1, m.shape[1])), history.clone(), m.clone(), t.clone()


def lmu_memory(u: Tensor, impulse: Tensor) -> Tensor:
    """Memory of a sequence: u [B, N] (uint8 spikes or float32), impulse [L, M] → [B, N, M]."""
    return lmu_memory_op(u, impulse)


def lmu_step(
    u: Tensor,
    impulse: Tensor,
    a_transposed: Tensor,
    b: Tensor,
    history: Tensor,
    m: Tensor,
    t: Tensor,
    valid: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Memory of one step of a stream; returns (m [B, 1, M], history', m', t')."""
    return lmu_step_op(u, impulse, a_transposed, b, history, m, t, valid)
