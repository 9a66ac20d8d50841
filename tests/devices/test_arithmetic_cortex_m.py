"""64-bit numbers on microcontrollers: floats pass between LLVM's code and GCC's library.

Every operand comes from an input, so that nothing is computed when the model is built.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import millijoule as mj
from fixtures.devices import require

INTEGERS = torch.tensor([[0, 1, -5, 2**24 + 1, 2**40 + 12345, -(2**52) - 7, 2**62]])
FLOATS = torch.tensor([[0.0, -1.5, 3.75, 1e6, -(2.0**40), 2.0**62, 0.25]])


class Arithmetic(nn.Module):
    """Casts both ways, and double arithmetic with a comparison in between."""

    def forward(self, n: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[1, 7] int64 and float32 → float32, int64, float32."""
        wide, exact = x.to(torch.float64), n.to(torch.float64)
        mixed = torch.where(wide > exact, wide * exact, wide / (exact * exact + 1.0) - exact)
        return n.to(torch.float32), x.to(torch.int64), mixed.to(torch.float32)


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7"])
def test_64_bits_are_what_torch_computes(core: str, tmp_path: Path) -> None:
    """Exactly: each is an operation of IEEE 754, rounded once."""
    require(f"qemu:{core}")
    model = mj.convert(Arithmetic().eval(), example_inputs=(INTEGERS, FLOATS))
    mj.build(model, target=core, out=tmp_path / "model.mjb").close()
    with mj.load(tmp_path / "model.mjb", device=f"qemu:{core}") as session:
        names = [spec.name for spec in session.inputs]
        got = session.run(dict(zip(names, (INTEGERS.numpy(), FLOATS.numpy()), strict=True)))
    for y, expected in zip(got.values(), Arithmetic()(INTEGERS, FLOATS), strict=True):
        assert y.dtype == expected.numpy().dtype
        assert (y == expected.numpy()).all(), (core, y, expected)
