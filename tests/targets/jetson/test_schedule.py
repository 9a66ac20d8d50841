"""Ordinary operators bound by rule: values on PoCL, barriers, no spills, nothing on one thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, s_tir, tirx
from tvm.s_tir import dlight

from fixtures.gpu import Call, check
from fixtures.kernels import types_of
from fixtures.operands import normal
from millijoule.converters.importer import relax_type
from millijoule.targets.jetson.cuda import cuda_source, cuda_target
from millijoule.targets.jetson.schedule import schedule
from millijoule.targets.kernels import KernelForm
from millijoule.targets.passes.legalise import legalise
from millijoule.targets.target import GPU

op = relax.op


def bound(function: Callable[..., Any], arrays: Sequence[np.ndarray]) -> tirx.PrimFunc:
    """One call of operators as a fused TIR function with a schedule."""
    variables = [relax.Var(f"x{i}", relax_type(t)) for i, t in enumerate(types_of(arrays))]
    builder = relax.BlockBuilder()
    with builder.function("main", variables):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(function(*variables)))
        builder.emit_func_output(result)
    passes = [
        legalise(GPU),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
    module = tvm.transform.Sequential(passes)(builder.get())
    functions = {gv: f for gv, f in module.functions.items() if isinstance(f, tirx.PrimFunc)}
    (func,) = schedule(tvm.IRModule(functions), cuda_target(87)).functions.values()
    return func


def softmax(x: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain + bias


def gelu(x: np.ndarray) -> np.ndarray:
    """With the error function."""
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def pooled(x: np.ndarray) -> np.ndarray:
    """Largest of 3×3, stride 2, padding 1."""
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(2, 3))
    return windows[:, :, ::2, ::2].max((-1, -2))


IDS = np.array([3, 49, 0, 7], np.int32)
# operators, what they are in NumPy, shapes; tolerance 0: the same bits
CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], list[tuple[int, ...]], float]] = {
    "softmax": (lambda x: op.nn.softmax(x, -1), softmax, [(5, 197)], 1e-6),
    "long softmax": (lambda x: op.nn.softmax(x, -1), softmax, [(3, 1, 1200)], 1e-6),
    "layer norm": (
        lambda x, g, b: op.nn.layer_norm(x, g, b, axes=[-1]),
        layer_norm,
        [(7, 192), (192,), (192,)],
        1e-5,
    ),
    "mean": (
        lambda x: op.mean(x, axis=[1, 2]),
        lambda x: x.mean((1, 2)),
        [(2, 14, 14, 65)],
        1e-6,
    ),
    "sum": (lambda x: op.sum(x, axis=[1]), lambda x: x.sum(1), [(70, 33)], 1e-5),
    "max pool": (
        lambda x: op.nn.max_pool2d(x, (3, 3), (2, 2), (1, 1)),
        pooled,
        [(2, 17, 15, 15)],
        0,
    ),
    "gelu": (
        lambda x, y: op.nn.gelu(op.add(x, y)),
        lambda x, y: gelu(x + y),
        [(5, 130), (130,)],
        1e-6,
    ),
    "transpose": (
        lambda x: op.permute_dims(x, [0, 2, 1]),
        lambda x: x.transpose(0, 2, 1),
        [(3, 65, 130)],
        0,
    ),
    "argmax": (lambda x: op.argmax(x, axis=-1), lambda x: x.argmax(-1), [(9, 100)], 0),
}


def test_operators_by_rule(tmp_path: Path) -> None:
    calls = {}
    for name, (operators, equation, shapes, tolerance) in CASES.items():
        arrays = [normal(shape, 3 + i) for i, shape in enumerate(shapes)]
        form, y = KernelForm(bound(operators, arrays)), np.asarray(equation(*arrays))
        expected = y if y.dtype == np.int64 else y.astype(np.float32)
        calls[name.replace(" ", "-")] = Call(form, arrays, [expected], tolerance)
    ids = [normal((50, 65)), IDS]
    rows = bound(lambda x, i: op.take(x, i, axis=0), ids)
    calls["gather"] = Call(KernelForm(rows), ids, [ids[0][IDS]])
    for name, call in calls.items():
        launches = cuda_source({name: call.form.func}, cuda_target(87)).functions[name].calls
        assert all(math.prod(c.block) > 1 for c in launches), f"{name} runs in one thread"
    check(tmp_path, calls)


def test_the_same_bytes_twice() -> None:
    x = [normal((5, 197))]
    codes = [
        cuda_source({"f": bound(lambda x: op.nn.softmax(x, -1), x)}, cuda_target(87)).code
        for _ in range(2)
    ]
    assert codes[0] == codes[1]
    assert "__expf" not in codes[0]  # fast, and wrong by more the larger its argument


def test_a_fault_of_a_rule_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that TVM does not allow leaves one thread; anything else stops the build."""
    x = [normal((5, 197))]
    errors = iter([s_tir.ScheduleError("not allowed"), IndexError("a fault")])

    def fail(*_: Any) -> None:
        raise next(errors)

    monkeypatch.setattr(dlight.gpu.Matmul, "apply", fail)
    (call,) = cuda_source({"f": bound(op.exp, x)}, cuda_target(87)).functions["f"].calls
    assert math.prod(call.block) == 1
    with pytest.raises(IndexError, match="a fault"):
        bound(op.exp, x)
