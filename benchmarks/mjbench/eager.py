"""Torch eager peers, written the way one would by hand for speed: batch norms folded, no hooks.

`millijoule.converters` defines modules to be exported; run eagerly they fold weights again on every
call. Measuring only them would flatter us, so these peers stand beside them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _windowed(weight: Tensor) -> Tensor:
    """Convolution weight [O, I, 3] as a matrix [3·I, O] for a flattened window of three steps."""
    return weight.permute(2, 1, 0).reshape(-1, weight.shape[0]).contiguous()


class SpikingStep:
    """One step of spiking-ms (batch 1), dense float arithmetic; memory in its FIR form."""

    def __init__(self, module: Any) -> None:
        embed, block = module.patch_embed, module.block[0]
        self.convs = [
            (
                _windowed(embed.get_submodule(f"proj_conv{s}").weight),
                *embed.get_submodule(f"proj_bn{s}").folded(),
            )
            for s in ("", "1", "2", "3")
        ]
        self.rpe = _windowed(embed.rpe_conv.weight)
        attn, mlp = block.attn, block.mlp
        lmu = attn.lmu
        self.prev, self.bn_u = attn.prev_bn.folded(), lmu.bn_u.folded()
        self.bn_m, self.bn_h = lmu.bn_m.folded(), lmu.bn_h.folded()
        self.fc1_bn, self.fc2_bn = mlp.fc1_bn.folded(), mlp.fc2_bn.folded()
        self.head_bn = module.head_bn.folded()
        scale, shift = attn.proj_bn.folded()
        proj = attn.proj_conv
        self.proj = (
            (proj.weight[:, :, 0] * scale[:, None]).T.contiguous(),
            proj.bias * scale + shift,
        )
        self.w_u, self.w_h, self.head = map(_affine, (lmu.W_u, lmu.W_h, module.head))
        self.fc1, self.fc2 = map(_affine, (mlp.fc1_conv, mlp.fc2_conv))
        self.reversed_h = lmu.H.T.flip(0).contiguous()
        self.seq_len = module.seq_len
        self.reset()

    def reset(self) -> None:
        """Back to the initial states."""
        self.windows = [torch.zeros(1, w.shape[0]) for w in (*(c[0] for c in self.convs), self.rpe)]
        self.v: dict[str, Any] = {}
        self.history = torch.zeros(1, self.seq_len)
        self.total = torch.zeros(1)
        self.residual = torch.zeros(1)
        self.now = 0

    def _lif(self, name: str, x: Tensor, bn: tuple[Tensor, Tensor], threshold: float = 1) -> Tensor:
        v = self.v.get(name, 0.0)
        v = v + (torch.addcmul(bn[1], x, bn[0]) - v) * 0.5
        spikes = (v >= threshold).float()
        self.v[name] = v * (1 - spikes)
        return spikes

    def _window(self, index: int, x: Tensor) -> Tensor:
        self.windows[index] = torch.cat([self.windows[index][:, x.shape[1] :], x], dim=1)
        return self.windows[index]

    def step(self, x: Tensor) -> Tensor | None:
        """Frame [1, F] → prefix logits [1, C], None for the first five frames."""
        now = self.now
        self.now += 1
        for index, (weight, scale, shift) in enumerate(self.convs):
            window = self._window(index, x)
            if now <= index:  # this layer has not seen the frame after its first one
                return None
            y = window @ weight
            x = self._lif(f"conv{index}", y, (scale, shift))
        residual, self.residual = self.residual, y
        window = self._window(4, x)
        if now <= 4:
            return None
        return self._encoded(residual + window @ self.rpe, now - 5)

    def _encoded(self, x: Tensor, t: int) -> Tensor:
        s = self._lif("prev", x, self.prev, 0.5)
        u = self._lif("u", torch.addmm(self.w_u[1], s, self.w_u[0]), self.bn_u)
        self.history[:, t] = u[:, 0]
        memory = self.history[:, : t + 1] @ self.reversed_h[self.seq_len - 1 - t :]
        m = self._lif("m", memory, self.bn_m)
        h = torch.addmm(self.w_h[1], torch.cat([m, s], dim=1), self.w_h[0])
        x = x + torch.addmm(self.proj[1], self._lif("h", h, self.bn_h), self.proj[0])
        y = torch.addmm(self.fc1[1], self._lif("fc1", x, self.fc1_bn), self.fc1[0])
        x = x + torch.addmm(self.fc2[1], self._lif("fc2", y, self.fc2_bn), self.fc2[0])
        logits = torch.addmm(self.head[1], self._lif("head", x, self.head_bn), self.head[0])
        self.total = self.total + logits
        return self.total / (t + 1)


def _affine(layer: Any) -> tuple[Tensor, Tensor]:
    """(W [in, out], b) of a linear layer or a 1×1 convolution."""
    weight = layer.weight.reshape(layer.weight.shape[:2])
    return weight.T.contiguous(), layer.bias


class PlainSequence:
    """A whole sequence of the plain model, [1, N, F] → [1, C]; memory folded into W_h as a FIR."""

    def __init__(self, module: Any) -> None:
        embed, block = module.patch_embed, module.block[0]
        layers = [tuple(layer.children()) for layer in embed.conv_layers]
        self.convs = [
            (conv.weight, *(p[:, None].contiguous() for p in bn.folded())) for conv, bn in layers
        ]
        self.rpe = embed.rpe_conv.weight
        lmu = block.attn.lmu
        self.w_u = lmu.W_u
        order = lmu.order
        self.fir = (lmu.H.T @ lmu.W_h.weight[:, :order].T).flip(0).contiguous()
        self.w_x, self.b_h = lmu.W_h.weight[:, order:].contiguous(), lmu.W_h.bias
        self.proj = folded_linear(block.attn.proj_conv, block.attn.proj_bn)
        self.fc1 = folded_linear(block.mlp.fc1_conv, block.mlp.fc1_bn)
        self.fc2 = folded_linear(block.mlp.fc2_conv, block.mlp.fc2_bn)
        self.head, self.seq_len = module.head, module.seq_len

    def __call__(self, x: Tensor) -> Tensor:
        """[1, N, F] → logits [1, C]."""
        x = x.transpose(1, 2)
        for weight, scale, shift in self.convs:
            x = torch.addcmul(shift, F.relu(F.conv1d(x, weight, padding=1)), scale)
        x = (x + F.conv1d(x, self.rpe, padding=1))[0].T.contiguous()
        u = F.relu(self.w_u(x))[:, 0]
        past = F.pad(u, (self.seq_len - 1, 0)).unfold(0, self.seq_len, 1)
        h = F.relu(past @ self.fir + F.linear(x, self.w_x, self.b_h))
        x = x + F.linear(h, *self.proj)
        x = x + F.relu(F.linear(F.gelu(F.linear(x, *self.fc1)), *self.fc2))
        return self.head(x).mean(0, keepdim=True)


def folded_linear(conv: Any, bn: Any) -> tuple[Tensor, Tensor]:
    """(W [out, in], b) of a 1×1 convolution with the batch norm behind it."""
    scale, shift = bn.folded()
    return (conv.weight[:, :, 0] * scale[:, None]).contiguous(), conv.bias * scale + shift


class ModuleStep:
    """`millijoule.converters.stream.StreamStep` driven step by step."""

    def __init__(self, step: nn.Module) -> None:
        self._step: Any = step
        self._valid = torch.ones(1, dtype=torch.int32)
        self.reset()

    def reset(self) -> None:
        """Back to the initial states."""
        self._states = self._step.initial_states()

    def step(self, x: Tensor) -> Tensor:
        """Frame [1, F] → prefix logits [1, C] (zeros while the delay line fills)."""
        logits, *self._states = self._step(x, self._valid, *self._states)
        return logits
