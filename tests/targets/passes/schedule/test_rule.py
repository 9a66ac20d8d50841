"""Functions scheduled by rule compute what NumPy computes, over tails, axes and vector units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
import tvm.topi as topi
from tvm import relax, te, tirx

from fixtures.kernels import call, types_of
from millijoule.targets.kernels import KernelForm
from millijoule.targets.passes.meta import KernelMeta
from millijoule.targets.passes.schedule import rule, schedule_rest
from millijoule.targets.passes.schedule.rule import scheduled
from millijoule.targets.passes.schedule.stages import NoRuleError, stages_of
from millijoule.targets.target import AVX2, NEON, Isa, get_target

ISAS = [AVX2, NEON]
by_isa = pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def function(compute: Callable[..., Any], arrays: list[np.ndarray]) -> tirx.PrimFunc:
    """TVM's own function of a computation on tensors like ``arrays``."""
    inputs = [te.placeholder(a.shape, str(a.dtype), f"x{i}") for i, a in enumerate(arrays)]
    return te.create_prim_func([*inputs, compute(*inputs)])


def check(
    compute: Callable[..., Any],
    arrays: list[np.ndarray],
    expected: np.ndarray,
    isa: Isa,
    rtol: float = 0,
    atol: float = 0,
) -> tirx.PrimFunc:
    func = scheduled(function(compute, arrays), isa)
    (got,) = call(KernelForm(func), arrays, types_of([expected]), isa)
    np.testing.assert_allclose(got, expected, rtol, atol)
    return func


@by_isa
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 17), (2, 1, 64), (5, 65)])
def test_elementwise_chain(shape: tuple[int, ...], isa: Isa) -> None:
    x, y = values(*shape), values(*shape, seed=1)
    expected = np.tanh(x + y) * x
    func = check(
        lambda a, b: topi.multiply(topi.tanh(topi.add(a, b)), a),
        [x, y],
        expected,
        isa,
        rtol=1e-6,
        atol=1e-6,
    )
    assert "tirx.tanh" not in str(func)
    assert len(stages_of(function(lambda a, b: topi.exp(topi.add(a, b)), [x, y])).stages) == 1


@by_isa
@pytest.mark.parametrize("right", [(17,), (6, 1), (1,), (4, 1, 1), (1, 6, 17)])
def test_broadcasts(right: tuple[int, ...], isa: Isa) -> None:
    x, y = values(4, 6, 17), values(*right, seed=1)
    check(topi.add, [x, y], x + y, isa)


@by_isa
@pytest.mark.parametrize("shape", [(16, 8), (17, 9), (8, 65), (7, 5), (3, 16, 24), (2, 9, 3, 17)])
def test_transposes(shape: tuple[int, ...], isa: Isa) -> None:
    x = values(*shape)
    axes = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
    check(lambda a: topi.transpose(a, axes), [x], x.transpose(axes), isa)
    axes = [*reversed(range(len(shape)))]
    check(lambda a: topi.transpose(a, axes), [x], x.transpose(axes), isa)


@by_isa
def test_a_transpose_among_other_operands(isa: Isa) -> None:
    x, y = values(17, 24), values(24, 17, seed=1)
    expected = x.T * y + np.float32(1)

    def compute(a: te.Tensor, b: te.Tensor) -> te.Tensor:
        return topi.add(topi.multiply(topi.transpose(a), b), 1.0)

    check(compute, [x, y], expected, isa, rtol=1e-6, atol=1e-6)  # a multiply-add rounds once


@by_isa
@pytest.mark.parametrize("channels", [1, 17, 32])
def test_windows(channels: int, isa: Isa) -> None:
    """Partition into windows: reshape, transpose and reshape are one pass of row copies."""
    x = values(1, 6, 8, channels)

    def compute(a: te.Tensor) -> te.Tensor:
        parts = topi.transpose(topi.reshape(a, (1, 3, 2, 2, 4, channels)), (0, 1, 3, 2, 4, 5))
        return topi.reshape(parts, (6, 8, channels))

    parts = x.reshape(1, 3, 2, 2, 4, channels).transpose(0, 1, 3, 2, 4, 5)
    check(compute, [x], parts.reshape(6, 8, channels), isa)


