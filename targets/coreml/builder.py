"""`MilEmitter`: operators of one MIL function under construction."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813 - its usual name
from coremltools.converters.mil.mil import types

from millijoule.converters.ops import TensorType
from millijoule.errors import UnsupportedError
from millijoule.targets.graph import Arg, Emitter, Node, Value

# MIL has no 64-bit integers, and its inputs no bytes
DTYPES = {
    "float32": types.fp32,
    "int32": types.int32,
    "int64": types.int32,
    "uint8": types.int32,
    "int8": types.int8,
    "bool": types.bool,
}
NAMES = {
    "float32": "fp32",
    "int32": "int32",
    "int64": "int32",
    "uint8": "int32",
    "int8": "int8",
    "bool": "bool",
}


class MilEmitter:
    """Operators go into the function or block whose context is open. ``outputs``: as declared."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        self._inputs = inputs
        self._counter = itertools.count()
        self.outputs: list[Any] = []
        self.layer = ""
        self.written = 0

    def input(self, name: str, type: TensorType) -> Value:
        """An input that the function was opened with."""
        return Value(name, type, self._inputs[identifier(name)])

    def output(self, name: str, value: Arg) -> None:
        """Declare an output; truth values go out as numbers, which Core ML can hand on."""
        tensor = self.handle(value)
        if tensor.dtype in (types.bool, types.int8):
            tensor = mb.cast(x=tensor, dtype="int32")
        self.outputs.append(mb.identity(x=tensor, name=identifier(name)))

    def handle(self, arg: Arg) -> Any:
        """``arg`` as MIL takes it: a variable, or an array that becomes a constant."""
        if isinstance(arg, Value):
            return arg.handle
        if isinstance(arg, tuple) or arg is None:
            raise TypeError(f"an operand must be a tensor, but is {arg!r}")
        array = np.asarray(arg)
        narrow = {"int64": "int32", "uint8": "int32"}.get(str(array.dtype))
        return array.astype(narrow) if narrow else array

    def shape(self, arg: Arg) -> tuple[int, ...]:
        """Shape of an operand."""
        return arg.type.shape if isinstance(arg, Value) else np.asarray(arg).shape

    def op(self, name: str, result: TensorType, **operands: Any) -> Value:
        """One operator of MIL; operands by its own names, `Arg` or plain Python values."""
        return self.ops(name, [result], **operands)[0]

    def ops(self, name: str, results: Sequence[TensorType], **operands: Any) -> tuple[Value, ...]:
        """One operator with several results."""
        given = {
            key: self.handle(value) if isinstance(value, Value | np.ndarray) else value
            for key, value in operands.items()
            if value is not None
        }
        label = identifier(f"{self.layer}_{name}_{next(self._counter)}")
        self.written += 1
        made = getattr(mb, name)(**given, name=label)
        variables = made if isinstance(made, list | tuple) else [made]
        return tuple(Value(label, t, v) for t, v in zip(results, variables, strict=True))

    def weights(self, t: TensorType, indices: np.ndarray, table: np.ndarray) -> Value:
        """Constant weights as ``indices``, of a type of one to eight bits, into ``table``."""
        self.written += 1
        label = identifier(f"{self.layer}_weights_{next(self._counter)}")
        return Value(label, t, mb.constexpr_lut_to_dense(indices=indices, lut=table, name=label))

    def scan(
        self, node: Node, walk_step: Callable[[Emitter, Sequence[Arg]], list[Arg]]
    ) -> tuple[Value, ...]:
        """A loop along time as ``while_loop``; see `loop`."""
        from millijoule.targets.coreml.loop import while_loop

        return while_loop(self, node, walk_step)


def identifier(name: str) -> str:
    """``name`` with everything that a MIL name may not have as ``_``."""
    clean = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return clean if re.match(r"[A-Za-z_]", clean) else f"_{clean}"


def mil_type(t: TensorType) -> Any:
    """MIL's element type of a tensor; UnsupportedError where it has none."""
    if t.dtype not in DTYPES:
        raise UnsupportedError(f"[coreml] tensors of type {t.dtype} cannot be written")
    return DTYPES[t.dtype]
