"""Operators that are no product, each alone, against torch eager on tensors of real transformers.

A bundle holds one operator; its kernels are timed by the runtime's own clock, torch by the call.
Tensors are those of ViT-B at 224 (197 × 768), BERT-base (128 × 768) and ConvNet stages (56 × 56).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from millijoule import Session
from millijoule.executors import aligned_empty
from millijoule.targets import build
from mjbench import models
from mjbench.cases.kernels import CALLS, WARMUP, kernel_block, module_model
from mjbench.checks import require_close
from mjbench.measure import Contender, interleave, ratio
from mjbench.result import CaseResult, Goal, Settings

BOUND = 0.8  # of torch's speed, at least
_VIT, _HEADS, _MAP, _HIDDEN = (1, 197, 768), (12, 197, 197), (1, 56, 56, 96), (1, 197, 3072)


@dataclass(frozen=True)
class Operator:
    """An operator of one tensor."""

    name: str
    apply: Callable[[Tensor], Tensor]
    shape: tuple[int, ...] = _VIT


def _windows(x: Tensor) -> Tensor:
    return x.reshape(1, 8, 7, 8, 7, 96).permute(0, 1, 3, 2, 4, 5).reshape(64, 49, 96).contiguous()


OPERATORS = (
    Operator("layer_norm", lambda x: F.layer_norm(x, (768,))),
    Operator("x + x, layer_norm", lambda x: F.layer_norm(x + x, (768,))),
    Operator("softmax", lambda x: torch.softmax(x, -1), _HEADS),
    Operator("softmax, first axis", lambda x: torch.softmax(x, 0), _HEADS),
    Operator("log_softmax", lambda x: torch.log_softmax(x, -1), _HEADS),
    Operator("gelu", F.gelu, _HIDDEN),
    Operator("gelu, tanh form", lambda x: F.gelu(x, approximate="tanh"), _HIDDEN),
    Operator("silu", F.silu, _HIDDEN),
    Operator("exp", torch.exp),
    Operator("tanh", torch.tanh),
    Operator("softplus", F.softplus),
    Operator("add a row", lambda x: x + x[:, :1]),
    Operator("where", lambda x: torch.where(x > 0.5, x, -1.0)),
    Operator("mean, last axis", lambda x: x.mean(-1)),
    Operator("mean, tokens", lambda x: x.mean(1)),
    Operator("sum", torch.sum),
    Operator("transpose", lambda x: x.transpose(1, 2).contiguous()),
    Operator("heads", lambda x: x.reshape(1, 197, 12, 64).transpose(1, 2).contiguous()),
    Operator("windows", _windows, _MAP),
    Operator("roll", lambda x: torch.roll(x, (-3, -3), (1, 2)), _MAP),
    Operator("pad", lambda x: F.pad(x, (0, 0, 1, 1, 1, 1)), _MAP),
    Operator("gather rows", lambda x: x[:, torch.arange(196, -1, -1)]),
    Operator("cumsum", lambda x: x.cumsum(-1)),
    Operator("concat", lambda x: torch.cat([x[:, :1], x], 1)),
)


class _Module(nn.Module):
    def __init__(self, apply: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._apply_to = apply

    def forward(self, s: Tensor) -> Tensor:
        return self._apply_to(s)


def run_operators(settings: Settings) -> CaseResult:
    """Time every operator in both."""
    contenders: list[Contender] = []
    sessions: list[Session] = []
    generator = torch.Generator().manual_seed(5)
    for operator in OPERATORS:
        x = torch.randn(operator.shape, generator=generator)
        module = _Module(operator.apply).eval()
        out = settings.work / f"operator-{len(sessions)}.mjb"
        build(module_model("operator", module, x), "host", out).close()
        sessions.append(models.load(out))
        pattern = aligned_empty(operator.shape, "float32")
        pattern[...] = x.numpy()
        with torch.no_grad():
            expected = module(x).numpy()
        require_close(operator.name, sessions[-1].run({"s": pattern})["y"], np.asarray(expected))
        contenders.append(Contender(operator.name, kernel_block(sessions[-1], [pattern])))
        contenders.append(Contender(f"{operator.name} torch", _torch_block(module, x)))
    timings = interleave(
        contenders, settings.rounds, lambda n: settings.progress(n, settings.rounds)
    )
    for session in sessions:
        session.close()
    ratios = [ratio(timings[f"{o.name} torch"], timings[o.name]) for o in OPERATORS]
    slowest = min(timings[f"{o.name} torch"].best_us / timings[o.name].best_us for o in OPERATORS)
    return CaseResult(
        name="operators",
        title="Operators alone, 1 thread",
        timings=timings,
        ratios=ratios,
        goals=[Goal("the slowest operator's speed, torch's being 1", slowest, BOUND)],
    )


def _torch_block(module: nn.Module, x: Tensor) -> Any:
    def block() -> list[int]:
        times = []
        with torch.no_grad():
            for call in range(WARMUP + CALLS):
                start = time.perf_counter_ns()
                module(x)
                if call >= WARMUP:
                    times.append(time.perf_counter_ns() - start)
        return times

    return block
