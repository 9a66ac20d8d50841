"""Arithmetic on sizes that vary: what exporters write between ``Shape`` and ``Reshape``.

A tensor of sizes is an array of Python objects, numbers and `millijoule.sizes.Size`; the nodes here
compute with it as NumPy would. Where sizes meet tensors, they become shapes of Relax operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tvm import relax

from millijoule.converters.importer import tensor_type
from millijoule.errors import UnsupportedError
from millijoule.sizes import Extent, Size, divided

_op = relax.op
Arrays = Sequence[np.ndarray]


def is_sizes(value: Any) -> bool:
    """Whether an array holds sizes that vary."""
    return isinstance(value, np.ndarray) and value.dtype == object


def size_array(values: Any) -> np.ndarray:
    """Sizes as an array: int64 if none varies."""
    array = np.asarray(values, object)
    fixed = all(not isinstance(v, Size) for v in array.ravel())
    return array.astype(np.int64) if fixed else array


def _ends(node: Any, inputs: Arrays) -> np.ndarray:
    """``Slice`` of one axis by numbers."""
    data, starts, ends, *rest = inputs
    steps = rest[1] if len(rest) > 1 else np.ones(1, np.int64)
    if data.ndim != 1 or any(map(is_sizes, (starts, ends, steps))):
        raise UnsupportedError("Slice of sizes takes numbers only")
    return data[int(starts[0]) : int(ends[0]) : int(steps[0])]


def _divide(_: Any, inputs: Arrays) -> np.ndarray:
    return np.frompyfunc(lambda a, b: a // b, 2, 1)(*inputs)


_EVALUATED: dict[str, Callable[[Any, Arrays], Any]] = {
    "Identity": lambda node, x: x[0],
    "Cast": lambda node, x: x[0],
    "Gather": lambda node, x: np.take(
        x[0], x[1].astype(np.int64), axis=_attribute(node, "axis", 0)
    ),
    "Concat": lambda node, x: np.concatenate([np.asarray(a, object) for a in x]),
    "Unsqueeze": lambda node, x: np.reshape(x[0], -1),
    "Squeeze": lambda node, x: np.reshape(x[0], ()),
    "Reshape": lambda node, x: np.reshape(x[0], x[1].astype(np.int64)),
    "Slice": _ends,
    "Add": lambda node, x: x[0] + x[1],
    "Sub": lambda node, x: x[0] - x[1],
    "Mul": lambda node, x: x[0] * x[1],
    "Div": _divide,
}


def _attribute(node: Any, name: str, default: int) -> int:
    return next((a.i for a in node.attribute if a.name == name), default)


def evaluate_sizes(node: Any, known: Mapping[str, np.ndarray]) -> np.ndarray:
    """The result of ``node`` on sizes. UnsupportedError for an operator that has no rule here."""
    rule = _EVALUATED.get(node.op_type)
    if rule is None:
        raise UnsupportedError(
            f"{node.op_type} of a size that varies is not supported; export the model so that only "
            f"{', '.join(_EVALUATED)} compute shapes, or build for fixed sizes"
        )
    return size_array(rule(node, [known[name] for name in node.input if name]))


def target_shape(given: Sequence[Extent], before: Sequence[Extent]) -> list[Extent]:
    """The shape that ``Reshape`` gives to ``before``; UnsupportedError where −1 is no size."""
    shape: list[Any] = [before[i] if v == 0 else v for i, v in enumerate(given)]
    if -1 in shape:
        rest = divided(math.prod(before), math.prod(v for v in shape if v != -1))
        if rest is None:
            raise UnsupportedError(f"Reshape of {list(before)} to {list(given)} divides unevenly")
        shape[shape.index(-1)] = rest
    return shape


def _reshape(importer: Any, node: Any, _: dict[str, Any]) -> Any:
    data = importer.value(node.input[0])
    given = list(importer.known[node.input[1]])
    given = [v if isinstance(v, Size) else int(v) for v in given]
    return _op.reshape(data, target_shape(given, tensor_type(data).shape))


def _expand(importer: Any, node: Any, _: dict[str, Any]) -> Any:
    data, given = importer.value(node.input[0]), list(importer.known[node.input[1]])
    shape = tensor_type(data).shape
    full = (*[1] * (len(given) - len(shape)), *shape)
    given = [1] * (len(full) - len(given)) + given
    wanted = [a if b in (1, a) else b for a, b in zip(full, given, strict=True)]
    return _op.broadcast_to(data, [w if isinstance(w, Size) else int(w) for w in wanted])


def _range(importer: Any, node: Any, _: dict[str, Any]) -> Any:
    start, limit, delta = (importer.known[name].reshape(-1)[0] for name in node.input)
    if isinstance(start, Size) or isinstance(delta, Size):
        raise UnsupportedError("Range takes a size that varies as its limit only")
    stop = limit.__tvm_ffi_object__() if isinstance(limit, Size) else int(limit)
    return _op.arange(int(start), stop, int(delta), "int64")


def _constant_of_shape(importer: Any, node: Any, attributes: dict[str, Any]) -> Any:
    value = attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value)
    shape = [v if isinstance(v, Size) else int(v) for v in importer.known[node.input[0]]]
    return _op.full(shape, relax.const(fill.reshape(-1)[0], str(fill.dtype)), str(fill.dtype))


def _slice(importer: Any, node: Any, _: dict[str, Any]) -> Any:
    data = importer.value(node.input[0])
    starts, ends, *rest = (list(importer.known[name]) for name in node.input[1:] if name)
    axes = rest[0] if rest else list(range(len(starts)))
    if any(isinstance(v, Size) for v in (*starts, *axes)) or (
        len(rest) > 1 and set(rest[1]) != {1}
    ):
        raise UnsupportedError("Slice takes a size that varies as its end only")
    stops = [e if isinstance(e, Size) else int(e) for e in ends]
    return _op.strided_slice(
        data, [int(a) for a in axes], [int(s) for s in starts], stops, assume_inbound=True
    )


SIZED: dict[str, Callable[[Any, Any, dict[str, Any]], Any]] = {
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Range": _range,
    "Reshape": _reshape,
    "Slice": _slice,
}
