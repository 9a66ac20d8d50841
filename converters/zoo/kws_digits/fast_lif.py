"""LIF layers as one C loop, for training: the scan in torch launches several kernels per time step.

Same equations as ``mj::lif`` with the rule that LMUFormer uses: blend charge with decay 1/2, reset
to zero (detached), sigmoid surrogate with slope 4. Spikes differ only where rounding decides.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from millijoule.converters.lmuformer.layers import BatchNorm, Lif

_SOURCE = """
#include <math.h>
#include <string.h>
void lif_forward(const float *restrict x, float *restrict u, float *restrict s, long b, long n,
                 long c, float threshold) {
  float before[c];
  for (long i = 0; i < b; ++i) {
    memset(before, 0, sizeof before);
    for (long t = 0; t < n; ++t) {
      const long row = (i * n + t) * c;
      for (long k = 0; k < c; ++k) {
        const float now = before[k] + (x[row + k] - before[k]) * 0.5f;
        u[row + k] = now;
        s[row + k] = now >= threshold ? 1.0f : 0.0f;
        before[k] = now < threshold ? now : 0.0f;
      }
    }
  }
}
void lif_backward(const float *restrict g, const float *restrict u, float *restrict gx, long b,
                  long n, long c, float threshold) {
  float after[c];
  for (long i = 0; i < b; ++i) {
    memset(after, 0, sizeof after);
    for (long t = n - 1; t >= 0; --t) {
      const long row = (i * n + t) * c;
      for (long k = 0; k < c; ++k) {
        const float kept = u[row + k] < threshold ? after[k] : 0.0f;
        const float y = 1.0f / (1.0f + expf(fminf(30.0f, -4.0f * (u[row + k] - threshold))));
        after[k] = gx[row + k] = 0.5f * (g[row + k] * 4.0f * y * (1.0f - y) + kept);
      }
    }
  }
}
"""


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        source, part, library = (Path(folder, f"lif.{kind}") for kind in ("c", "o", "so"))
        source.write_text(_SOURCE)
        flags = ["-O3", "-march=native", "-ffast-math", "-fPIC"]
        subprocess.run(["cc", *flags, "-c", "-o", str(part), str(source)], check=True)
        # linked without -ffast-math, with which loading would round subnormals to zero everywhere
        subprocess.run(["cc", "-shared", "-o", str(library), str(part), "-lm"], check=True)
        return ctypes.CDLL(str(library))


def _call(name: str, first: Tensor, second: Tensor, third: Tensor, threshold: float) -> None:
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in (first, second, third)]
    sizes = [ctypes.c_long(size) for size in first.shape]
    getattr(_library(), name)(*pointers, *sizes, ctypes.c_float(threshold))


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: float) -> Tensor:
        x = x.contiguous()
        u, s = torch.empty_like(x), torch.empty_like(x)
        _call("lif_forward", x, u, s, threshold)
        ctx.save_for_backward(u)
        ctx.threshold = threshold
        return s

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        grad_x = torch.empty_like(u)
        _call("lif_backward", grad.contiguous(), u, grad_x, ctx.threshold)
        return grad_x, None


class FastLif(nn.Module):
    """Stands in for :class:`Lif` while training; holds no parameters, as it."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor, bn: BatchNorm | None = None, stream: None = None) -> Tensor:
        """float32 ``[B, N, C]`` currents to float32 ``[B, N, C]`` spikes."""
        return _Scan.apply(x if bn is None else bn(x), self.threshold)


def use_fast_lif(model: nn.Module) -> nn.Module:
    """Replace every LIF layer of a model in place; its state_dict stays as it was."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Lif):
                setattr(parent, name, FastLif(child.threshold))
    return model
