"""Operators that CPUs have kernels for, on a GPU: by kernels of ours or TVM's rules, and right."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import millijoule as mj
from fixtures.graphs import model_of, normal
from millijoule.verification import verify


def _everything(x: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
    """[5, 17, 12] and [5, 17]: orders, running sums, scatters, pools, softmax, unit products."""
    values, order = torch.topk(scores, 3)
    scattered = torch.zeros(5, 17).scatter_add(1, order, values)
    image = x.reshape(1, 5, 17, 12)
    thin = scores[..., None] @ scores[:, None, :1] + 1  # a sum of one product, and what follows
    return (
        values,
        order,
        torch.argsort(scores, descending=True),
        torch.cumsum(x, 1),
        scattered,
        torch.nn.functional.max_pool2d(image, 2),
        torch.nn.functional.interpolate(image, scale_factor=2.0),
        torch.softmax(x, 1),
        torch.nn.functional.gelu(torch.cat([x, thin], -1)),
    )


def test_operators(tmp_path: Path) -> None:
    """Floats to the model's tolerance, indices exactly."""
    model = model_of(_everything, normal(5, 17, 12), normal(5, 17, seed=1))
    mj.build(model, "jetson-orin", tmp_path / "o.mjb").close()
    with mj.load(tmp_path / "o.mjb", device="cuda-emulator") as session:
        checks = verify(session)
    assert len(checks) == 9
    assert [check.name for check in checks if not check.passed] == []
