"""The LMU cell: memory of one scalar channel, and the hidden state read from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule.converters.lmuformer.layers import BatchNorm, Lif, SpikeLinear
from millijoule.converters.ops import lmu_memory, lmu_step
from millijoule.converters.ops.lmu_memory import impulse_response, legendre_delay
from millijoule.converters.stream import Stream, Temporal


class LegendreMemory(Temporal):
    """Buffers A, B, H of the memory, under the authors' names, and its two forms of evaluation."""

    def __init__(self, order: int, theta: float, seq_len: int) -> None:
        super().__init__()
        self.order, self.theta, self.seq_len = order, theta, seq_len
        a, b = (torch.from_numpy(m).float() for m in legendre_delay(order, theta))
        h = torch.from_numpy(impulse_response(a.numpy(), b.numpy(), seq_len))
        self.register_buffer("A", a)
        self.register_buffer("B", b[:, None])
        self.register_buffer("H", h.T.contiguous())

    def remember(self, u: Tensor, stream: Stream | None) -> Tensor:
        """u [B, N] → m [B, N, M]."""
        if stream is None:
            return lmu_memory(u, self.H.T)
        batch = u.shape[0]
        names = [f"{self.path}.{name}" for name in ("history", "m", "t")]
        history = stream.read(names[0], (batch, self.seq_len), u.dtype)
        m = stream.read(names[1], (batch, self.order), torch.float32)
        t = stream.read(names[2], (1,), torch.int32)
        out, *states = lmu_step(u, self.H.T, self.A.T, self.B[:, 0], history, m, t, stream.valid)
        for name, state in zip(names, states, strict=True):
            stream.write(name, state)
        return out


class PlainCell(LegendreMemory):
    """u = ReLU(W_u x); h = ReLU(W_h [m; x])."""

    def __init__(self, inputs: int, hidden: int, order: int, theta: float, seq_len: int) -> None:
        super().__init__(order, theta, seq_len)
        self.W_u = nn.Linear(inputs, 1)
        self.W_h = nn.Linear(order + inputs, hidden)

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, inputs] → [B, N, hidden]."""
        u = F.relu(self.W_u(x)).squeeze(-1)
        return F.relu(self.read_out(u, x, stream))

    def read_out(self, u: Tensor, x: Tensor, stream: Stream | None) -> Tensor:
        """W_h [m; x] + b. A whole sequence folds W_h into the impulse response: m never exists."""
        if stream is not None or self.training:
            return self.W_h(torch.cat([self.remember(u, stream), x], dim=-1))
        from_memory = self.H.T @ self.W_h.weight[:, : self.order].T
        return lmu_memory(u, from_memory) + F.linear(
            x, self.W_h.weight[:, self.order :], self.W_h.bias
        )


class SpikingCell(LegendreMemory):
    """u, m and h spike behind batch norms; every linear layer sees spikes."""

    def __init__(
        self, inputs: int, hidden: int, order: int, theta: float, seq_len: int, spikes: str
    ) -> None:
        super().__init__(order, theta, seq_len)
        self.W_u = SpikeLinear(inputs, 1, spikes)
        self.bn_u, self.f_u = BatchNorm(1), Lif()
        self.bn_m, self.f_m = BatchNorm(order), Lif()
        self.W_h = SpikeLinear(order + inputs, hidden, spikes)
        self.bn_h, self.f_h = BatchNorm(hidden), Lif()

    def forward(self, s: Tensor, stream: Stream | None = None) -> Tensor:
        """Spikes [B, N, inputs] → spikes [B, N, hidden]."""
        u = self.f_u(self.W_u(s), self.bn_u, stream).squeeze(-1)
        m = self.f_m(self.remember(u, stream), self.bn_m, stream)
        return self.f_h(self.W_h(torch.cat([m, s], dim=-1)), self.bn_h, stream)


class PixelCell(PlainCell):
    """psMNIST's spiking cell: no batch norm, u and h spike, memory and input stay real."""

    def __init__(self, inputs: int, hidden: int, order: int, theta: float, seq_len: int) -> None:
        super().__init__(inputs, hidden, order, theta, seq_len)
        self.f_u, self.f_h = Lif(), Lif()

    def forward(self, x: Tensor, stream: Stream | None = None) -> Tensor:
        """[B, N, inputs] → spikes [B, N, hidden]."""
        u = self.f_u(self.W_u(x), None, stream).squeeze(-1)
        return self.f_h(self.read_out(u, x, stream), None, stream)
