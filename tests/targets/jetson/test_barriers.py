"""The static check of barriers: what it finds, and that our kernels lose it with any barrier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tvm
import tvm.script.ir_builder.tirx as T
from tvm import tirx
from tvm_ffi import structural_map

from fixtures.kernels import types_of
from fixtures.operands import attention_operands
from millijoule.converters.ops import TensorType, tir
from millijoule.errors import UnsupportedError
from millijoule.targets.jetson.barriers import check_barriers, find_hazards
from millijoule.targets.jetson.cuda import cuda_target, device_functions
from millijoule.targets.jetson.lockstep import is_barrier
from millijoule.targets.kernels.gpu import GPU_KERNELS
from millijoule.targets.kernels.threads import Shared, barrier, launch, when
from millijoule.targets.target import GPU

X = TensorType((64,), "float32")


def lowered(body: Callable[[Any, Any, Any], None]) -> tvm.IRModule:
    """A kernel of 64 threads over x and y, lowered; its explicit barriers alone are left."""
    with tir.kernel("kernel", [X], [X]) as k, launch([1], [64]) as (_, (me,)):
        body(*k.buffers, me)
    return device_functions({"kernel": k.func}, cuda_target(87))[0]


def without(func: tirx.PrimFunc, number: int) -> tirx.PrimFunc:
    """``func`` with one of its barriers taken out."""
    seen = []

    def drop(statement: tirx.Evaluate) -> tirx.Evaluate:
        if not is_barrier(statement.value):
            return statement
        seen.append(statement)
        return tirx.Evaluate(0) if len(seen) - 1 == number else statement

    changed = structural_map(func, (tirx.Evaluate, drop))
    return changed if len(seen) > number else None


def turn(x: Any, y: Any, me: Any) -> None:
    """y is x backwards, through shared memory, twice in the same place."""
    s = Shared((64,), "float32")
    with T.serial(0, 4):
        s[(me,)] = x[me]
        barrier()
        tir.store(y, [me], s[(63 - me,)])
        barrier()


def test_every_barrier_is_needed() -> None:
    (func,) = lowered(turn).functions.values()
    assert find_hazards(func) == []
    assert find_hazards(without(func, 0)) == [
        "reads shared memory where another thread has just written",
    ]
    assert find_hazards(without(func, 1)) == [
        "writes shared memory where another thread has just read",
    ]
    with pytest.raises(UnsupportedError, match=r"\[barriers\].* kernel k reads shared memory"):
        check_barriers(tvm.IRModule({"k": without(func, 0)}))


def test_a_thread_may_read_what_it_wrote() -> None:
    def body(x: Any, y: Any, me: Any) -> None:
        s = Shared((64,), "float32")
        s[(me,)] = x[me]
        tir.store(y, [me], s[(me,)])

    (func,) = lowered(body).functions.values()
    assert without(func, 0) is None
    assert find_hazards(func) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_barrier_that_not_all_threads_reach(known: bool) -> None:
    def body(x: Any, y: Any, me: Any) -> None:
        with when(me < 32 if known else x[me] > T.float32(0)):
            barrier()
        tir.store(y, [me], x[me])

    (func,) = lowered(body).functions.values()
    assert find_hazards(func) == ["has a barrier that some threads of a block do not reach"]


def test_a_condition_that_all_threads_see_alike() -> None:
    def body(x: Any, y: Any, me: Any) -> None:
        with when(x[0] > T.float32(0)):
            barrier()
        tir.store(y, [me], x[me])

    (func,) = lowered(body).functions.values()
    assert find_hazards(func) == []


def test_two_threads_that_write_one_element() -> None:
    def body(x: Any, y: Any, me: Any) -> None:
        s = Shared((64,), "float32")
        s[(me // 2,)] = x[me]
        barrier()
        tir.store(y, [me], s[(me // 2,)])

    (func,) = lowered(body).functions.values()
    assert find_hazards(func) == ["writes one element of shared memory in two threads"]


def test_an_index_out_of_memory_counts_as_any() -> None:
    index = TensorType((64,), "int32")
    with tir.kernel("kernel", [X, index], [X]) as k, launch([1], [64]) as (_, (me,)):
        x, at, y = k.buffers
        s = Shared((64,), "float32")
        s[(me,)] = x[me]
        barrier()
        tir.store(y, [me], s[(at[me],)])
    (func,) = device_functions({"kernel": k.func}, cuda_target(87))[0].functions.values()
    assert find_hazards(func) == []
    assert find_hazards(without(func, 0))


def test_barriers_of_attention() -> None:
    """The kernel with most of them: each one is missed."""
    named = attention_operands("softmax", 40, 1, 32, masked=True)
    attrs = {"rule": "softmax", "heads": 1, "maps": True}
    form = GPU_KERNELS["binary_attention"](attrs, types_of(list(named.values())), GPU)
    module = device_functions({"kernel": form.func}, cuda_target(87))[0]
    check_barriers(module)
    for func in module.functions.values():
        number = 0
        while (changed := without(func, number)) is not None:
            assert find_hazards(changed), f"barrier {number} can go"
            number += 1
