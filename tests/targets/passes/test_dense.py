"""What becomes one GEMM with its epilogue, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import tvm
from torch import Tensor, nn
from torch.nn import functional as F
from tvm import relax

from fixtures.gemm_s8 import gemm_s8_reference
from fixtures.programs import check_built, plan_of
from millijoule.targets.passes.dense import lower_dense
from millijoule.targets.target import SSE2


class Net(nn.Module):
    """Two layers, put together by a function."""

    def __init__(self, wiring: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8, bias=False)
        self.conv = nn.Conv1d(8, 8, 3, padding=1, bias=False)
        self.scale = nn.Parameter(torch.randn(8))
        self._wiring = wiring

    def forward(self, x: Tensor) -> object:
        return self._wiring(self, x)


def chain(net: Net, x: Tensor) -> Tensor:
    return x + F.relu(F.gelu(net.a(x)) * net.scale - 0.25)


def two_products(net: Net, x: Tensor) -> Tensor:
    return net.a(x) + net.b(x)


def used_twice(net: Net, x: Tensor) -> Tensor:
    y = net.a(x)
    return F.relu(y) * y


def hard_swish(net: Net, x: Tensor) -> Tensor:
    return F.hardswish(net.a(x))


def used_far_away(net: Net, x: Tensor) -> Tensor:
    y = net.a(x)
    return F.relu(y) * y.mean(dim=-1, keepdim=True)


def also_returned(net: Net, x: Tensor) -> tuple[Tensor, Tensor]:
    y = net.a(x)
    return y, F.relu(y)


def doubled(net: Net, x: Tensor) -> Tensor:
    y = net.b(x)
    return y + y


def subtracted_from(net: Net, x: Tensor) -> Tensor:
    return x - net.b(x)


def convolution(net: Net, x: Tensor) -> Tensor:
    return F.relu(net.conv(x.transpose(1, 2)).transpose(1, 2)) + x


def per_row(net: Net, x: Tensor) -> Tensor:
    return net.a(x) * x.mean(dim=-1, keepdim=True)


def in_a_row(net: Net, x: Tensor) -> Tensor:
    return net.b(F.gelu(net.a(x)))


@pytest.mark.parametrize(
    ("wiring", "kernels"),
    [
        (chain, ["linear"]),
        (two_products, ["linear", "linear"]),
        (subtracted_from, ["linear"]),
        (convolution, ["conv1d"]),
        (in_a_row, ["linear", "linear"]),
        (used_twice, ["linear"]),
        (doubled, ["linear"]),
        (hard_swish, ["linear"]),
    ],
)
def test_chains_become_one_kernel(
    wiring: Callable[[nn.Module, Tensor], object], kernels: list[str], tmp_path: Path
) -> None:
    x = torch.randn(2, 5, 8)
    plan = plan_of(Net(wiring), x)
    assert [call.meta.op for call in plan.calls] == kernels
    check_built(Net(wiring), [x], tmp_path / "net.mjb")


@pytest.mark.parametrize("wiring", [used_far_away, also_returned, per_row])
def test_values_with_other_uses_stay(
    wiring: Callable[[nn.Module, Tensor], object], tmp_path: Path
) -> None:
    x = torch.randn(2, 5, 8)
    calls = plan_of(Net(wiring), x).calls
    assert sum(call.meta.op == "linear" for call in calls) == 1
    assert len(calls) > 1
    check_built(Net(wiring), [x], tmp_path / "net.mjb")


def test_two_products_run_in_an_order_that_works() -> None:
    """The sum belongs to the later product, whose epilogue reads the earlier one's result."""
    first, second = plan_of(Net(two_products), torch.randn(2, 5, 8)).calls
    assert first.outputs[0] in second.operands


@pytest.mark.parametrize("shape", [(8,), (3, 8), (2, 3, 8), (2, 1, 3, 8)])
def test_any_rank(shape: tuple[int, ...], tmp_path: Path) -> None:
    check_built(Net(in_a_row), [torch.randn(shape)], tmp_path / "net.mjb")


def test_layers_are_named_and_counted() -> None:
    (call,) = plan_of(Net(chain), torch.randn(2, 5, 8)).calls
    products, elements = 2 * 5 * 8 * 8, 2 * 5 * 8
    assert call.meta.layer == "a"
    assert call.meta.multiplies == products + elements
    assert call.meta.adds == products + 3 * elements  # bias, − 0.25, residual


def test_int8_products_take_the_conversion_with_them() -> None:
    """int8 × int8 → int32 → float32 · scale + bias is one kernel; a lone product gives int32."""
    rng = np.random.default_rng(0)
    w = rng.integers(-127, 128, (8, 5)).astype(np.int8)
    taps = rng.integers(-127, 128, (4, 8, 3)).astype(np.int8)  # OIW
    scale, bias = rng.standard_normal((2, 5)).astype(np.float32)
    x = rng.integers(-127, 128, (1, 6, 8)).astype(np.int8)
    builder = relax.BlockBuilder()
    operand = relax.Var("x", relax.TensorType(x.shape, "int8"))
    with builder.function("main", [operand]):
        product = builder.emit(relax.op.matmul(operand, relax.const(w), out_dtype="int32"))
        real = builder.emit(relax.op.astype(product, "float32"))
        scaled = builder.emit(relax.op.multiply(real, relax.const(scale)))
        linear = builder.emit(relax.op.add(scaled, relax.const(bias)))
        conv = builder.emit(
            relax.op.nn.conv1d(
                operand, relax.const(taps), padding=1, data_layout="NWC", out_dtype="int32"
            )
        )
        builder.emit_func_output(relax.Tuple([linear, conv]))
    module = lower_dense(SSE2, {})(builder.get())
    assert len(module.functions) == 3  # main, and one kernel for each
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    got_linear, got_conv = machine["main"](tvm.runtime.tensor(x))
    exact = x.astype(np.int32) @ w.astype(np.int32)
    np.testing.assert_allclose(got_linear.numpy(), exact * scale + bias, rtol=1e-6, atol=1e-3)
    expected = gemm_s8_reference(x, taps.transpose(2, 1, 0), padding=1)
    np.testing.assert_array_equal(got_conv.numpy(), expected)