@by_isa
@pytest.mark.parametrize("axis", [0, 1, 2, (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("inner", [1, 7, 16, 65])
def test_sums(axis: int | tuple[int, ...], inner: int, isa: Isa) -> None:
    x = values(3, 5, inner)
    check(lambda a: topi.sum(a, axis), [x], x.sum(axis), isa, rtol=1e-5, atol=1e-5)


@by_isa
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["max", "min", "prod"])
def test_other_reductions(name: str, axis: int, isa: Isa) -> None:
    x = values(9, 35)
    check(lambda a: getattr(topi, name)(a, axis), [x], getattr(np, name)(x, axis), isa, rtol=1e-5)


@by_isa
def test_integers_and_flags(isa: Isa) -> None:
    x = np.arange(-40, 41, dtype=np.int32)
    check(lambda a: topi.sum(a, 0), [x], x.sum(dtype=np.int32), isa)
    check(lambda a: topi.cast(topi.greater(a, 3), "float32"), [x], (x > 3).astype("f4"), isa)
    check(lambda a: topi.cast(a, "int64"), [x], x.astype("i8"), isa)
    check(lambda a: topi.greater(a, 3), [x], x > 3, isa)


@by_isa
@pytest.mark.parametrize("before", [(0, 1, 0), (1, 0, 2)])
def test_pads(before: tuple[int, ...], isa: Isa) -> None:
    x = values(2, 3, 17)
    expected = np.pad(x, [(n, n) for n in before])
    check(lambda a: topi.nn.pad(a, list(before)), [x], expected, isa)


@by_isa
def test_gathers(isa: Isa) -> None:
    table, rows = values(9, 37), np.array([3, 0, 8, 3], np.int32)
    check(lambda t, r: topi.take(t, r, 0), [table, rows], table[rows], isa)


@by_isa
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("inner", [3, 16, 65])
def test_softmax(inner: int, axis: int, isa: Isa) -> None:
    x = 5 * values(6, inner)
    e = np.exp(x - x.max(axis, keepdims=True))
    expected = e / e.sum(axis, keepdims=True)
    check(lambda a: topi.nn.softmax(a, axis), [x], expected, isa, rtol=2e-6, atol=1e-7)


@by_isa
@pytest.mark.parametrize("name", ["exp", "log", "sigmoid", "erf", "rsqrt", "sin", "cos"])
def test_library_calls_become_arithmetic(name: str, isa: Isa) -> None:
    x = np.abs(values(2, 33)) + np.float32(0.1)
    func = scheduled(function(getattr(topi, name), [x]), isa)
    assert f"T.{name}(" not in str(func)
    naive = call(KernelForm(function(getattr(topi, name), [x])), [x], types_of([x]), isa)[0]
    (got,) = call(KernelForm(func), [x], types_of([x]), isa)
    np.testing.assert_allclose(got, naive, rtol=1e-6, atol=1e-6)


@by_isa
def test_large_work_goes_to_the_thread_pool_with_the_same_bits(isa: Isa) -> None:
    x = values(1024, 640)
    func = scheduled(function(topi.exp, [x]), isa)
    assert "T.parallel" in str(func)
    (got,) = call(KernelForm(func), [x], types_of([x]), isa)
    small = scheduled(function(topi.exp, [x[:4]]), isa)
    (few,) = call(KernelForm(small), [x[:4]], types_of([x[:4]]), isa)
    np.testing.assert_array_equal(got[:4], few)


def test_what_no_rule_covers_is_refused() -> None:
    """An arg-reduction stores two values at once."""
    with pytest.raises(NoRuleError):
        scheduled(function(lambda a: topi.argmax(a, 1), [values(3, 5)]), AVX2)


def meta_of(compute: Callable[..., Any]) -> KernelMeta | None:
    """Of the one function of a module, behind the pass."""
    x = relax.Var("x", relax.TensorType((3, 5), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            y = builder.emit_output(builder.call_te(compute, x))
        builder.emit_func_output(y)
    passes = [
        schedule_rest(get_target("x86-64-v3"), {}),
        relax.transform.DeadCodeElimination(),
    ]
    module = tvm.transform.Sequential(passes)(builder.get())
    (func,) = (f for f in module.functions.values() if isinstance(f, tirx.PrimFunc))
    return KernelMeta.of_function(func)


def test_a_fault_of_a_rule_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no rule covers stays as it is, and its meta says so; anything else stops the build."""
    scheduled_ones = [
        meta.scheduled for f in (topi.exp, lambda x: topi.argmax(x, 1)) if (meta := meta_of(f))
    ]
    assert scheduled_ones == [True, False]

    def fault(*_: Any) -> None:
        raise IndexError("a fault")

    monkeypatch.setattr(rule, "emit", fault)
    with pytest.raises(IndexError, match="a fault"):
        meta_of(topi.exp)
