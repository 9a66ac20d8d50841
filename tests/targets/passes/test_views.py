"""Strided views of Relax values, against what NumPy makes of the same operations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tvm import relax

from millijoule.targets.passes.views import TensorView, contiguous, reshaped, view_of

Op = relax.op


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...]]:
    """A transposed array, and another shape of as many elements."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4))
    order = draw(st.permutations(range(len(shape))))
    array = np.arange(math.prod(shape), dtype=np.int64).reshape(shape).transpose(order)
    new, left = [], array.size
    while left > 1:
        factor = draw(st.sampled_from([d for d in range(1, left + 1) if left % d == 0]))
        new.append(factor)
        left //= factor
        if len(new) == 5:
            new.append(left)
            break
    return array, tuple(new)


@given(reshapes())
def test_reshapes_without_a_copy(case: tuple[np.ndarray, tuple[int, ...]]) -> None:
    """Strides where NumPy finds a view, None where it must copy."""
    array, new = case
    strides = reshaped(array.shape, [s // array.itemsize for s in array.strides], new)
    copied = not np.shares_memory(array.reshape(new), array)
    if strides is None:
        assert copied
    else:
        bytes_ = [s * array.itemsize for s in strides]
        view = np.lib.stride_tricks.as_strided(array, new, bytes_)
        np.testing.assert_array_equal(view, array.reshape(new))


def view(build: Callable[[relax.Expr], relax.Expr]) -> tuple[TensorView, relax.Var]:
    """The view of ``build(x)``, with x [2, 6, 12]."""
    x = relax.Var("x", relax.TensorType((2, 6, 12), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        y = builder.emit(build(x))
        builder.emit_func_output(y)
    main = relax.transform.Normalize()(builder.get())["main"]
    bound = {b.var: b.value for block in main.body.blocks for b in block.bindings}
    return view_of(main.body.body, bound, scaled=True), main.params[0]


def index() -> relax.Expr:
    return relax.const(3, "int64")


CASES: dict[str, tuple[Callable[[relax.Expr], relax.Expr], Callable[[np.ndarray], np.ndarray]]] = {
    "permute": (lambda x: Op.permute_dims(x, [2, 0, 1]), lambda x: x.transpose(2, 0, 1)),
    "reverse": (lambda x: Op.permute_dims(x), lambda x: x.T),
    "reshape": (lambda x: Op.reshape(x, (2, 6, 3, 4)), lambda x: x.reshape(2, 6, 3, 4)),
    "take": (lambda x: Op.take(x, index(), 1), lambda x: x[:, 3]),
    "slice": (lambda x: Op.strided_slice(x, [2], [1], [11], [3]), lambda x: x[:, :, 1:11:3]),
    "split": (lambda x: Op.split(x, 3, axis=2)[1], lambda x: np.split(x, 3, 2)[1]),
    "expand": (
        lambda x: Op.broadcast_to(Op.expand_dims(x, 1), (2, 5, 6, 12)),
        lambda x: np.broadcast_to(x[:, None], (2, 5, 6, 12)),
    ),
    "squeeze": (
        lambda x: Op.squeeze(Op.strided_slice(x, [0], [1], [2]), [0]),
        lambda x: x[1],
    ),
    "scale": (
        lambda x: Op.divide(Op.multiply(relax.const(3.0), x), relax.const(2.0)),
        lambda x: x * 1.5,
    ),
    "heads of a fused projection": (
        lambda x: Op.take(
            Op.permute_dims(Op.reshape(x, (2, 6, 3, 2, 2)), [2, 0, 3, 1, 4]),
            relax.const(1, "int64"),
            0,
        ),
        lambda x: x.reshape(2, 6, 3, 2, 2).transpose(2, 0, 3, 1, 4)[1],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_operators_become_strides(name: str) -> None:
    build, expected = CASES[name]
    found, x = view(build)
    assert found.base.same_as(x)
    values = np.arange(144, dtype=np.float32)
    got = np.lib.stride_tricks.as_strided(
        values[found.offset :], found.shape, [4 * s for s in found.strides]
    )
    np.testing.assert_array_equal(got * found.scale, expected(values.reshape(2, 6, 12)))


def test_a_reshape_that_copies_is_a_value_of_its_own() -> None:
    found, x = view(lambda x: Op.reshape(Op.permute_dims(x, [0, 2, 1]), (2, 72)))
    assert not found.base.same_as(x)
    assert found.strides == contiguous((2, 72))
    assert found.whole


def test_scalars_divide_only_from_the_right() -> None:
    found, x = view(lambda x: Op.divide(relax.const(2.0), x))
    assert not found.base.same_as(x)
    assert found.whole
