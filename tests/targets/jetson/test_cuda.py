"""Scheduled functions → CUDA C with launch sizes → cubins with the resources of every kernel."""

from __future__ import annotations

import pytest
import tvm
from tvm import relax, s_tir, te, tirx

from millijoule.errors import UnsupportedError
from millijoule.targets.jetson.cuda import Launch, cuda_source, cuda_target
from millijoule.targets.jetson.nvrtc import compile_cubin
from millijoule.targets.jetson.schedule import is_bound, schedule, single_thread


def _gemm() -> tirx.PrimFunc:
    a, b = te.placeholder((65, 130), name="a"), te.placeholder((130, 70), name="a")
    k = te.reduce_axis((0, 130), "k")
    c = te.compute((65, 70), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="c")
    return te.create_prim_func([a, b, te.compute(c.shape, lambda i, j: te.exp(c[i, j]), name="d")])


def _softmax() -> tirx.PrimFunc:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((33, 77), "float32"))
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.op.nn.softmax(x)))
    legal = relax.transform.LegalizeOps()(builder.get())
    return next(f for f in legal.functions.values() if isinstance(f, tirx.PrimFunc))


def _scheduled(**functions: tirx.PrimFunc) -> dict[str, tirx.PrimFunc]:
    made = schedule(tvm.IRModule(functions), cuda_target(87))
    return {gv.name_hint: f for gv, f in made.functions.items()}


def test_launches_and_cubins() -> None:
    source = cuda_source(_scheduled(gemm=_gemm(), softmax=_softmax()), cuda_target(87))
    assert list(source.functions) == ["gemm", "softmax"]
    [gemm] = source.functions["gemm"].calls
    assert sorted(gemm.arguments) == [0, 1, 2]  # parameters of one name are told apart
    assert gemm.grid[0] * gemm.grid[1] > 1
    for sm in (87, 110):
        cubin = compile_cubin(source.code, sm)
        assert cubin.code[:4] == b"\x7fELF"
        kernels = {c.kernel for f in source.functions.values() for c in f.calls}
        assert set(cubin.kernels) == kernels
        assert all(r.registers > 0 and r.spills == 0 for r in cubin.kernels.values())
    assert compile_cubin(source.code, 87).code == compile_cubin(source.code, 87).code


def test_one_thread_when_no_rule_fits() -> None:
    func = single_thread(_softmax())
    assert is_bound(func)
    source = cuda_source({"f": func}, cuda_target(87))
    calls = source.functions["f"].calls
    assert len(calls) == 4  # maximum, exponentials, sum, quotient
    assert {(c.grid, c.block) for c in calls} == {((1, 1, 1), (1, 1, 1))}
    rows, whole = 33 * 4, 33 * 77 * 4
    # the sum takes the place of the maximum
    assert sorted(source.functions["f"].scratch) == [rows, whole]
    compile_cubin(source.code, 87)


def test_what_stays_on_the_host_is_refused() -> None:
    with pytest.raises(Exception, match=r"bind|Memory"):  # TVM's own check comes first
        cuda_source({"f": _gemm()}, cuda_target(87))
    with pytest.raises(UnsupportedError, match="launches only"):
        cuda_source({"f": _host_loop()}, cuda_target(87))


def _host_loop() -> tirx.PrimFunc:
    """A kernel inside of a loop that nothing is bound to."""
    x = te.placeholder((4, 64), name="x")
    sch = s_tir.Schedule(te.create_prim_func([x, te.compute((4, 64), lambda i, j: x[i, j] * 2.0)]))
    [block] = sch.get_child_blocks(sch.get_sblock("root"))
    sch.bind(sch.get_loops(block)[1], "threadIdx.x")
    return sch.mod["main"]


def test_launch_of_fewer_axes_fills_up_with_ones() -> None:
    [call] = cuda_source(_scheduled(f=_softmax()), cuda_target(87)).functions["f"].calls
    assert call == Launch(call.kernel, (33, 1, 1), (call.block[0], 1, 1), (1, 0))
